"""A standby is promoted under the nodes: one that has everything, and one that had fallen behind (ADR 0010)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import pytest
from tests.postgres.server import Server
from tests.postgres.standby import catch_up, dsn_of_all, promote, standby_of
from tests.postgres.waiting import until
from tests.store.conftest import Run
from tests.store.fakes import StillClock
from tests.store.ledger import Town, add_endpoint, build_town, post, settle, settled
from tests.store.steps import closing, node
from tests.waiting import again

from homing.errors import CommitUnknown, HomingError, Unavailable
from homing.store.postgres import PostgresStore, dial

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A server and its synchronous standby: only their deaths are tested, not the machine's."""
    with Server(fast=True, synchronous_commit=True) as primary, standby_of(primary) as standby:
        yield primary, standby


def address(pair: tuple[Server, Server], database: str) -> str:
    """One database of both, as an operator writes it."""
    return dsn_of_all(pair, database, target_session_attrs="read-write")


async def beaten(store: PostgresStore) -> None:
    """Have a node's heart beat until it has."""

    async def has_beaten() -> bool:
        try:
            await store.beat()
        except HomingError:
            return False
        return True

    await again(has_beaten, bool, "the dialer's pause is real time")


LONG_AGO = "UPDATE node SET alive_until = clock_timestamp() - interval '1 minute'"
"""No renewal of the last minute and a half has arrived."""


async def tell(dsn: str, sql: str) -> None:
    """Have one statement run past every node."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


async def seqs(store: PostgresStore, town: Town) -> list[int]:
    return [item.seq for item in await store.inbox(town.ann, 0, 99)]


def test_a_standby_that_has_everything_takes_over(
    pair: tuple[Server, Server], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit waits for the standby and is not seen before; after the promotion the nodes go on as who they were, and devices too."""
    primary, standby = pair
    database = primary.create()
    catch_up(standby, primary)

    async def story() -> None:
        a, b = [await node(address(pair, database), clock=StillClock()) for _ in range(2)]
        town = await build_town(a)
        key = await post(a, town.app, "Ann")
        monkeypatch.setattr(dial, "ANSWER_S", 0.3)
        with standby.frozen():
            with pytest.raises(CommitUnknown):
                await post(a, town.app, "Ann")
            assert await seqs(b, town) == [1]
            with pytest.raises(Unavailable):
                await a.held_lanes((b"", 0), 9)  # whether it is stored, nobody can say yet
        monkeypatch.setattr(dial, "ANSWER_S", 10.0)
        why = "the commit that was given up goes on by itself"
        await again(lambda: seqs(b, town), lambda it: it == [1, 2], why)
        assert len(await a.held_lanes((b"", 0), 9)) == 2
        before = [(store.epoch, store.store_id) for store in (a, b)]
        lost: list[str] = []
        for store in (a, b):
            store.on_lost(lambda: lost.append("lost"))
            store.on_rewound(lambda: lost.append("rewound"))
        primary.kill()
        with pytest.raises(Unavailable):
            await post(a, town.app, "Ann")
        promote(standby)
        for store in (a, b):
            await beaten(store)
        assert ([(store.epoch, store.store_id) for store in (a, b)], lost) == (before, [])
        await post(b, town.app, "Ann")
        await settle(a, settled(key, town.endpoint.id, 1))
        assert await seqs(a, town) == [1, 2, 3]
        c = await node(address(pair, database), clock=StillClock())
        assert c.store_id == a.store_id  # those that remember have vouched for it

    run(closing(story()))


