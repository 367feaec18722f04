"""Weeks of old messages on PostgreSQL: dropped whole, never under something pending, never in anybody's way (TH)."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import DAY_MS, NOON_MS, StillClock, happen, message_id
from tests.store.ledger import Town, build_town, incoming, post, settle, settled
from tests.store.steps import closing, commit, interleavings, node, play

from homing.engine.upkeep import Upkeep
from homing.errors import Unavailable
from homing.lifecycle.dispatch import Read, Received
from homing.model import Body, DispatchKey, ReplaySpec
from homing.store.batch import Accept, Addressee, Batch, Occurrence
from homing.store.changes import CreateJob
from homing.store.port import Dropped, Retention
from homing.store.postgres import PostgresStore, ledger, partitions, replays, rows
from homing.store.postgres.partitions import BUSY, DROPPED, Week
from homing.store.postgres.prune import prune
from homing.store.sql import load
from homing.telemetry import LogEvent

pytestmark = needs_postgres

WEEK_MS = 7 * DAY_MS
LATER_MS = 3 * WEEK_MS
LOCKS = re.compile(
    r"  FOREACH parent IN ARRAY parents LOOP.*?\n  EXECUTE format\('LOCK TABLE %s [^\n]*\n", re.S
)
LOOK = re.compile(r"  word := points_below.*?  END IF;\n", re.S)


def looks_before_it_locks() -> str:
    """Return the planted bug: the function that drops a week, looking for what is pending before it has its locks."""
    body = load("postgres", "schema_2")["migrate"]
    body = body[body.index("CREATE FUNCTION drop_week") :]
    body = body[: body.index("END $$;") + len("END $$;")].replace("CREATE", "CREATE OR REPLACE", 1)
    locks, look = LOCKS.search(body), LOOK.search(body)
    assert locks is not None
    assert look is not None
    assert locks.start() < look.start()
    return body.replace(look[0], "").replace(locks[0], look[0] + locks[0])


async def delivered(store: PostgresStore, town: Town) -> DispatchKey:
    """Accept a message to Ann that her phone gets, and tell of it all: nothing is pending, and she may read it any time."""
    key = await post(store, town.app, "Ann")
    await happen(store, key[:16], Received())
    for n in (1, 2):
        await settle(store, settled(key, town.endpoint.id, n))
    return key


async def suffixes(store: PostgresStore) -> list[str]:
    """Return the ends of the partitions' names."""
    return [row[0] for row in await store._db.fetch(load("postgres", "partitions")["all"])]


@asynccontextmanager
async def session(database: str) -> AsyncIterator[Any]:
    """Give a session of somebody else's."""
    connection = await asyncpg.connect(database)
    try:
        yield connection
    finally:
        connection.terminate()


def dropping(week: Week, now_ms: int) -> Callable[[Any], Any]:
    """Return what a node does to drop a week, waiting as long as a test takes."""

    async def work(connection: Any) -> str:
        return await partitions.drop(connection, week, now_ms, "20s")

    return work


async def orphans(store: PostgresStore) -> int:
    """Return how many lanes are about a dispatch that is no more."""
    rows = await store._db.fetch(
        "SELECT count(*) FROM lane AS l WHERE NOT EXISTS (SELECT 1 FROM dispatch AS d WHERE d.key = substr(l.key, 1, 18))"
    )
    return int(rows[0][0])


def is_gated(sql: str) -> bool:
    """Name the statements whose order matters between dropping a week and opening a lane in it."""
    return sql == "COMMIT" or re.search(r"drop_week|FOR NO KEY UPDATE OF d|INTO lane", sql) is not None


ORDERS = list(interleavings(2, 3))


