"""What nodes on one database tell one another: changes of configuration, and hints about recipients."""

import asyncio
import random
from collections.abc import Sequence

import asyncpg
import msgspec
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock, add_app, add_user, happen, new_endpoint, send
from tests.store.ledger import build_town
from tests.store.steps import closing, node, somebody_is_held_up
from tests.waiting import again

from homing.lifecycle.dispatch import Read, Recalled
from homing.model import Endpoint, User, dispatch_key
from homing.store.batch import Changed
from homing.store.changes import Change, CreateEndpoint, CreateUser, UpdateApp, UpdateEndpoint
from homing.store.postgres import PostgresStore
from homing.store.postgres.change_log import pack, unpack

pytestmark = needs_postgres


def test_what_one_node_changes_the_others_hear_in_order(database: str, clock: StillClock, run: Run) -> None:
    """By a notification; each ends with what is stored, though both changed the same."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        heard: dict[str, list[str]] = {"a": [], "b": []}
        is_last = asyncio.Event()

        def listen(name: str, store: PostgresStore) -> None:
            def changed(change: Change, value: object) -> None:
                if isinstance(value, Endpoint):
                    heard[name].append(value.url)
                if isinstance(change, UpdateApp) and all(heard.values()):
                    is_last.set()

            store.watch(changed)

        listen("a", a)
        listen("b", b)
        for store in (a, b):
            await store.beat()
        town = await build_town(a)

        async def rename(store: PostgresStore, name: str) -> None:
            for i in range(10):
                url = f"http://127.0.0.1/{name}{i}"
                await store.apply(UpdateEndpoint(town.app, town.endpoint.uid, url, "json", None, "s", None))

        await asyncio.gather(rename(a, "a"), rename(b, "b"))
        app = await a.app(town.app)
        assert app is not None
        await b.apply(UpdateApp(app.id, "new", app.mode, None, app.fallback))
        await is_last.wait()
        for store in (a, b):
            await store.beat()
        stored = await a.endpoint(town.app, town.endpoint.uid)
        assert stored is not None
        assert heard["a"] == heard["b"]
        assert len(heard["a"]) == 21
        assert heard["a"][-1] == stored.url

    run(closing(story()))


def test_a_change_whose_notification_was_lost_is_found_by_the_next_beat(
    database: str, clock: StillClock, run: Run
) -> None:
    """A node that hears nothing compares the registry's version."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        heard: list[Change] = []
        b.watch(lambda change, _value: heard.append(change))
        app = await add_app(a)
        await a.apply(new_endpoint(app.id))
        assert heard == []  # it never listened
        await b.beat()
        assert isinstance(heard[1], CreateEndpoint)
        assert len(heard) == 2

    run(closing(story()))


def test_a_change_is_packed_without_a_password_and_a_newer_kind_is_passed_over() -> None:
    """What other nodes read back is the change and its value; what they do not know they leave."""
    change = CreateUser(1, "Ann", "ann", "a hash", attributes={"age": 7})
    user = User(3, 1, "Ann", None, {"age": 7}, 5)
    assert unpack(*pack(change, user)) == (msgspec.structs.replace(change, password_hash=""), user)
    assert unpack("Sing", b"", b"") is None


