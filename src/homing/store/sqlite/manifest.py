"""What a backup of the embedded store says of itself."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self
from urllib.parse import quote

import apsw
import msgspec

from homing import __version__
from homing.errors import BackupDamaged, NoSuchStore
from homing.store.backups import MANIFEST, digest, read_manifest, write
from homing.store.sql import load
from homing.store.sqlite.directory import DATABASE
from homing.store.sqlite.rows import fetch

_SQL: Final = load("sqlite", "backup")
_META: Final = load("sqlite", "meta")


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
        return read_manifest(backup, cls)

    def write(self, backup: Path) -> None:
        """Write it into a backup; it is on disk when this returns."""
        write(backup / MANIFEST, self)


def database_of(backup: Path) -> Path:
    """Return the copy of the store in a backup; `BackupDamaged` if it is missing."""
    file = backup / DATABASE
    if not file.is_file():
        raise BackupDamaged(f"{backup} has no {DATABASE}")
    return file
