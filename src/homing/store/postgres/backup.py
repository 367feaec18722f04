"""Makes a backup of a PostgreSQL while nodes work on it: one state of all tables, in files of our own, on disk, or nothing.

Its one transaction sees the state at its beginning and stands in nobody's way: nodes write and feeds go on (it goes by
another name than nodes do). Only what they delete meanwhile stays on the server's disk until it is done. No program of
PostgreSQL's is needed, and whoever may read the tables may make one.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from homing import __version__
from homing.errors import NoSuchStore, StoreMoved
from homing.store.backups import MANIFEST, drafted, refuse_taken, room_for, sync, write
from homing.store.postgres import content, schema
from homing.store.postgres.beside import beside
from homing.store.postgres.manifest import SharedManifest, Table, file_of
from homing.store.sql import load

_ALL: Final = ["meta", *content.CONTENT]
_META: Final = load("postgres", "meta")
_NODES: Final = load("postgres", "nodes")
_PARTITIONS: Final = load("postgres", "partitions")
_SCHEMA: Final = load("postgres", "schema")


async def make(dsn: str, to: Path) -> SharedManifest:
    """Make the directory ``to`` with a copy of the store and its manifest; when this returns, it is on disk.

    Raises `NoSuchStore`, `PlaceTaken` where there is something already, `SchemaTooNew`, `StoreMoved` for a copy that is not
    finished, `Unavailable` when the database is away or there is no room, OSError. The master key is never part of it.
    """
    refuse_taken(to)
    async with beside(dsn) as connection:
        if not (await schema.look(connection)).schema:
            raise NoSuchStore("the database holds no store of Homing's")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # Before the state is taken: no table is altered, and no week is dropped, that it holds.
            await connection.execute(f"LOCK TABLE {content.quoted(_ALL)} IN ACCESS SHARE MODE")
            return await _make(connection, to)


async def _make(connection: Any, to: Path) -> SharedManifest:
    """Make it inside the caller's transaction."""
    known = await schema.look(connection)
    if await connection.fetchval(_META["words"], schema.MOVING) is not None:
        raise StoreMoved("a copy into this database is not finished: there is nothing to back up yet")
    made_at_ms = await connection.fetchval(_NODES["clock"])
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    room_for(await _size_bytes(connection), to.parent)
    with drafted(to) as draft:
        tables = {name: await _copy(connection, name, draft) for name in _ALL}
        manifest = SharedManifest(
            2, __version__, known.schema, datetime.fromtimestamp(made_at_ms // 1000, UTC),
            str(await connection.fetchval(_META["words"], "store_id")),
            str(await connection.fetchval(_META["words"], "key_id") or ""),
            str(await connection.fetchval("SHOW server_version")),
            tuple(row[0] for row in await connection.fetch(_PARTITIONS["all"])),
            # Asked last: they are no part of the state, and have gone on.
            {row[0]: row[1] or 0 for row in await connection.fetch(_SCHEMA["sequences"])},
            tables,
        )  # fmt: skip
        write(draft / MANIFEST, manifest)
    return manifest


async def _size_bytes(connection: Any) -> int:
    """Return about how many bytes the tables have: less in a file, where there is no room between rows."""
    return int(await connection.fetchval(_SCHEMA["size_of_tables"], _ALL))


async def _copy(connection: Any, table: str, draft: Path) -> Table:
    """Write one table's file; its rows are counted and summed once more by themselves."""
    names = await content.columns(connection, table)
    file = file_of(draft, table)
    with file.open("xb") as opened:
        file.chmod(0o600)
        sink = _Sink(opened)
        query = f"SELECT {content.quoted(names)} FROM {content.quoted([table])}"  # noqa: S608 - quoted
        told = await connection.copy_from_query(query, output=sink.write, format="binary")
    sync(file)
    rows = int(str(told).rpartition(" ")[2])
    found = await content.digest(connection, table, names)
    assert found.rows == rows, f"one state of {table} has {rows} rows and {found.rows}"
    return Table(tuple(names), rows, sink.size_bytes, sink.sha256.hexdigest(), found.checksum)


class _Sink:
    """Where COPY's bytes go: into a file, and into its digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._file.write(data)
        self.sha256.update(data)
        self.size_bytes += len(data)
