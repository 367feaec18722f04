"""A node stands still amid a transaction: what it has locked is free with one of the others' next beats, and only that.

No time-out of the server's counts there, between two words of one statement or amid an answer that nobody reads.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock
from tests.store.ledger import build_town, post
from tests.store.steps import closing, node
from tests.waiting import again

from homing.errors import Unavailable
from homing.store.postgres import PostgresStore
from homing.store.postgres.database import APPLICATION
from homing.store.postgres.nodes import Terms

pytestmark = needs_postgres
SOON = Terms(stuck_s=0.3)
StandStill = Callable[[Any], Awaitable[None]]
WAITS_FOR = "SELECT (SELECT wait_event FROM pg_stat_activity WHERE pid = $1)"
MANY_BYTES = "SELECT repeat('x', 1000000) FROM generate_series(1, 100)"
"""More than the kernel keeps for a reader who does not come."""


async def between_two_words(connection: Any) -> None:
    """Have a statement parsed, and say nothing more."""
    await connection.prepare("SELECT 1")


async def amid_an_answer(connection: Any) -> None:
    """Ask for much, and read nothing more."""
    connection._transport.pause_reading()
    asyncio.ensure_future(connection.execute(MANY_BYTES)).add_done_callback(lambda asked: asked.exception())


@asynccontextmanager
async def frozen(store: PostgresStore, stand_still: StandStill) -> AsyncIterator[int]:
    """Have a node lock every lane and stand still in that transaction, for the length of an ``async with``.

    Yields its server process. When it goes on it finds its connection cut.
    """
    stands: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    thaws = asyncio.Event()

    async def work(connection: Any) -> None:
        await connection.fetch("SELECT 1 FROM lane FOR UPDATE")
        await stand_still(connection)
        stands.set_result(connection.get_server_pid())
        await thaws.wait()
        await connection.fetch("SELECT 1")

    freezing = asyncio.ensure_future(store._db.write(work))
    try:
        yield await stands
    finally:
        thaws.set()
        with pytest.raises(Unavailable):
            await freezing


@pytest.mark.parametrize(
    ("stand_still", "wait"), [(between_two_words, "ClientRead"), (amid_an_answer, "ClientWrite")]
)
def test_what_a_buried_node_locks_is_free_with_a_later_beat(
    database: str, clock: StillClock, run: Run, stand_still: StandStill, wait: str
) -> None:
    """Also where it locked it after its burial, so that no beat buries anybody any more; who ended it looks for what it held."""

    async def story() -> None:
        dead = await node(database, clock=clock)
        town = await build_town(dead)
        key = await post(dead, town.app, "Ann")
        heir = await node(database, clock=clock, terms=SOON)
        await heir._db.write(lambda c: c.execute("DELETE FROM node WHERE epoch = $1", dead.epoch))
        await heir.beat()
        assert heir._known.is_dead(dead.epoch)

        async def orphaned_by_a_beat() -> list[str]:
            await heir.beat()
            return orphaned

        watcher = await asyncpg.connect(database)
        orphaned: list[str] = []
        async with frozen(dead, stand_still) as pid:

            async def waits_for() -> str | None:
                found: str | None = await watcher.fetchval(WAITS_FOR, pid)
                return found

            await again(waits_for, lambda it: it == wait, "the server waits without a word")
            assert await heir.adopt_lanes((b"", 0), 9) == []  # it is passed over
            heir.on_orphaned(lambda: orphaned.append("by whom its sessions were ended"))
            await again(orphaned_by_a_beat, bool, "how long it has stood is the server's to say")
            assert await waits_for() is None
            assert [work.key for work in await heir.adopt_lanes((b"", 0), 9)] == [key]
        await watcher.close()

    run(closing(story()))


def test_a_long_transaction_that_goes_on_is_left_alone(database: str, clock: StillClock, run: Run) -> None:
    """However old it is: counted is how long it has stood. One that idles outside any transaction is left alone as well."""

    async def story() -> None:
        store = await node(database, clock=clock, terms=SOON)
        await store.beat()
        idle = await asyncpg.connect(database, server_settings={"application_name": APPLICATION})
        await idle.fetchval("SELECT 1")
        while not await outlives_a_beat(store, database):
            pass  # this machine was too slow to say: it stood for too long, really
        assert await idle.fetchval("SELECT 2") == 2
        await idle.close()

    run(closing(story()))


async def outlives_a_beat(store: PostgresStore, database: str) -> bool:
    """Begin a transaction, go on with it for longer than one may stand, and look whether it outlives a beat.

    False: it had not said anything for so long when the beat was over that it may have been ended.
    """
    going = await asyncpg.connect(database, server_settings={"application_name": APPLICATION})
    watcher = await asyncpg.connect(database)
    try:
        await going.execute("BEGIN")
        began, said = await going.fetchrow("SELECT now(), clock_timestamp()")
        while (said - began).total_seconds() <= SOON.stuck_s:
            said = await going.fetchval("SELECT clock_timestamp()")
        await store.beat()
        if (await watcher.fetchval("SELECT clock_timestamp()") - said).total_seconds() >= SOON.stuck_s:
            return False
        await going.execute("COMMIT")
    finally:
        going.terminate()
        watcher.terminate()
    return True
