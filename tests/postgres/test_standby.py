"""The standby: a commit that was answered is on both, and either of the two can be lost."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest
from tests.postgres.proxy import Proxy
from tests.postgres.server import Server
from tests.postgres.standby import catch_up, dsn_of_all, follow, promote, reroute, standby_of
from tests.postgres.waiting import until

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    """Return a server and its synchronous standby, quick because only their deaths are tested, not the machine's."""
    with Server(fast=True, synchronous_commit=True) as primary, standby_of(primary) as standby:
        yield primary, standby


def test_a_life_with_two_servers(pair: tuple[Server, Server], run: Run) -> None:
    """Commits are on both; without the standby they wait; without the primary nothing is lost and clients find the other.

    One story, because each part needs what the one before it left: followed, lost, promoted, rebuilt, and back again.
    """
    first, second = reversed(pair) if pair[0].is_standby else pair
    database = first.create()

    async def connected(*servers: Server) -> Any:
        return await asyncpg.connect(
            dsn_of_all(servers, database, target_session_attrs="primary"), timeout=20, command_timeout=40
        )

    async def insert(text: str, *servers: Server) -> None:
        connection = await connected(*servers)
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (text text)")
        await connection.execute("INSERT INTO kept VALUES ($1)", text)
        await connection.close()

    async def texts(server: Server) -> list[str]:
        connection = await asyncpg.connect(server.dsn(database))
        rows = await connection.fetch("SELECT text FROM kept ORDER BY text")
        await connection.close()
        return [row["text"] for row in rows]

    async def waits_for_the_standby() -> None:
        connection = await connected(first)
        with second.frozen():
            commit = asyncio.create_task(connection.execute("INSERT INTO kept VALUES ('b')"))
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            await asyncio.to_thread(until, lambda: first.ask(waits), 20, lambda: "nobody waits")
            assert not commit.done()
        await commit
        await connection.close()

    catch_up(
        second, first
    )  # a database that the first address lacks is an error, not a reason to try the next
    run(insert("a", second, first))  # the standby takes no writes, so the second address is used
    run(waits_for_the_standby())
    first.kill()
    promote(second)
    assert run(texts(second)) == ["a", "b"]
    run(insert("c", first, second))  # the first address is dead
    follow(first, second)
    assert first.is_standby
    assert not second.is_standby
    run(insert("d", first, second))
    second.kill()
    promote(first)
    assert run(texts(first)) == ["a", "b", "c", "d"]
    assert first.create() != database
    follow(second, first)
    assert second.is_standby


def test_replication_can_go_through_a_proxy(pair: tuple[Server, Server], run: Run) -> None:
    """A partition between the two servers holds commits back while clients still reach the first."""
    first, second = reversed(pair) if pair[0].is_standby else pair
    with Proxy(first.port) as proxy:
        reroute(second, first, via_port=proxy.port)
        database = first.create()

        async def write() -> None:
            writer = await asyncpg.connect(first.dsn(database))
            reader = await asyncpg.connect(first.dsn(database))
            with proxy.frozen():
                commit = asyncio.create_task(writer.execute("CREATE TABLE kept (it int)"))
                waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                await asyncio.to_thread(until, lambda: first.ask(waits), 20, lambda: "nobody waits")
                assert not commit.done()
                assert await reader.fetchval("SELECT 1") == 1
            await commit
            await writer.close()
            await reader.close()

        run(write())
    reroute(second, first)
