"""The proxy: it carries everything unchanged until the very byte at which a test wants it to fail."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from tests.postgres.link import How, Way
from tests.postgres.proxy import COMMIT_ANSWERED, READY, answered
from tests.postgres.through import LOST, Through, insert
from tests.postgres.wire import Counts

Run = Callable[..., Any]
Story = Callable[[Any], Awaitable[None]]

SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)


# -- carrying ---------------------------------------------------------------------------------------------------------


def test_everything_arrives(through: Through, run: Run) -> None:
    """Megabytes pass in both directions, on several connections at once, byte for byte."""

    async def talk(number: int) -> None:
        connection = await asyncpg.connect(through.dsn)
        text = "".join(f"{number}.{line}\n" for line in range(120_000))
        await connection.execute("INSERT INTO kept VALUES ($1, $2)", number, text)
        assert await connection.fetchval("SELECT text FROM kept WHERE it = $1", number) == text
        await connection.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(talk(number) for number in range(3)))

    run(all_of_them())
    assert through.proxy.connections == 3


def test_a_client_that_leaves_is_gone_at_the_server(through: Through, run: Run) -> None:
    """The end of a connection passes like its bytes, in both directions."""

    async def leave() -> None:
        connection = await asyncpg.connect(through.dsn)
        assert through.server.sessions(through.name) == 1
        connection.terminate()
        assert await through.rows() == []
        other = await asyncpg.connect(through.dsn)
        through.server.terminate_backends(through.name)
        with pytest.raises((*LOST, asyncpg.AdminShutdownError)):
            await other.fetchval("SELECT 1")
        await other.close()

    run(leave())


# -- counting ---------------------------------------------------------------------------------------------------------


def test_round_trips_and_statements_are_counted(through: Through, run: Run) -> None:
    """Each way to ask costs what it costs: a prepared statement one round trip, however many rows are in its batch."""

    async def count() -> dict[str, Counts]:
        proxy = through.proxy
        connection = await asyncpg.connect(through.dsn)
        spent = {"login": proxy.counts}

        async def measured(name: str, work: Awaitable[object]) -> None:
            before = proxy.counts
            await work
            spent[name] = proxy.counts - before

        insert = await connection.prepare("INSERT INTO kept SELECT unnest($1::int[])")
        await measured("first", connection.fetch("SELECT $1::int", 1))
        await measured("again", connection.fetch("SELECT $1::int", 2))
        await measured("batch", insert.fetch(list(range(1000))))
        await measured(
            "many", connection.executemany("UPDATE kept SET text = $2 WHERE it = $1", [(1, "a"), (2, "b")])
        )
        await measured("script", connection.execute("BEGIN; SELECT 1; COMMIT"))
        await measured("copy", connection.copy_records_to_table("kept", records=[(-1, "x")]))
        async with connection.transaction():
            await measured("inside", connection.execute("SELECT 1"))
        await connection.close()
        return spent

    spent = run(count())
    assert spent["login"] == Counts()
    shape = {name: (it.round_trips, it.statements, it.parses, it.completed) for name, it in spent.items()}
    assert shape == {
        "login": (0, 0, 0, 0),
        "first": (2, 1, 1, 1),
        "again": (1, 1, 0, 1),
        "batch": (1, 1, 0, 1),
        "many": (2, 2, 1, 2),
        "script": (1, 1, 0, 3),
        "copy": (2, 1, 1, 1),
        "inside": (1, 1, 0, 1),
    }
    assert [it.commits for it in spent.values()] == [0, 0, 0, 0, 0, 1, 0, 0]
    assert spent["batch"].bytes_to_server > 8000
    said = through.proxy.statements
    assert said.count("SELECT $1::int") == 2
    assert said[-3:] == ["BEGIN;", "SELECT 1", "COMMIT;"]


# -- ways to fail -----------------------------------------------------------------------------------------------------


def dialled(through: Through) -> socket.socket:
    """Connect to the proxy and ask for TLS: the server's first answer is one byte, N."""
    client = socket.create_connection(("127.0.0.1", through.proxy.port), timeout=20)
    client.sendall(SSL_REQUEST)
    return client


def test_a_reset_is_a_reset(through: Through) -> None:
    """The client hears at once that the connection is broken."""
    through.proxy.cut_at(Way.TO_CLIENT, 0, how=How.RESET)
    with dialled(through) as client, pytest.raises(ConnectionResetError):
        client.recv(10)


def test_a_close_is_an_end_in_order(through: Through) -> None:
    """The client reads what came before, and then an end."""
    through.proxy.cut_at(Way.TO_CLIENT, 1, how=How.CLOSE)
    with dialled(through) as client:
        assert client.recv(10) == b"N"
        assert client.recv(10) == b""


