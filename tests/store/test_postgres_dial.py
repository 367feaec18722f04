"""Finding the server that takes writes: several addresses, some dead, some silent; and never waiting for ever."""

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.postgres.address import dsn, free_port
from tests.postgres.link import How
from tests.postgres.proxy import COMMIT_ASKED, Proxy, asked
from tests.postgres.server import Server
from tests.store.conftest import Run
from tests.store.fakes import StillClock

from homing.errors import CommitUnknown, ConfigError, Unavailable
from homing.store.postgres import dial
from homing.store.postgres.beside import beside
from homing.store.postgres.database import Database
from homing.store.postgres.dial import Dialer, Place, places_of

ONE = "SELECT 1"


@contextmanager
def silent() -> Iterator[int]:
    """A port whose connections are taken by the kernel, and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Database]:
    """A database that is connected to, with one connection of each kind."""
    it = Database(address, StillClock(), writers=1, readers=1)
    await it.open()
    try:
        yield it
    finally:
        await it.close()


def several(postgres: Server, database: str, *ports: int) -> str:
    """The address of one database at several ports."""
    return dsn(ports, "homing", postgres.password, database, target_session_attrs="read-write")


@pytest.mark.parametrize(
    ("address", "places"),
    [
        ("postgresql://u:p@a,b/db?target_session_attrs=read-write", [Place("a", 5432), Place("b", 5432)]),
        ("postgresql://u@a:1,[::1]:2,[fe80::1]/db", [Place("a", 1), Place("::1", 2), Place("fe80::1", 5432)]),
        ("postgres://%2Frun%2Fpg,10.0.0.1:7/db", [Place("/run/pg", 5432), Place("10.0.0.1", 7)]),
        ("postgresql:///db?host=a,b&port=1,2", [Place("a", 1), Place("b", 2)]),
        ("postgresql:///db?host=a,b&port=9", [Place("a", 9), Place("b", 9)]),
        ("postgresql://a,a/db?target_session_attrs=primary", [Place("a", 5432)]),
        ("postgresql:///db", [Place("", None)]),
    ],
)
def test_an_address_may_name_several_servers(address: str, places: list[Place]) -> None:
    """Spelled as libpq spells them; each is tried once."""
    assert places_of(address) == places


@pytest.mark.parametrize(
    "address",
    ["postgresql://a/db?target_session_attrs=standby", "postgresql://a:b/db", "postgresql://a,b:x/"],
)
def test_an_address_that_cannot_work_is_refused(address: str) -> None:
    """A node needs a server that takes writes, at a port."""
    with pytest.raises(ConfigError, match=r"store\.url"):
        places_of(address)


PRINTABLE = st.characters(min_codepoint=0x20, exclude_categories=("C", "Zl", "Zp"))


@given(st.text(PRINTABLE, max_size=6), st.text(PRINTABLE, max_size=6))
@example("", "#x")
@example("", "/")
@example("", "?x")
@example("p@", "")
@example("[", "")
@example("[", "]")
@example("\uff23\uff0f", "")
@example("1/", "@2")
def test_no_piece_of_a_password_is_told_of_an_address(left: str, right: str) -> None:
    """Spelled as %XX any password does; as it is, it may be refused, in words and a trace without it."""
    password = f"{left}s3cr3t{right}"
    assert places_of(f"postgresql://homing:{quote(password, safe='')}@db/homing") == [Place("db", 5432)]
    try:
        found = places_of(f"postgresql://homing:{password}@db/homing")
    except ConfigError as error:
        assert "s3cr3t" not in "".join(traceback.format_exception(error))
    else:
        assert found == [Place("db", 5432)]


@pytest.mark.parametrize("more", ["?password=a&s3cr3t", "?s3cr3t"])
def test_what_the_library_says_of_an_address_is_not_told(more: str, run: Run) -> None:
    """It would quote what it cannot read; both kinds of connections refuse it in words of ours."""

    async def story() -> None:
        address = f"postgresql://homing@127.0.0.1:{free_port()}/x{more}"
        with pytest.raises(ConfigError) as caught:
            await Dialer(address).connect({})
        assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))
        with pytest.raises(ConfigError) as caught:
            async with beside(address):
                pass
        assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))

    run(story())


def test_a_dead_and_a_silent_server_are_passed_over(
    postgres: Server, fresh_database: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that answers is used, and is the first to be tried from then on."""
    monkeypatch.setattr(dial, "_HEAD_START_S", 0.05)

    async def story() -> None:
        with silent() as hole, Proxy(postgres.port) as proxy:
            address = several(postgres, fresh_database, free_port(), hole, proxy.port)
            async with opened(address) as database:
                assert [row[0] for row in await database.fetch(ONE)] == [1]
                assert await database.write(lambda c: c.fetchval(ONE)) == 1
                assert database.dialer._places[0].port == proxy.port

    run(story())


