"""What a backup says of itself, and what a data directory remembers of its last one."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self
from urllib.parse import quote

import apsw
import msgspec

from homing import __version__
from homing.errors import BackupDamaged, NoSuchStore, Unavailable
from homing.store.sql import load
from homing.store.sqlite.directory import DATABASE, sync
from homing.store.sqlite.rows import fetch

_SQL: Final = load("sqlite", "backup")
_META: Final = load("sqlite", "meta")

MANIFEST: Final = "manifest.json"
NOTE: Final = "last-backup.json"
KEPT_FREE_BYTES: Final = 512 * 2**20
"""Below this a server on the same disk would accept no message."""


class Facts(NamedTuple):
    """What is in a closed store's file."""

    schema: int
    store_id: str
    key_id: str
    counts: dict[str, int]

    @classmethod
    def of(cls, file: Path) -> Self:
        """Ask a file that nobody has open; `BackupDamaged` if it cannot be read, `NoSuchStore` if it holds no store."""
        try:
            connection = closed_file(file)
            try:
                if connection.execute(_META["has_meta"]).fetchone() is None:
                    raise NoSuchStore(f"{file} holds no store of Homing's")
                meta = dict.fromkeys(("schema", "store_id", "key_id"))
                for name in meta:
                    row = connection.execute(_META["get"], (name,)).fetchone()
                    meta[name] = None if row is None else row[0]
                tables = [str(row[0]) for row in connection.execute(_SQL["tables"])]
                counts = {name: _count(connection, name) for name in tables}
            finally:
                connection.close()
        except apsw.Error as error:
            raise BackupDamaged(f"{file} cannot be read: {error}") from error
        schema = meta["schema"]
        if not isinstance(schema, int):
            raise NoSuchStore(f"{file} holds no store of Homing's")
        return cls(schema, str(meta["store_id"]), str(meta["key_id"] or ""), counts)


def _count(connection: apsw.Connection, table: str) -> int:
    # The name comes from the file's own schema: a backup may be of an older one than this program's.
    quoted = table.replace('"', '""')
    rows = fetch(connection, f'SELECT count(*) FROM "{quoted}"', ())  # noqa: S608 - quoted
    return int(rows[0][0])


def closed_file(file: Path) -> apsw.Connection:
    """Return a connection that reads a file which nobody writes, and leaves nothing beside it."""
    uri = f"file:{quote(str(file.absolute()))}?immutable=1"
    return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """The file ``manifest.json`` of a backup. ``key_id`` names the master key, which is not in it."""

    format: Literal[1]
    homing: str
    schema: int
    made_at: datetime
    store_id: str
    key_id: str
    size_bytes: int
    sha256: str
    counts: dict[str, int]

    @classmethod
    def of(cls, file: Path, made_at_ms: int) -> Self:
        """Describe a closed copy of a store."""
        facts = Facts.of(file)
        made_at = datetime.fromtimestamp(made_at_ms // 1000, UTC)
        return cls(1, __version__, facts.schema, made_at, facts.store_id, facts.key_id,
                   file.stat().st_size, digest(file), facts.counts)  # fmt: skip

    @classmethod
    def read(cls, backup: Path) -> Self:
        """Read a backup's; `NoSuchStore` without one, `BackupDamaged` for one that is none."""
        file = backup / MANIFEST
        try:
            return msgspec.json.decode(file.read_bytes(), type=cls)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchStore(f"{backup} is no backup: it has no {MANIFEST}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackupDamaged(f"{file} is no manifest that this Homing knows: {error}") from error

    def write(self, backup: Path) -> None:
        """Write it into a backup; it is on disk when this returns."""
        write(backup / MANIFEST, self)


class Note(msgspec.Struct, frozen=True, rename="camel"):
    """What a data directory remembers of its last backup."""

    at: datetime
    to: str
    sha256: str

    @classmethod
    def read(cls, data: Path) -> Self | None:
        """Read it; None when no backup was ever made, or nobody can tell."""
        try:
            return msgspec.json.decode((data / NOTE).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def age_s(self, now_ms: int) -> float:
        """Return how old the backup is, never less than nothing."""
        return max(0.0, now_ms / 1000 - self.at.timestamp())


def write(file: Path, value: msgspec.Struct) -> None:
    """Write a file of JSON whole or not at all, over an older one; it is on disk when this returns."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    draft.chmod(0o600)
    sync(draft)
    draft.replace(file)
    sync(file.parent)


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def database_of(backup: Path) -> Path:
    """Return the copy of the store in a backup; `BackupDamaged` if it is missing."""
    file = backup / DATABASE
    if not file.is_file():
        raise BackupDamaged(f"{backup} has no {DATABASE}")
    return file


def room_for(count: int, folder: Path) -> None:
    """Raise `Unavailable` where a file system has not room for so many bytes and what a server wants kept free."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < count + KEPT_FREE_BYTES:
        raise Unavailable(
            f"{folder} has {free / 2**20:,.0f} MiB free; {(count + KEPT_FREE_BYTES) / 2**20:,.0f} MiB are needed"
        )