def test_a_half_close_ends_one_way(through: Through, run: Run) -> None:
    """The client reads an end while what it sends still arrives, so a commit can be made and its answer never be heard."""

    async def cut() -> None:
        trap = through.proxy.cut_when(answered("INSERT"), keep=0, how=How.HALF_CLOSE)
        with pytest.raises(LOST):
            await insert(through, 1)
        await trap.happens()
        assert await through.rows() == []

    run(cut())
    trap = through.proxy.cut_at(Way.TO_SERVER, 8, how=How.HALF_CLOSE)
    with dialled(through) as client:
        trap.wait()
        assert client.recv(10) == b"N"
        assert client.recv(10) == b""


def test_a_frozen_connection_tells_nobody(through: Through, run: Run) -> None:
    """A frozen commit is neither answered nor lost; when it thaws, its answer comes, unharmed, from its middle on."""

    async def freeze() -> None:
        trap = through.proxy.cut_when(COMMIT_ANSWERED, keep=5, how=How.FREEZE)
        commit = asyncio.create_task(insert(through, 1))
        await trap.happens()
        assert (
            through.server.ask(
                "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT;' AND state = 'idle'"
            )
            == 1
        )
        assert not commit.done()
        await insert(through, 2)  # another connection is not concerned
        through.proxy.thaw()
        await commit
        assert await through.rows() == [1, 2]

    run(freeze())


def test_who_is_dismissed_reads_it_between_two_statements(through: Through, run: Run) -> None:
    """The answer before it is whole; to asyncpg the connection still stands, and yet it begins nothing more on it."""

    async def dismiss() -> None:
        connection = await asyncpg.connect(through.dsn)
        through.proxy.cut_when(READY, how=How.DISMISS)
        assert await connection.fetchval("SELECT 7") == 7
        assert not connection.is_closed()
        with pytest.raises(asyncpg.InternalClientError):
            await connection.fetchval("SELECT 8")
        assert connection.is_closed()
        through.proxy.thaw()

    run(dismiss())


def test_everything_can_be_frozen(through: Through, run: Run) -> None:
    """While the proxy is frozen an old connection gets no answer and a new one none either; then both do."""

    async def freeze() -> None:
        connection = await asyncpg.connect(through.dsn)
        with through.proxy.frozen():
            old = asyncio.create_task(connection.fetchval("SELECT 1"))
            new = asyncio.create_task(insert(through, 1))
            done, _ = await asyncio.wait({old, new}, timeout=0.1)
            assert not done
            assert (
                through.server.ask(
                    "SELECT query FROM pg_stat_activity WHERE application_name = $1", through.name
                )
                == ""
            )
        assert await old == 1
        await new
        await connection.close()

    run(freeze())


def test_a_delay_delays(through: Through, run: Run) -> None:
    """Each round trip takes longer by what both its ways are delayed, and not for ever."""

    async def wait() -> None:
        connection = await asyncpg.connect(through.dsn)
        through.proxy.delay(0.05)
        began = time.perf_counter()
        assert await connection.fetchval("SELECT 1") == 1
        assert time.perf_counter() - began >= 0.2  # prepared first: two round trips
        through.proxy.delay(0, Way.TO_CLIENT)
        began = time.perf_counter()
        assert await connection.fetchval("SELECT 1") == 1
        assert time.perf_counter() - began >= 0.05
        await connection.close()

    run(wait())


def test_connections_can_be_refused(through: Through, run: Run) -> None:
    """Refusing, the proxy is as if it were not there, and what is open stays; accepting, it is back on its port."""

    async def refuse() -> None:
        connection = await asyncpg.connect(through.dsn)
        through.proxy.refuse()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncpg.connect(through.dsn)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        through.proxy.accept()
        await insert(through, 1)

    run(refuse())


def test_all_connections_can_be_cut_at_once(through: Through, run: Run) -> None:
    """Every open connection breaks, at the server too, and new ones are taken."""

    async def cut() -> None:
        both = [await asyncpg.connect(through.dsn) for _ in range(2)]
        assert through.proxy.cut() == 2
        for connection in both:
            with pytest.raises(LOST):
                await connection.fetchval("SELECT 1")
            await connection.close()
        await insert(through, 1)
        assert await through.rows() == [1]

    run(cut())


def test_a_server_that_is_away_resets(through: Through, run: Run) -> None:
    """Whom the proxy takes while its server refuses is reset; when the target is another server, the next one is there."""

    async def look() -> None:
        target = through.proxy.target
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            through.proxy.target = nobody.getsockname()[1]
            with pytest.raises(LOST):
                await insert(through, 1)
        through.proxy.target = target
        await insert(through, 2)
        assert await through.rows() == [2]

    run(look())
