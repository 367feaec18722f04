"""What a backup of a PostgreSQL says of itself: a file of COPY's binary format for each table, and how to know them again."""

import mmap
from datetime import datetime
from pathlib import Path
from struct import Struct
from typing import Final, Literal

import msgspec

from homing.errors import BackupDamaged
from homing.store.backups import digest, read_manifest

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_HEAD: Final = Struct("!II")
_COUNT: Final = Struct("!h")
_LENGTH: Final = Struct("!i")


class Table(msgspec.Struct, frozen=True, rename="camel"):
    """One table: its columns in the file's order, its rows, the file, and the sum of the rows as `digest` counts it."""

    columns: tuple[str, ...]
    rows: int
    size_bytes: int
    sha256: str
    checksum: str


class SharedManifest(msgspec.Struct, frozen=True, rename="camel"):
    """The file ``manifest.json`` of a backup. ``key_id`` names the master key, which is not in it."""

    format: Literal[2]
    homing: str
    schema: int
    made_at: datetime
    store_id: str
    key_id: str
    server: str
    """The version of the PostgreSQL it was made of."""
    partitions: tuple[str, ...]
    sequences: dict[str, int]
    tables: dict[str, Table]

    @classmethod
    def read(cls, backup: Path) -> "SharedManifest":
        """Read a backup's; `NoSuchStore` without one, `BackupDamaged` for one that is none."""
        return read_manifest(backup, cls)

    @property
    def counts(self) -> dict[str, int]:
        """Each table's rows."""
        return {name: table.rows for name, table in self.tables.items()}


def file_of(backup: Path, table: str) -> Path:
    """Return the file of a table."""
    return backup / f"{table}.copy"


def look_through(backup: Path, manifest: SharedManifest, *, is_thorough: bool) -> None:
    """Raise `BackupDamaged` unless each file is the one that was written; ``is_thorough`` also counts what is in it."""
    for name, table in manifest.tables.items():
        file = file_of(backup, name)
        if not file.is_file():
            raise BackupDamaged(f"{backup} has no {file.name}")
        if (size := file.stat().st_size) != table.size_bytes:
            raise BackupDamaged(f"{file.name} has {size:,} bytes, not {table.size_bytes:,}")
        if (found := digest(file)) != table.sha256:
            raise BackupDamaged(f"{file.name} has the SHA-256 {found}, not {table.sha256}")
        if is_thorough and (rows := count_rows(file, len(table.columns))) != table.rows:
            raise BackupDamaged(f"{file.name} has {rows:,} rows; its manifest says {table.rows:,}")


def count_rows(file: Path, fields: int) -> int:
    """Count the rows of a file of COPY's binary format, each of so many fields; `BackupDamaged` where it is none.

    https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
    """
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            if data[: len(_SIGNATURE)] != _SIGNATURE:
                raise BackupDamaged(f"{file.name} is no file of COPY's")
            place = len(_SIGNATURE) + _HEAD.size + _HEAD.unpack_from(data, len(_SIGNATURE))[1]
            rows, count_of, length_of = 0, _COUNT.unpack_from, _LENGTH.unpack_from
            while (found := count_of(data, place)[0]) != -1:
                if found != fields:
                    raise BackupDamaged(f"{file.name} has a row of {found} fields, not {fields}")
                place += 2
                for _ in range(fields):
                    length = length_of(data, place)[0]
                    place += 4 + max(length, 0)
                rows += 1
        except Exception as error:
            if isinstance(error, BackupDamaged):
                raise
            raise BackupDamaged(f"{file.name} ends in the middle of a row") from error
        if place + 2 != len(data):
            raise BackupDamaged(f"{file.name} goes on behind its end")
    return rows