async def drop_beside_reads(database: str, clock: StillClock) -> list[tuple[str, int]]:
    """Drop a week while at another node a message of it is read, in every order, until lanes are left about nothing.

    Return what each came to, and how many lanes that were.
    """
    a, b = await node(database, clock=clock), await node(database, clock=clock)
    came_to = []
    for order in ORDERS:
        town = await build_town(a)
        key = await delivered(a, town)
        its_end_ms = (clock.ms // WEEK_MS + 1) * WEEK_MS
        clock.ms += WEEK_MS
        await b._db.write(lambda c: partitions.make(c, clock.ms))
        [week] = await a._db.look(lambda c: partitions.droppable(c, its_end_ms))  # noqa: B023 - within this round
        read = commit(b, Batch(occurrences=[Occurrence(key, Read())]))
        word, _ = await play(database, order, [dropping(week, clock.ms), read], is_gated)
        came_to.append((word, await orphans(a)))
        if came_to[-1][1]:
            break
        await a._db.write(lambda c: c.execute("TRUNCATE lane"))
        if word != DROPPED:
            assert await a._db.alone(lambda c, w=week: partitions.drop(c, w, clock.ms)) == DROPPED  # type: ignore[misc]
    return came_to


@pytest.mark.timeout(120)
def test_a_week_never_goes_from_under_a_lane_that_is_being_opened(
    database: str, clock: StillClock, run: Run
) -> None:
    """In every order of the statements the week stays, or whoever came too late finds nothing to tell of (TH)."""

    async def story() -> None:
        came_to = await drop_beside_reads(database, clock)
        assert set(came_to) == {(DROPPED, 0), ("lane", 0)}

    run(closing(story()))


@pytest.mark.timeout(120)
def test_a_look_before_the_locks_is_caught(database: str, clock: StillClock, run: Run) -> None:
    """The same orders show the planted bug: a lane is left that is about nothing."""

    async def story() -> None:
        first = await node(database, clock=clock)
        await first._db.write(lambda c: c.execute(looks_before_it_locks()))
        assert any(lost for _word, lost in await drop_beside_reads(database, clock))

    run(closing(story()))


async def drop_beside_a_mixed_batch(database: str, clock: StillClock) -> list[str]:
    """Drop a week while a batch has read a dispatch of it and is to store a new message; return what that came to."""

    def gated(sql: str) -> bool:
        return sql == "COMMIT" or re.search(r"drop_week|FOR NO KEY UPDATE OF d|INTO message", sql) is not None

    a, b = await node(database, clock=clock), await node(database, clock=clock)
    words = []
    for order in ("babbb", "bbabb", "bbbab"):
        town = await build_town(a)
        key = await delivered(a, town)
        its_end_ms = (clock.ms // WEEK_MS + 1) * WEEK_MS
        clock.ms += WEEK_MS
        await b._db.write(lambda c: partitions.make(c, clock.ms))
        [week] = await a._db.look(lambda c: partitions.droppable(c, its_end_ms))  # noqa: B023 - within this round
        accept = Accept(message_id(clock.ms), town.app, None, Body("hi"), (Addressee("Ann", "ann"),))
        both = commit(b, Batch(accepts=[accept], occurrences=[Occurrence(key, Received())]))
        word, _ = await play(database, order, [dropping(week, clock.ms), both], gated)
        words.append(word)
        await a._db.write(lambda c: c.execute("TRUNCATE lane, timer"))
    return words


def test_a_batch_and_the_dropping_of_a_week_never_wait_for_each_other(
    database: str, clock: StillClock, run: Run
) -> None:
    """Commits take the tables' locks in the order in which dropping does: under load it would never come to its turn else."""

    async def story() -> None:
        assert await drop_beside_a_mixed_batch(database, clock) == [DROPPED] * 3

    run(closing(story()))


def test_locks_in_another_order_are_caught(
    database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: a batch that comes to the messages only when it writes them."""
    late = ledger._SQL["load_apps"].replace("AND NOT EXISTS (SELECT 1 FROM ONLY message)", "")
    assert late != ledger._SQL["load_apps"]
    monkeypatch.setattr(ledger, "_SQL", {**ledger._SQL, "load_apps": late})

    async def story() -> None:
        with pytest.raises((asyncpg.DeadlockDetectedError, Unavailable)):
            await drop_beside_a_mixed_batch(database, clock)

    run(closing(story()))


def test_only_weeks_that_are_over_go_and_what_is_older_with_the_first(
    database: str, clock: StillClock, run: Run
) -> None:
    """The partition that takes every older id goes with the oldest week, and there is one again: what comes late has a place."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        ancient = message_id(NOON_MS - 9 * WEEK_MS)
        await store.commit(Batch(incomings=[incoming(store, town, ancient)]))
        await settle(store, settled(ancient + b"\xff\xff", town.endpoint.id, 1))
        old = await delivered(store, town)
        week = NOON_MS // WEEK_MS
        assert await suffixes(store) == ["before", f"w{week}", f"w{week + 1}", f"w{week + 2}"]
        clock.ms += WEEK_MS
        young = await delivered(store, town)
        clock.ms = (week + 1) * WEEK_MS - 1
        assert await store.drop_messages(clock.ms, 1) == Dropped(0)
        assert await store.message(old[:16]) is not None
        assert await store.drop_messages((week + 1) * WEEK_MS, 1) == Dropped(1, is_end=False)
        assert await store.drop_messages((week + 1) * WEEK_MS, 1) == Dropped(0)
        assert await suffixes(store) == ["before", f"w{week + 1}", f"w{week + 2}"]
        assert await store.message(old[:16]) is None
        assert await store.message(young[:16]) is not None
        await settle(store, settled(old, town.endpoint.id, 3))
        assert [view.key for view in await store.attempts(town.endpoint.id, None, 1)] == [old]

    run(closing(story()))


def test_nobody_waits_long_for_a_week_to_go(database: str, clock: StillClock, run: Run) -> None:
    """Where a transaction is in the way nothing is held and nothing is dropped; where it has ended, the round comes again."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(a)
        key = await delivered(a, town)
        clock.ms += LATER_MS
        upkeep = Upkeep(a, Retention(1, 1, 1, WEEK_MS), again_s=0)
        async with session(database) as in_the_way:
            running = in_the_way.transaction()
            await running.start()
            await in_the_way.fetch("SELECT 1 FROM event LIMIT 1")
            step = await a.drop_messages(clock.ms - WEEK_MS, 1)
            assert (step.count, step.kept_by, step.is_end) == (0, BUSY, True)
            assert await post(
                b, town.app, "nobody", at_ms=clock.ms - LATER_MS
            )  # nobody waits for that try any more
            await upkeep.round()
            assert set(upkeep.kept) == {("lane",)}
            await settle(b, *(settled(w.key, w.endpoint, 1) for w in await b.held_lanes((b"", 0), 9)))
            round_ = asyncio.ensure_future(upkeep.round())
            await running.rollback()
            await round_
        assert upkeep.kept == {}
        assert await a.message(key[:16]) is None

    run(closing(story()))


def test_one_node_at_a_time_drops(database: str, clock: StillClock, run: Run) -> None:
    """Who finds another at the partitions leaves them to it."""

    async def story() -> None:
        store = await node(database, clock=clock)
        await delivered(store, await build_town(store))
        clock.ms += LATER_MS
        async with session(database) as other:
            await other.execute("SELECT pg_advisory_lock(5208491672071064)")
            assert (await store.drop_messages(clock.ms - WEEK_MS, 1)).kept_by == BUSY

    run(closing(story()))


def test_what_keeps_weeks_is_logged_and_counted(database: str, clock: StillClock, run: Run, log: Any) -> None:
    """By the word for what points there, with the number of weeks that stay."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        await post(store, town.app, "nobody")
        clock.ms += LATER_MS
        upkeep = Upkeep(store, Retention(1, 1, 1, WEEK_MS))
        await upkeep.round()
        [(labels, count)] = upkeep.kept.items()
        assert labels == ("lane",)
        assert count == 2
        assert LogEvent.RETENTION_KEPT in log.getvalue()

    run(closing(story()))


async def prune_beside_replays(database: str, clock: StillClock) -> list[str]:
    """Delete a message from a phone while another node begins to tell of it again; return the orders that left a lane alone."""

    def gated(sql: str) -> bool:
        return (
            sql == "COMMIT" or re.search(r"FROM incoming WHERE id <|incoming AS i|INTO lane", sql) is not None
        )

    a, b = await node(database, clock=clock), await node(database, clock=clock)
    town = await build_town(a, kind="inbox")
    floor = partitions.bound(clock.ms // WEEK_MS + 1)
    await a._db.write(lambda c: c.execute(load("postgres", "meta")["put_place"], "messages_floor", floor))
    wrong = []
    for order in interleavings(3, 3):
        written = message_id(clock.ms)
        await a.commit(Batch(incomings=[incoming(a, town, written)]))
        await settle(a, settled(written + b"\xff\xff", town.endpoint.id, 1))
        await a.apply(CreateJob(order, town.app, ReplaySpec("all", clock.ms + 1, endpoint=town.endpoint.id)))

        async def replay(connection: Any, uid: str = order) -> object:
            return await replays.step(connection, uid, 9, clock.ms, b.epoch)

        async def delete(connection: Any) -> object:
            return await prune(connection, Retention(None, None, None), 9, clock.ms)

        await play(database, order, [delete, replay], gated)
        if await a._db.fetch(
            "SELECT 1 FROM lane AS l WHERE NOT EXISTS (SELECT 1 FROM incoming AS i WHERE i.id = substr(l.key, 1, 16))"
        ):
            wrong.append(order)
            break
        await a._db.write(lambda c: c.execute("TRUNCATE lane, incoming"))
    return wrong


@pytest.mark.timeout(120)
def test_a_message_from_a_phone_stays_while_it_is_told_again(
    database: str, clock: StillClock, run: Run
) -> None:
    """Those lie in no week: one is deleted, or it is told of, in every order of the statements."""

    async def story() -> None:
        assert await prune_beside_replays(database, clock) == []

    run(closing(story()))


@pytest.mark.timeout(120)
def test_telling_again_of_what_is_not_locked_is_caught(
    database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same orders show the planted bug: a replay that reads messages from phones without a lock."""
    kept = load("postgres", "replays")
    loose = {**kept, "keep_incomings": kept["keep_incomings"].replace("FOR KEY SHARE OF i", "")}
    monkeypatch.setattr(rows, "load", lambda store, file: loose if file == "replays" else load(store, file))

    async def story() -> None:
        assert await prune_beside_replays(database, clock)

    run(closing(story()))
