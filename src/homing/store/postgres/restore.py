"""Makes a store of a backup in an empty database: another store with the same content, all of it or nothing.

One transaction makes the tables, fills them, and, when asked, reads them again and compares what it reads with the state
that was copied. It is another store to devices (a new ``store_id``, their epoch); followers of the feed go on, for its
positions are times; and nothing in it is held by a node that lives.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import uuid_utils

from homing.errors import BackupDamaged, SchemaTooNew
from homing.store.postgres import content, partitions, schema
from homing.store.postgres.beside import beside
from homing.store.postgres.manifest import SharedManifest, Table, file_of, look_through
from homing.store.sql import load

_META: Final = load("postgres", "meta")
_PARTITIONS: Final = load("postgres", "partitions")
_SCHEMA: Final = load("postgres", "schema")


class Restored(NamedTuple):
    """A backup's manifest, and what the new store is called and holds."""

    manifest: SharedManifest
    store_id: str
    counts: dict[str, int]


def verify(backup: Path) -> SharedManifest:
    """Look a whole backup through: digests, structure, counts. Changes nothing; raises `BackupDamaged`, `NoSuchStore`."""
    manifest = SharedManifest.read(backup)
    look_through(backup, manifest, is_thorough=True)
    return manifest


async def restore(backup: Path, dsn: str, *, is_thorough: bool) -> Restored:
    """Make a store of a backup; it is committed when this returns, and nothing was changed otherwise.

    What is read is what the manifest says, by its SHA-256; ``is_thorough`` also reads each table from the database again and
    compares its rows with those of the state that was copied. Raises `NoSuchStore`, `BackupDamaged`, `SchemaTooNew`,
    `PlaceTaken` unless the database is empty, `Unavailable`.
    """
    manifest = SharedManifest.read(backup)
    if manifest.schema > schema.SCHEMA:
        told = f"the backup has schema {manifest.schema}; this Homing knows schemas up to {schema.SCHEMA}"
        raise SchemaTooNew(told)
    look_through(backup, manifest, is_thorough=False)  # COPY itself reads each file to its end, and counts
    store_id = str(uuid_utils.uuid4())
    async with beside(dsn) as connection:
        async with connection.transaction():
            await connection.execute(_META["lock_schema"])
            await content.refuse_content(connection)
            await schema.create(connection, store_id, manifest.key_id, manifest.schema)
            await _make_partitions(connection, manifest.partitions, manifest.made_at.timestamp())
            await connection.execute(_SCHEMA["empty_meta"])
            counts = {}
            for name, table in manifest.tables.items():
                counts[name] = await _fill(connection, name, table, file_of(backup, name))
                if is_thorough:
                    await _compare(connection, name, table)
            for sequence, last in manifest.sequences.items():
                await connection.execute(_SCHEMA["set_sequence"], sequence, last)
            await connection.execute(_META["put_words"], "store_id", store_id)
            await connection.execute(_SCHEMA["forget_servers"])
        for name in manifest.tables:
            await connection.execute(f"ANALYZE {content.quoted([name])}")
    return Restored(manifest, store_id, counts)


async def _make_partitions(connection: Any, suffixes: tuple[str, ...], made_at_s: float) -> None:
    """Make those that there were; the one of all that is older ends where they begin, or where today's week does."""
    weeks = sorted(int(suffix[1:]) for suffix in suffixes if suffix != partitions.FIRST)
    if partitions.FIRST in suffixes:
        first = min([*weeks, int(made_at_s * 1000) // partitions.WEEK_MS])
        await connection.fetchval(_PARTITIONS["make"], partitions.FIRST, None, partitions.bound(first))
    for week in weeks:
        low, high = partitions.bound(week), partitions.bound(week + 1)
        await connection.fetchval(_PARTITIONS["make"], f"w{week}", low, high)


async def _fill(connection: Any, name: str, table: Table, file: Path) -> int:
    there = await content.columns(connection, name)
    if sorted(there) != sorted(table.columns):
        raise BackupDamaged(f"its manifest says of {name} columns that its schema does not have")
    told = await connection.copy_to_table(name, source=str(file), columns=table.columns, format="binary")
    rows = int(str(told).rpartition(" ")[2])
    if rows != table.rows:
        raise BackupDamaged(f"{file.name} has {rows:,} rows; its manifest says {table.rows:,}")
    return rows


async def _compare(connection: Any, name: str, table: Table) -> None:
    found = await content.digest(connection, name, table.columns)
    if (found.rows, found.checksum) != (table.rows, table.checksum):
        raise BackupDamaged(
            f"{name} reads other than what was copied: checksum {found.checksum}, not {table.checksum}"
        )
