"""The PostgreSQL that a store is moved to: its tables, what has arrived, and who may have it meanwhile: nobody.

Rows and the note of how far the copy is are one transaction, so whoever comes after a death goes on behind the last row.
While ``meta`` says `MOVING` no node starts on it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from homing.errors import PlaceTaken, StartError, StoreMoved, Unavailable
from homing.store.digest import Digest
from homing.store.moving.source import Facts
from homing.store.moving.tables import META, Row, Shape
from homing.store.postgres import content, partitions, schema
from homing.store.sql import load

WEEKS_BACK: Final = 156
"""So old messages still get weeks of their own, which are dropped one by one; older ones share the first partition."""
_META: Final = load("postgres", "meta")
_NODES: Final = load("postgres", "nodes")
_SCHEMA: Final = load("postgres", "schema")
_SQL: Final = load("postgres", "moving")
_PARTITIONS: Final = load("postgres", "partitions")
_DONE: Final = "done"
_COPIED: Final = "moving:"


class Progress(NamedTuple):
    """How far one table is: rows that have arrived, the key of the last one, and whether it was the last."""

    rows: int
    after: Row | None
    is_done: bool


class Target:
    """The database; made by `claim`."""

    def __init__(self, connection: Any, *, is_resumed: bool) -> None:
        self._connection = connection
        self.is_resumed = is_resumed

    @classmethod
    async def claim(
        cls, connection: Any, facts: Facts, shapes: Mapping[str, Shape], oldest: bytes | None
    ) -> "Target | None":
        """Take an empty database, or one with a copy of this very store that is not finished. None: it is finished.

        Raises `PlaceTaken` for any other, `StoreMoved` when the store was moved to another place, `SchemaTooNew`, or
        `Unavailable` while another process copies into it.
        """
        try:
            await connection.execute(_SQL["take"])
        except asyncpg.LockNotAvailableError as error:
            raise Unavailable("another process is copying into this database") from error
        async with connection.transaction():
            await connection.execute(_META["lock_schema"])
            is_there = (await schema.look(connection)).schema > 0
            moving = await connection.fetchval(_META["words"], schema.MOVING) if is_there else None
            if is_there and moving is None:
                if facts.moved and await connection.fetchval(_META["words"], "store_id") == facts.store_id:
                    return None
                await content.refuse_content(connection)
            if moving is None:
                if facts.moved:
                    raise StoreMoved(
                        f"this store was moved to {facts.moved} already: `homing migrate --reopen`"
                    )
                await content.refuse_content(connection)
                await schema.create(connection, facts.store_id, facts.key_id, schema.SCHEMA)
                await _make_partitions(connection, oldest)
                await connection.execute(_META["put_words"], schema.MOVING, facts.identity)
            elif moving != facts.identity:
                raise PlaceTaken(
                    f"the database holds the unfinished copy of another state ({moving}; here is {facts.identity}): "
                    "empty it and begin anew"
                )
            for name, shape in shapes.items():
                if sorted(await content.columns(connection, name)) != sorted(shape.there):
                    raise StartError(f"this Homing does not know how to move the columns of {name}")
        return cls(connection, is_resumed=moving is not None)

    async def progress(self, table: str) -> Progress:
        """Return how far a table is."""
        found = await self._connection.fetchrow(_SQL["progress"], _COPIED + table)
        if found is None:
            return Progress(0, None, is_done=False)
        after = None if found["place"] is None else tuple(msgspec.msgpack.decode(found["place"]))
        return Progress(found["number"], after, found["words"] == _DONE)

    async def take(self, shape: Shape, rows: Sequence[Row], before: Progress, after: Row | None) -> Progress:
        """Store the next rows of a table, all of them or none; None after: there are no more."""
        now = Progress(before.rows + len(rows), after or before.after, is_done=after is None)
        try:
            await self._take(shape, rows, now)
        except asyncpg.CheckViolationError:
            # Ids of weeks that are to come: its clock was wrong once.
            place = shape.there.index(shape.partitioned_by or shape.key[0])
            await self._make_weeks({bytes(row[place])[:6] for row in rows})
            await self._take(shape, rows, now)
        return now

    async def finish_copy(
        self, meta: Sequence[tuple[str, int | None, str | None, bytes | None]], sequences: Mapping[str, int]
    ) -> None:
        """Have it know what the store knew of itself, give no number twice, and plan with what is there; on disk then."""
        async with self._connection.transaction():
            await self._connection.execute(_SQL["wait_for_disk"])
            await self._connection.executemany(_SQL["put_meta"], meta)
            for name, highest in sequences.items():
                await self._connection.execute(_SCHEMA["set_sequence"], name, highest)
        for table in content.CONTENT:
            await self._connection.execute(f"ANALYZE {content.quoted([table])}")

    async def digest(self, shape: Shape) -> Digest:
        """Count and sum one table."""
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            return await content.digest(self._connection, shape.name, shape.there)

    async def meta(self) -> list[tuple[str, int | None, str | None, bytes | None]]:
        """Return what it knows of itself that came from the store, by name."""
        rows = await self._connection.fetch(_SQL["meta"], [known.name for known in META.values()])
        return sorted(map(tuple, rows))

    async def open_to_nodes(self) -> None:
        """Forget that it was a copy: from here on nodes may start. On disk when this returns."""
        async with self._connection.transaction():
            await self._connection.execute(_SQL["wait_for_disk"])
            await self._connection.execute(_SQL["forget"], schema.MOVING, _COPIED)

    async def _take(self, shape: Shape, rows: Sequence[Row], now: Progress) -> None:
        place = None if now.after is None else msgspec.msgpack.encode(now.after)
        try:
            async with self._connection.transaction():
                if rows:
                    await self._connection.copy_records_to_table(
                        shape.name, records=rows, columns=shape.there
                    )
                words = _DONE if now.is_done else None
                await self._connection.execute(_SQL["note"], _COPIED + shape.name, now.rows, words, place)
        except asyncpg.CharacterNotInRepertoireError as error:
            first, last = shape.key_of(rows[0]), shape.key_of(rows[-1])
            raise StartError(
                f"{shape.name} has a text that PostgreSQL cannot hold, U+0000, between the keys {_shown(first)} and "
                f"{_shown(last)}: mend it there and run this again"
            ) from error

    async def _make_weeks(self, beginnings: set[bytes]) -> None:
        for week in sorted({int.from_bytes(one, "big") // partitions.WEEK_MS for one in beginnings}):
            await _make_week(self._connection, week)


async def _make_partitions(connection: Any, oldest: bytes | None) -> None:
    now = (await connection.fetchval(_NODES["clock"])) // partitions.WEEK_MS
    low = now if oldest is None else int.from_bytes(oldest[:6], "big") // partitions.WEEK_MS
    first = max(min(low, now), now - WEEKS_BACK)
    await connection.fetchval(_PARTITIONS["make"], partitions.FIRST, None, partitions.bound(first))
    for week in range(first, now + partitions.AHEAD + 1):
        await _make_week(connection, week)


async def _make_week(connection: Any, week: int) -> None:
    try:
        async with connection.transaction():
            await connection.fetchval(
                _PARTITIONS["make"], f"w{week}", partitions.bound(week), partitions.bound(week + 1)
            )
    except asyncpg.InvalidObjectDefinitionError:  # it is part of the first one
        return


def _shown(key: Row) -> str:
    return "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in key)
