"""A server ends a session between two statements: asyncpg reads its last word before the connection's end, and begins no more.

That is an error of asyncpg's own (`InternalClientError`), and to whoever asked the store no other than a lost connection.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.postgres.link import How, Moment
from tests.postgres.proxy import READY, Proxy, asked
from tests.postgres.server import Server
from tests.store.conftest import Run
from tests.store.fakes import StillClock
from tests.store.steps import closing, node

from homing.errors import CommitUnknown, Unavailable
from homing.store.postgres import SCHEMA, PostgresStore, onlooker
from homing.store.postgres.beside import beside
from homing.store.postgres.database import Database


class Site:
    """A database behind a proxy, with and without a node's tables."""

    def __init__(self, proxy: Proxy, dsn: str) -> None:
        self.proxy = proxy
        self.dsn = dsn

    def dismiss(self) -> None:
        """Have the next answer be the last: what comes after it in one session fails."""
        self.proxy.cut_when(READY, how=How.DISMISS)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Database]:
        """A node's way to it, with one connection of each kind."""
        database = Database(self.dsn, StillClock(), writers=1, readers=1)
        await database.open()
        try:
            yield database
        finally:
            await database.close()


@pytest.fixture
def site(postgres: Server, fresh_database: str) -> Iterator[Site]:
    """Return an empty database behind a proxy."""
    with Proxy(postgres.port) as proxy:
        yield Site(proxy, postgres.dsn(fresh_database, port=proxy.port))


async def still(store: PostgresStore) -> None:
    """Let end what a beat had done beside it, which would spring a trap that is meant for the next one."""
    while store._tasks:
        await asyncio.gather(*store._tasks)


def test_a_heart_whose_session_is_ended_between_two_statements_of_a_beat_beats_on(
    site: Site, run: Run
) -> None:
    """It says that its term could not be renewed, and renews it with the next beat."""

    async def story() -> None:
        store = await node(site.dsn, clock=StillClock())
        await store.beat()
        await still(store)
        epoch, before_s = store.epoch, store._renewed_at_s
        site.dismiss()
        with pytest.raises(Unavailable, match="the term could not be renewed") as caught:
            await store.beat()
        assert isinstance(caught.value.__cause__, asyncpg.InternalClientError)
        await store.beat()
        assert store.epoch == epoch
        assert store._renewed_at_s > before_s

    run(closing(story()))


@pytest.mark.parametrize(
    ("moment", "how"), [(READY, How.DISMISS), (asked("LISTEN"), How.RESET)], ids=["dismissed", "reset"]
)
def test_a_heart_that_is_cut_off_as_it_begins_to_listen_beats_on(
    site: Site, run: Run, moment: Moment, how: How
) -> None:
    """No error of the library's leaves a beat; the next one listens, and renews the term."""

    async def story() -> None:
        store = await node(site.dsn, clock=StillClock())
        # Of a new connection each answer is a step: the hello, who it is, each channel.
        for skip in range(4):
            await still(store)
            before_s = store._renewed_at_s
            trap = site.proxy.cut_when(moment, how=how, skip=skip, keep=0 if how is How.RESET else None)
            with pytest.raises(Unavailable):
                await store.beat()
            await trap.happens()
            store._db.dialer._again_at_s = 0.0  # its pause is real time
            await store.beat()
            assert store._renewed_at_s > before_s
            assert store._ear is not None
            store._ear.terminate()

    run(closing(story()))


Ask = Callable[[Database, Callable[[Any], Awaitable[object]]], Awaitable[object]]
WAYS: dict[str, Ask] = {
    "write": lambda db, work: db.write(work),
    "look": lambda db, work: db.look(work),
    "look up": lambda db, work: db.look_up(work),
    "alone": lambda db, work: db.alone(work),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_session_that_is_ended_amid_some_work_is_unavailable(site: Site, run: Run, way: str) -> None:
    """However it was asked; the next one asks another session."""

    async def work(connection: Any) -> int:
        site.dismiss()
        await connection.fetchval("SELECT 1")
        return int(await connection.fetchval("SELECT 2"))

    async def story() -> None:
        async with site.opened() as database:
            with pytest.raises(Unavailable):
                await WAYS[way](database, work)
            assert await WAYS[way](database, lambda c: c.fetchval("SELECT 3")) == 3

    run(story())


def test_a_session_that_was_ended_in_its_pool_is_unavailable(site: Site, run: Run) -> None:
    """Also to one question outside any transaction; the next one asks another session."""

    async def story() -> None:
        async with site.opened() as database:
            site.dismiss()
            assert [row[0] for row in await database.fetch("SELECT 1")] == [1]
            with pytest.raises(Unavailable):
                await database.fetch("SELECT 2")
            assert [row[0] for row in await database.fetch("SELECT 3")] == [3]

    run(story())


def test_a_session_that_is_ended_before_its_commit_leaves_it_unknown(site: Site, run: Run) -> None:
    """A COMMIT that asyncpg did not even send is told as one without an answer: more is not known of it."""

    async def work(connection: Any) -> None:
        site.dismiss()
        await connection.execute("SELECT 1")

    async def story() -> None:
        async with site.opened() as database:
            with pytest.raises(CommitUnknown):
                await database.write(work)

    run(story())


def test_a_session_that_is_ended_before_its_rollback_hides_no_error(site: Site, run: Run) -> None:
    """What was wrong with the work is what its caller hears."""

    async def work(connection: Any) -> None:
        site.dismiss()
        await connection.execute("SELECT 1")
        raise LookupError("the work's own")

    async def story() -> None:
        async with site.opened() as database:
            with pytest.raises(LookupError, match="the work's own"):
                await database.write(work)

    run(story())


def test_a_session_beside_a_nodes_that_is_ended_is_unavailable(site: Site, run: Run) -> None:
    """To verbs that copy and restore."""

    async def story() -> None:
        with pytest.raises(Unavailable, match="the database cannot be used"):
            async with beside(site.dsn) as connection:
                site.dismiss()
                await connection.fetchval("SELECT 1")
                await connection.fetchval("SELECT 2")

    run(story())


def test_a_check_whose_session_is_ended_says_so(site: Site, postgres: Server, run: Run) -> None:
    """And not that there is no server which takes writes, which it says of an address where there is none."""

    async def story() -> None:
        site.dismiss()
        with pytest.raises(Unavailable) as caught:
            await onlooker.see(site.dsn, SCHEMA, 9)
        assert isinstance(caught.value.__cause__, asyncpg.InternalClientError)
        assert "takes writes" not in str(caught.value)
        async with beside(site.dsn) as connection:
            name = await connection.fetchval("SELECT current_database()")
        postgres.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        here = f"127.0.0.1:{site.proxy.port}"
        with pytest.raises(Unavailable, match="none of its servers takes writes"):
            await onlooker.see(site.dsn.replace(here, f"{here},127.0.0.1:{postgres.port}"), SCHEMA, 9)

    run(story())
