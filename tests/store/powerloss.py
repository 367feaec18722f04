"""A disk under SQLite that remembers what was synced: files as they would be found had the power failed at any point.

`Recorder` is a VFS that does everything for real and writes down each write, truncation, deletion and sync. `Disk` plays
those back: what was synced is on the platter, what was not may be there, may be missing, or may be torn.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apsw

SECTOR_BYTES = 512
_serial = count(1)


class Op(NamedTuple):
    """One thing done to one file; ``file`` is "" for a mark of the test's own."""

    kind: Literal["write", "truncate", "delete", "sync", "mark"]
    file: str
    offset: int = 0
    data: bytes = b""


class Recorder(apsw.VFS):
    """A VFS on the real one. ``fault`` is asked before each write and sync and may raise."""

    def __init__(self, fault: Callable[[Op], None] | None = None) -> None:
        self.name = f"recorder-{next(_serial)}"
        self.ops: list[Op] = []
        self._fault = fault
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "RecordedFile":
        return RecordedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.ops.append(Op("delete", Path(filename).name))

    def note(self, op: Op) -> None:
        """Have a fault happen, if it is time for one, or write the operation down."""
        if self._fault is not None:
            self._fault(op)
        self.ops.append(op)

    def mark(self, data: bytes) -> None:
        """Write down that something was acknowledged now."""
        self.ops.append(Op("mark", "", data=data))


class RecordedFile(apsw.VFSFile):
    """A real file, whose changes are written down."""

    def __init__(self, recorder: Recorder, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._recorder = recorder
        given = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._file = "" if given is None else Path(given).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._note(Op("write", self._file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._note(Op("truncate", self._file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._note(Op("sync", self._file))
        super().xSync(flags)

    def _note(self, op: Op) -> None:
        if self._file:
            self._recorder.note(op)


class Disk:
    """What is on the platter, and what was written since each file's last sync."""

    def __init__(self) -> None:
        self._synced: dict[str, bytearray] = {}
        self._since: dict[str, list[Op]] = {}

    def play(self, op: Op) -> None:
        """Do one thing."""
        if op.kind == "sync":
            content = self._synced.setdefault(op.file, bytearray())
            for earlier in self._since.pop(op.file, []):
                _do(content, earlier)
        elif op.kind == "delete":
            self._synced.pop(op.file, None)
            self._since.pop(op.file, None)
        elif op.kind != "mark":
            self._since.setdefault(op.file, []).append(op)

    def write_to(self, folder: Path, chance: random.Random | None) -> None:
        """Lay the files out as found after a power failure now.

        Without ``chance`` all that was not synced is gone; with it, each such write is there, missing, or torn.
        """
        for name in {*self._synced, *self._since}:
            content = bytearray(self._synced.get(name, b""))
            for op in self._since.get(name, ()):
                if chance is not None and chance.random() < 0.5:
                    _do(content, _torn(op, chance))
            if name in self._synced or content:
                (folder / name).write_bytes(content)


def _do(content: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del content[op.offset :]
        content.extend(bytes(op.offset - len(content)))
        return
    if len(content) < op.offset:
        content.extend(bytes(op.offset - len(content)))
    content[op.offset : op.offset + len(op.data)] = op.data


def _torn(op: Op, chance: random.Random) -> Op:
    if op.kind != "write" or chance.random() < 0.5:
        return op
    sectors = len(op.data) // SECTOR_BYTES
    return op._replace(data=op.data[: chance.randint(0, sectors) * SECTOR_BYTES])


def crashes(ops: Iterable[Op]) -> Iterator[tuple[Disk, set[bytes]]]:
    """Yield the disk, and what had been acknowledged, after each write and each sync; both go on changing."""
    disk, acknowledged = Disk(), set[bytes]()
    for op in ops:
        disk.play(op)
        if op.kind == "mark":
            acknowledged.add(op.data)
        else:
            yield disk, acknowledged


def check_integrity(path: Path) -> str:
    """Return what SQLite finds in the file: "ok" is well."""
    connection = apsw.Connection(str(path))
    try:
        found: Any = connection.execute("PRAGMA integrity_check").fetchone()
        return str(found[0])
    finally:
        connection.close()