def test_where_no_server_answers_each_is_named_and_nobody_dials_for_a_moment(
    postgres: Server, fresh_database: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks meanwhile is refused at once; when a server is back the next dial finds it."""
    monkeypatch.setattr(dial, "_FIRST_PAUSE_S", 60.0)

    async def story() -> None:
        dead = free_port()
        with Proxy(postgres.port) as proxy:
            proxy.freeze()
            dialer = Dialer(several(postgres, fresh_database, dead, proxy.port))
            said = rf"127.0.0.1:{dead}: .*refused.*:{proxy.port}: no answer"
            with monkeypatch.context() as impatient, pytest.raises(Unavailable, match=said):
                impatient.setattr(dial, "DIAL_S", 0.5)
                await dialer.connect({})
            proxy.thaw()
            taken = proxy.connections
            with pytest.raises(Unavailable, match=said):
                await dialer.connect({})
            assert proxy.connections == taken
            assert 0 < dialer._again_at_s - asyncio.get_running_loop().time() <= 60.0
            dialer._again_at_s -= 60.0
            connection = await dialer.connect({})
            assert await connection.fetchval(ONE) == 1
            connection.terminate()
            assert (dialer._pauses, dialer._again_at_s) == (0, 0.0)

    run(story())


def test_a_server_that_falls_silent_is_noticed(
    postgres: Server, fresh_database: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its machine dies and no reset comes: amid a statement nothing is stored, at COMMIT nobody knows; then it is well."""
    monkeypatch.setattr(dial, "ANSWER_S", 0.3)

    async def story() -> None:
        with Proxy(postgres.port) as proxy:
            async with opened(several(postgres, fresh_database, proxy.port)) as database:
                await database.write(lambda c: c.execute("CREATE TABLE kept (it int)"))

                async def keep(it: int) -> None:
                    await database.write(lambda c: c.execute(f"INSERT INTO kept VALUES ({it})"))

                proxy.cut_when(asked("INSERT"), keep=0, how=How.FREEZE)
                with pytest.raises(Unavailable) as told:
                    await keep(1)
                assert not isinstance(told.value, CommitUnknown)
                await keep(2)
                proxy.cut_when(COMMIT_ASKED, keep=0, how=How.FREEZE)
                with pytest.raises(CommitUnknown):
                    await keep(3)
                proxy.cut_when(asked("SELECT 7"), keep=0, how=How.FREEZE)
                with pytest.raises(Unavailable):
                    await database.fetch("SELECT 7")
                proxy.cut_when(asked("SELECT 8"), keep=0, how=How.FREEZE)
                with pytest.raises(Unavailable):
                    await database.look(lambda c: c.fetchval("SELECT 8"))
                await keep(4)
                assert [row[0] for row in await database.fetch("SELECT it FROM kept ORDER BY it")] == [2, 4]

    run(story())


def test_a_former_primary_is_not_used_again(postgres: Server, fresh_database: str, run: Run) -> None:
    """Who has been at a later timeline knows that what an earlier one says was overtaken."""

    async def story() -> None:
        async with opened(several(postgres, fresh_database, postgres.port)) as database:
            server = database.dialer.server
            assert server is not None
            assert server.timeline == 1
            database.dialer.server = server._replace(timeline=2)
            with pytest.raises(Unavailable, match="a former primary: its timeline is 1, the store's 2"):
                await database.fetch(ONE)

    run(story())
