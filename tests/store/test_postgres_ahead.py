"""Weeks made ahead on PostgreSQL: beside whoever reads and writes, in nobody's way, and no beat waits for them."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import DAY_MS, StillClock
from tests.store.ledger import build_town, post
from tests.store.steps import HELD_UP, closing, expire, node, somebody_is_held_up
from tests.store.test_postgres_weeks import session, suffixes

from homing.store.postgres import partitions
from homing.store.postgres.nodes import Terms
from homing.store.postgres.partitions import WEEK_MS
from homing.telemetry import LogEvent

pytestmark = needs_postgres

WEEKLY = "message, dispatch, event, history, attempt, settled"


def test_weeks_are_made_beside_whoever_reads_and_writes(database: str, clock: StillClock, run: Run) -> None:
    """A backup reads for hours: neither does making wait for it, nor anybody behind the maker."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        week = clock.ms // WEEK_MS
        clock.ms += 7 * DAY_MS
        async with session(database) as other:
            await other.execute("BEGIN")
            await other.execute(f"LOCK TABLE {WEEKLY} IN ROW EXCLUSIVE MODE")
            await store.upkeep()
            assert await suffixes(store) == ["before", *(f"w{week + n}" for n in range(4))]
            clock.ms += 2 * 7 * DAY_MS
            key = await post(store, town.app, "nobody", at_ms=clock.ms)
        assert await store._db.fetch(f"SELECT 1 FROM dispatch_w{week + 3} WHERE key = $1", key)

    run(closing(story()))


def test_a_week_that_was_attached_is_as_one_that_was_made_in_place(
    database: str, clock: StillClock, run: Run
) -> None:
    """Columns, what they hold unasked, what they refuse, and every index are the table's own."""
    shape = """
        SELECT p.relname, attname, atttypid, attnotnull, attcollation, attstorage,
          (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = c.oid AND adnum = attnum)
        FROM pg_class AS p JOIN pg_class AS c ON c.oid = p.oid OR c.relname = p.relname || $1
        JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
        WHERE p.relkind = 'p' AND (c.oid = p.oid) = ($1 = '') ORDER BY p.relname, attname"""
    indexes = """
        SELECT p.relname, count(*) FROM pg_class AS p JOIN pg_class AS c ON c.relname = p.relname || $1
        JOIN pg_index AS i ON i.indrelid = c.oid WHERE p.relkind = 'p' GROUP BY 1 ORDER BY 1"""

    async def story() -> None:
        store = await node(database, clock=clock)
        week = f"_w{clock.ms // WEEK_MS}"
        for question in (shape, indexes):
            own = await store._db.fetch(question, "")
            assert own
            assert await store._db.fetch(question, week) == own

    run(closing(story()))


def test_making_ahead_is_put_off_where_others_are_in_the_way(
    database: str, clock: StillClock, run: Run, log: Any
) -> None:
    """It is tried once, the rest of the upkeep is done, and nothing is left half made."""

    async def story() -> None:
        store = await node(database, clock=clock)
        before = await suffixes(store)
        clock.ms += 7 * DAY_MS
        async with session(database) as other:
            await other.execute("BEGIN")
            await other.execute("LOCK TABLE settled IN SHARE UPDATE EXCLUSIVE MODE")
            await store.upkeep()
        assert log.getvalue().count(LogEvent.UPKEEP_PUT_OFF) == 1
        assert store.size_bytes()
        assert await suffixes(store) == before
        await store.upkeep()
        assert len(await suffixes(store)) == len(before) + 1

    run(closing(story()))


def test_neither_start_nor_heart_waits_for_weeks_ahead(
    database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody is at the partitions a node starts, for there are those of now, and beats while its upkeep waits."""
    patient = {**partitions._SQL, "patience": "SET lock_timeout = 0"}
    monkeypatch.setattr(partitions, "_SQL", patient)

    async def story() -> None:
        await node(database, clock=clock)
        clock.ms += 7 * DAY_MS
        async with session(database) as other:
            await other.execute("SELECT pg_advisory_lock(5208491672071064)")
            store = await node(database, clock=clock, terms=Terms(beat_s=0.01), beats=True)
            await somebody_is_held_up(other)
            lost = asyncio.Event()
            store.on_lost(lost.set)
            await expire(store)
            await lost.wait()
            assert await other.fetch(HELD_UP)

    run(closing(story()))


def test_weeks_are_made_in_the_order_in_which_everybody_locks(
    database: str, clock: StillClock, run: Run
) -> None:
    """Whoever holds one of the tables may go on to any that comes after: the maker that waits for the first has none of them."""

    async def story() -> None:
        store = await node(database, clock=clock)
        order = await store._db.fetch("SELECT unnest(in_weeks())")
        assert [row[0] for row in order] == WEEKLY.split(", ")
        clock.ms += 7 * DAY_MS
        async with session(database) as other:
            await other.execute("BEGIN")
            for held, wanted in pairwise(order):
                await other.execute(f"LOCK TABLE {held[0]}")
                making = asyncio.ensure_future(store._db.write(lambda c: partitions.make(c, clock.ms)))
                await somebody_is_held_up(other)
                await other.execute(f"LOCK TABLE {wanted[0]} NOWAIT")
                await other.execute("ROLLBACK; BEGIN")
                await making
                clock.ms += 7 * DAY_MS

    run(closing(story()))