@pytest.mark.parametrize("is_named", [False, True])
def test_a_standby_that_fell_behind_is_another_store(
    pair: tuple[Server, Server], run: Run, *, is_named: bool
) -> None:
    """Who remembers more than it has begins anew, and so does who only hears of it; numbers of epochs are not drawn again.

    Also where each node has a name of its own: it is nobody's heir but its predecessor's.
    """
    primary, standby = pair
    database = primary.create()
    primary.configure(synchronous_standby_names="")

    async def one(name: str) -> PostgresStore:
        return await node(address(pair, database), clock=StillClock(), name=name if is_named else None)

    async def story() -> None:
        a, b = await one("a"), await one("b")
        town = await build_town(a)
        kept = await post(a, town.app, "Ann")
        for store in (a, b):
            await store.beat()
        await asyncio.to_thread(catch_up, standby, primary)
        standby.configure(primary_conninfo="")  # it hears no more
        gone = "SELECT count(*) FROM pg_stat_replication"
        await asyncio.to_thread(until, lambda: not primary.ask(gone), 20, lambda: "it still follows")
        lost_key = await post(a, town.app, "Ann")
        c = await one("c")
        for store in (a, b, c):
            await store.beat()
        newest = c.epoch
        heard: list[tuple[str, str]] = []
        for name, store in (("a", a), ("b", b), ("c", c)):
            store.on_lost(lambda name=name: heard.append((name, "lost")))  # type: ignore[misc]
            store.on_rewound(lambda name=name: heard.append((name, "rewound")))  # type: ignore[misc]
        before = a.store_id
        primary.kill()
        promote(standby)
        await tell(standby.dsn(database), LONG_AGO)  # as if it had fallen behind for more than a term
        with pytest.raises(Unavailable):
            await post(a, town.app, "Ann")
        for store in (a, b, c, a, b, c):
            await beaten(store)
        assert heard.count(("a", "rewound")) == 1
        assert {("a", "lost"), ("b", "rewound"), ("c", "lost"), ("c", "rewound")} <= set(heard)
        assert before != a.store_id == b.store_id == c.store_id
        assert len({a.epoch, b.epoch, c.epoch}) == 3
        assert min(a.epoch, c.epoch) > newest
        assert await seqs(a, town) == [1]
        assert await a.message(lost_key[:16]) is None
        again = await post(a, town.app, "Ann")
        assert await seqs(b, town) == [1, 2]  # the number of what was lost
        # What the former epoch held is nobody's until its term has run out there.
        assert [work.key for work in await a.held_lanes((b"", 0), 9)] == [again]
        assert await a.adopt_lanes((b"", 0), 9) == []
        await a._db.write(lambda c: c.execute("UPDATE node SET alive_until = clock_timestamp()"))
        for store in (b, a):
            await store.beat()
        assert kept in [work.key for work in await b.adopt_lanes((b"", 0), 9)]
        await settle(b, settled(kept, town.endpoint.id, 1))
        await add_endpoint(b, town.app)
        d = await node(address(pair, database), clock=StillClock())
        assert d.store_id == a.store_id

    run(closing(story()))


def test_who_has_just_started_cannot_vouch_for_a_promoted_server(
    pair: tuple[Server, Server], run: Run
) -> None:
    """Nobody is left who remembers: the store has another name from now on, once."""
    primary, standby = pair
    database = primary.create()
    catch_up(standby, primary)

    async def story() -> None:
        first = await node(address(pair, database), clock=StillClock())
        before = first.store_id
        await first.close()
        primary.kill()
        promote(standby)
        second = await node(address(pair, database), clock=StillClock())
        third = await node(address(pair, database), clock=StillClock())
        assert before != second.store_id == third.store_id

    run(closing(story()))


async def another_takes_over(store: PostgresStore, dsn: str, forgets: str) -> dial.Server:
    """Have the server be another one to a node than the one it used, and lack what one statement takes; return who it is."""
    await tell(dsn, forgets)
    dialer = store._db.dialer
    assert dialer.server is not None
    there, dialer.server = dialer.server, dialer.server._replace(started_at="before")
    return there