def test_a_hint_goes_to_the_node_that_has_the_link(database: str, clock: StillClock, run: Run) -> None:
    """A message stored at one node wakes the node where its recipient is linked, and no other; a read one too."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        hints: asyncio.Queue[list[int]] = asyncio.Queue()
        changed: asyncio.Queue[Changed] = asyncio.Queue()

        def hear(recipients: Sequence[int], changes: Sequence[Changed]) -> None:
            if recipients:
                hints.put_nowait(list(recipients))
            for change in changes:
                changed.put_nowait(change)

        b.on_hint(hear)
        app = await add_app(a)
        ann, bob = await add_user(a, app.id, "Ann"), await add_user(a, app.id, "Bob")
        for store in (a, b):
            await store.beat()
        b.link(ann.id, is_linked=True)
        await until(b, "SELECT count(*) FROM link", 1)
        sent = await send(a, app.id, "Ann", "Bob")
        for position in (1, 0):  # Bob's is nothing to node b
            await happen(a, sent, Read(), position)
        other = await happen(a, await send(a, app.id, "Ann"), Recalled())
        # Two by node a, and one by itself: something may have been stored just before it was linked.
        assert [await hints.get() for _ in range(3)] == [[ann.id]] * 3
        told = [await changed.get(), await changed.get()]
        assert sorted((one.recipient, one.key, one.what) for one in told) == [
            (ann.id, dispatch_key(sent, 0), "read"), (ann.id, other, "gone"),
        ]  # fmt: skip
        await send(a, app.id, "Bob")
        await quiet(a)  # what it has to say of that is said: to nobody
        b.link(ann.id, is_linked=False)
        b.link(bob.id, is_linked=True)
        await until(b, "SELECT count(*) FROM link WHERE recipient <> $1", 1, ann.id)
        await send(a, app.id, "Ann", "Bob")
        assert [await hints.get() for _ in range(2)] == [[bob.id]] * 2
        assert hints.empty()
        assert changed.empty()
        assert (await a.inbox_heads([ann.id, bob.id])) == {ann.id: 3, bob.id: 3}

    run(closing(story()))


def test_whoever_reconnects_is_linked_in_the_end(database: str, clock: StillClock, run: Run) -> None:
    """What was said last of a link counts, though what was said before waits for another transaction meanwhile."""

    async def story() -> None:
        store = await node(database, clock=clock)
        watcher, other = await asyncpg.connect(database), await asyncpg.connect(database)
        store.link(7, is_linked=True)
        await until(store, "SELECT count(*) FROM link", 1)
        for _ in range(10):
            await other.execute("BEGIN")
            await other.execute("SELECT 1 FROM link WHERE recipient = 7 FOR UPDATE")
            store.link(7, is_linked=False)
            await somebody_is_held_up(watcher)
            store.link(7, is_linked=True)
            for _ in range(5):  # whoever could say it now would have
                await store._db.write(lambda c: c.execute("SELECT 1"))
            await other.execute("ROLLBACK")
            await quiet(store)
            assert await watcher.fetchval("SELECT count(*) FROM link") == 1
        for connection in (watcher, other):
            connection.terminate()

    run(closing(story()))


def test_links_of_many_quick_reconnects_are_as_they_were_left(
    database: str, clock: StillClock, run: Run
) -> None:
    """However the words about them fall into transactions."""

    async def story() -> None:
        store = await node(database, clock=clock)
        rng = random.Random(7)
        for _ in range(300):
            recipient = rng.randrange(5)
            store.link(recipient, is_linked=False)
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            store.link(recipient, is_linked=True)
            for _ in range(rng.randrange(20)):
                await asyncio.sleep(0)
        store.link(4, is_linked=False)
        await quiet(store)
        rows = await store._db.fetch("SELECT recipient FROM link ORDER BY recipient")
        assert [row[0] for row in rows] == [0, 1, 2, 3]

    run(closing(story()))


def test_a_link_that_could_not_be_said_is_said_after_a_beat(
    database: str, clock: StillClock, run: Run
) -> None:
    """Words are not lost with a connection; of two about one recipient the newer counts."""

    async def story() -> None:
        store = await node(database, clock=clock)
        await store.beat()
        store.link(1, is_linked=True)
        await quiet(store)
        store._db._hot.terminate()  # nobody gets through
        for recipient, is_linked in ((1, False), (2, True), (3, True)):
            store.link(recipient, is_linked=is_linked)
        await quiet(store)
        store.link(3, is_linked=False)
        store._db._hot = await store._db._pool(1, {})
        await store.beat()
        await quiet(store)
        rows = await store._db.fetch("SELECT recipient FROM link")
        assert [row[0] for row in rows] == [2]

    run(closing(story()))


async def quiet(store: PostgresStore) -> None:
    """Return when a node has said what it had to say."""
    while store._tasks:
        await asyncio.sleep(0)


async def until(store: PostgresStore, sql: str, wanted: int, *values: object) -> None:
    """Return when a question has this answer."""

    async def ask() -> object:
        return (await store._db.fetch(sql, *values))[0][0]

    await again(ask, lambda answer: answer == wanted, "another node's words show in the store")