@pytest.mark.parametrize("name", ["registry", "epoch", "commits:"])
def test_nothing_passes_to_a_server_that_has_forgotten_before_the_node_has_begun_anew(
    postgres: Server, fresh_database: str, run: Run, name: str
) -> None:
    """No read, change or release, however often it is tried; the server after that one is examined as well."""
    dsn = postgres.dsn(fresh_database)
    forgets = f"UPDATE meta SET number = number - 1 WHERE name ^@ '{name}'"

    async def refused(store: PostgresStore, town: Town, key: bytes) -> None:
        uses: list[Callable[[], Awaitable[object]]] = [
            lambda: seqs(store, town),
            lambda: add_endpoint(store, town.app),
            lambda: store.release([(key, town.endpoint.id)]),
            lambda: store.held_lanes((b"", 0), 9),
            lambda: post(store, town.app, "Ann"),
            store.catch_up,
        ]
        for use in (*uses, *uses):
            store._db.dialer._again_at_s = 0.0  # also when the dialer would try again
            with pytest.raises(Unavailable):
                await use()
        store._db.dialer._again_at_s = float("inf")  # others who fail keep nobody from beginning anew

    async def story() -> None:
        store = await node(dsn, clock=StillClock())
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        for taken in range(2):
            before = store.epoch
            if taken:
                await post(store, town.app, "Ann")
            there = await another_takes_over(store, dsn, forgets)
            await refused(store, town, key)
            assert store._db.dialer.server != there
            await store.beat()
            assert store._db.dialer.server == there
            assert store.epoch > before
            assert len(await seqs(store, town)) == taken + 1
            assert await store.held_lanes((b"", 0), 9) == []
            assert (
                await store.adopt_lanes((b"", 0), 9) == []
            )  # what was held is the former epoch's, and was not released

    run(closing(story()))


def test_an_epoch_that_was_drawn_again_is_not_renewed_by_its_first_owner(
    postgres: Server, fresh_database: str, run: Run
) -> None:
    """A node whose registration was lost finds another's row under its number, and begins anew."""

    async def story() -> None:
        store = await node(postgres.dsn(fresh_database), clock=StillClock())
        before = store.epoch
        await tell(
            postgres.dsn(fresh_database), "UPDATE node SET started_at = started_at + interval '1 second'"
        )
        await store.beat()
        assert store.epoch > before

    run(closing(story()))


def falls_behind(store: PostgresStore) -> None:
    """Have a node find the server promoted that it used."""
    dialer = store._db.dialer
    assert dialer.server is not None
    dialer.server = dialer.server._replace(started_at="before", timeline=0)
    if store._ear is not None:
        store._ear.terminate()


@pytest.mark.parametrize("first", ["who misses nothing", "who has just started", "who has lost a commit"])
def test_nobody_is_buried_by_what_a_copy_that_was_behind_knows_of_terms(
    postgres: Server, fresh_database: str, run: Run, first: str
) -> None:
    """Its renewals are older than the last ones, so a try may be under way: whoever comes there first lets all live for a term."""
    dsn = postgres.dsn(fresh_database)

    async def story() -> None:
        a, b = [await node(dsn, clock=StillClock()) for _ in range(2)]
        town = await build_town(a)
        key = await post(a, town.app, "Ann")
        for store in (a, b):
            await store.beat()
        before = a.epoch, b.epoch
        await tell(dsn, "UPDATE meta SET number = number - 1 WHERE name ^@ 'commits:' OR name = 'timeline'")
        await tell(dsn, LONG_AGO)
        for store in (a, b):
            falls_behind(store)
        if first != "who misses nothing":
            await beaten(a if first == "who has lost a commit" else await node(dsn, clock=StillClock()))
        await beaten(b)
        assert before[0] in b._known.live
        assert b.epoch == before[1]
        assert await b.adopt_lanes((b"", 0), 9) == []
        await beaten(a)
        await beaten(b)
        assert a.epoch > before[0]
        assert before[0] in b._known.live
        await b._db.write(lambda c: c.execute(f"{LONG_AGO} WHERE epoch = $1", before[0]))
        await beaten(b)
        assert [work.key for work in await b.adopt_lanes((b"", 0), 9)] == [key]

    run(closing(story()))


def test_a_promoted_server_lets_all_live_for_a_term_once(
    postgres: Server, fresh_database: str, run: Run
) -> None:
    """The first node to use it does; by the others' coming nobody lives longer."""
    dsn = postgres.dsn(fresh_database)

    async def story() -> None:
        a, b, dead = [await node(dsn, clock=StillClock()) for _ in range(3)]
        await tell(dsn, "UPDATE meta SET number = 0 WHERE name = 'timeline'")
        for store in (a, b):
            await store.beat()
            falls_behind(store)
        await beaten(a)
        await tell(dsn, f"{LONG_AGO} WHERE epoch = {dead.epoch}")
        await beaten(b)
        assert dead.epoch not in b._known.live

    run(closing(story()))
