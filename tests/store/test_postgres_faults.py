"""What breaks between a node and PostgreSQL: connections cut at COMMIT, backends ended, partitions in the way (TC, TH)."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import NOON_MS, StillClock, add_user, message_id
from tests.store.ledger import build_town, post, settle, settled, told
from tests.store.steps import closing, commit, interleavings, node, play
from tests.waiting import again

from homing.errors import CommitUnknown, NotAcceptable, Unavailable
from homing.lifecycle.dispatch import Read, Received
from homing.model import Body, dispatch_key
from homing.store.batch import Accept, Accepted, Addressee, Batch, Idempotency, Occurrence, Settle, Verdict
from homing.store.postgres import archive, archive_feed
from homing.store.postgres.standing import forgotten
from homing.store.views import FeedPage, MessageQuery

pytestmark = needs_postgres
UNHEARD = "a commit whose answer was lost goes on by itself"


class Wire:
    """A TCP proxy before PostgreSQL that cuts the connection on which COMMIT is said, before or after it is done."""

    def __init__(self) -> None:
        self.cut: str | None = None
        self.cuts = 0

    @asynccontextmanager
    async def to(self, address: str) -> AsyncIterator[str]:
        parts = urlsplit(address)

        async def serve(near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
            far, ask = await asyncio.open_connection(parts.hostname, parts.port)
            is_cut = asyncio.Event()

            async def back() -> None:
                while data := await far.read(65536):
                    if is_cut.is_set():
                        break  # done there, and nobody is told
                    answer.write(data)
                answer.close()

            backwards = asyncio.ensure_future(back())
            while data := await near.read(65536):
                if self.cut is not None and b"COMMIT" in data:
                    self.cuts += 1
                    if self.cut == "before":
                        break
                    is_cut.set()
                ask.write(data)
            ask.close()
            answer.close()
            await backwards

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            who = parts.netloc.rpartition("@")[0]
            yield urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{port}"))
        finally:
            server.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_connection_cut_at_commit_leaves_nothing_undone(
    database: str, clock: StillClock, run: Run, cut: str
) -> None:
    """The outcome is unknown, and is said to be; what was stored is found among what this node holds, what was not is
    stored by repeating it, and the idempotency key gives the one answer either way (TC).
    """

    async def story() -> None:
        wire = Wire()
        async with wire.to(database) as address:
            store = await node(address, clock=clock)
            town = await build_town(store)
            message = message_id(NOON_MS)
            accept = Accept(
                message, town.app, None, Body("hello"), (Addressee("Ann", "ann"),),
                idempotency=Idempotency("s", "k", b"digest"), render=lambda accepted: bytes(accepted.message_id),
            )  # fmt: skip
            wire.cut = cut
            with pytest.raises(CommitUnknown):
                await store.commit(Batch(accepts=[accept]))
            assert wire.cuts == 1
            wire.cut = None
            if cut == "after":
                held = await again(lambda: store.held_lanes((b"", 0), 9), bool, UNHEARD)
                assert [work.key for work in held] == [dispatch_key(message, 0)]
            (repeated,) = (await store.commit(Batch(accepts=[accept]))).accepts
            assert isinstance(repeated, Accepted)
            assert (repeated.answer, repeated.replayed) == (bytes(message), cut == "after")
            (work,) = await store.held_lanes((b"", 0), 9)
            await settle(store, settled(work.key, work.endpoint, 1))
            assert await store.held_lanes((b"", 0), 9) == []
            assert [item.seq for item in await store.inbox(town.ann, 0, 9)] == [1]
            await store.close()

    run(closing(story()))


def test_a_copy_that_lacks_what_came_after_an_unknown_commit_has_forgotten_it(
    database: str, clock: StillClock, run: Run
) -> None:
    """Each try to commit has a number of its own: one that was stored unheard does not stand for the one after it."""

    async def story() -> None:
        wire = Wire()
        async with wire.to(database) as address:
            store = await node(address, clock=clock)
            town = await build_town(store)
            await post(store, town.app, "Ann")
            last = "SELECT number FROM meta WHERE name = 'commits:' || $1::bigint"

            async def number() -> int:
                return int((await store._db.fetch(last, store.epoch))[0][0])

            before = await number()
            wire.cut = "after"
            with pytest.raises(CommitUnknown):
                await post(store, town.app, "Ann")
            wire.cut = None
            unheard = await again(number, lambda it: it != before, UNHEARD)
            await post(store, town.app, "Ann")
            memory = store._memory()
            assert memory is not None
            copy = await asyncpg.connect(database)
            assert await forgotten(copy, memory) is None
            await copy.execute(
                "UPDATE meta SET number = $1 WHERE name = $2", unheard, f"commits:{store.epoch}"
            )
            assert await forgotten(copy, memory) is not None
            await copy.close()
            await store.close()

    run(closing(story()))


def test_backends_that_are_ended_are_replaced(database: str, clock: StillClock, run: Run) -> None:
    """A server that ends every connection stores nothing by it; the next batch finds it again."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        watcher = await asyncpg.connect(database)
        await watcher.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await watcher.close()
        failed = 0
        for _ in range(20):
            try:
                await post(store, town.app, "Ann")
                break
            except Unavailable as error:
                assert not isinstance(error, CommitUnknown)
                failed += 1
        assert failed < 20
        assert [item.seq for item in await store.inbox(town.ann, 0, 9)] == [1]
        await store.beat()

    run(closing(story()))


def test_a_batch_waits_for_a_deadlock_and_is_repeated(database: str, clock: StillClock, run: Run) -> None:
    """Two nodes that lock the same lanes and recipients at once, over and over, both get everything stored."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(a)
        for name in ("Bob", "Cid"):
            await add_user(a, town.app, name)
        names = ("Ann", "Bob", "Cid")
        keys = [await post(a, town.app, *names) for _ in range(8)]
        places = [dispatch_key(key[:16], p) for key in keys for p in range(3)]

        async def live(store: Any, backwards: bool) -> None:
            order = places[::-1] if backwards else places
            to = tuple(Addressee(n, n.casefold()) for n in (names[::-1] if backwards else names))
            for what in (Received(), Read()):
                accept = Accept(message_id(clock.ms), town.app, None, Body("x"), to)
                await store.commit(
                    Batch(
                        settles=[settled(key, town.endpoint.id, 1) for key in order],
                        accepts=[accept],
                        occurrences=[Occurrence(key, what) for key in order],
                    )
                )

        await asyncio.gather(*(live(store, backwards) for store in (a, b) for backwards in (True, False)))
        for key in places:
            callback = (await told(a, key))[town.endpoint.uid]
            assert callback.settled | callback.pending == 0b111
            assert callback.settled & callback.pending == 0
        seqs = [item.seq for item in await a.inbox(town.ann, 0, 99)]
        assert seqs == list(range(1, len(keys) + 9))

    run(closing(story()))


async def follow_two_commits(database: str) -> list[str]:
    """Follow the feed while two nodes record an event each, in every order; return those in which one was missed."""
    a, b = await node(database), await node(database)
    town = await build_town(a)
    wrong: list[str] = []
    for order in interleavings(2, 2):
        seen: list[bytes] = []
        place = await a.feed_head()

        async def look() -> None:
            nonlocal place
            page: FeedPage = await b.feed(None, place, 99, incoming=True)
            place = page.last
            seen.extend(item.key for item in page.items)  # noqa: B023 - called within this round

        accepts = [
            Accept(message_id(a.now_ms()), town.app, None, Body("hello"), (Addressee(name, name),))
            for name in ("nobody", "somebody")
        ]
        works = [commit(s, Batch(accepts=[one])) for s, one in zip((a, b), accepts, strict=True)]
        await play(database, order, works, lambda sql: sql == "COMMIT" or "INTO event" in sql, look)
        for _ in range(200):  # both are committed; each is seen by the next look
            if len(seen) < 2:
                await look()
        if sorted(seen) != sorted(dispatch_key(one.message_id, 0) for one in accepts):
            wrong.append(order)
    return wrong


def test_a_feed_ends_before_a_transaction_that_still_runs(database: str, run: Run) -> None:
    """What commits late does not slip behind whoever follows: in every order each event is seen, and once."""

    async def story() -> None:
        assert await follow_two_commits(database) == []

    run(closing(story()))


def test_a_feed_that_heeds_no_transaction_is_caught(
    database: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same orders show the planted bug: a feed up to now misses what commits late."""
    monkeypatch.setattr(archive, "line", lambda until_ms, _running_ms: archive_feed.line(until_ms, None))

    async def story() -> None:
        assert await follow_two_commits(database)

    run(closing(story()))


def test_a_feed_ends_some_seconds_before_now(database: str, clock: StillClock, run: Run) -> None:
    """An event is in it when it is that old; where to begin for an instant is found without looking."""

    async def story() -> None:
        store = await node(database, clock=clock, feed_lag_ms=5_000)
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        assert (await store.feed(None, 0, 9, incoming=True)).items == ()
        clock.ms += 4_999
        assert (await store.feed(None, 0, 9, incoming=True)).items == ()
        clock.ms += 1
        (item,) = (await store.feed(None, await store.feed_since(NOON_MS), 9, incoming=True)).items
        assert item.key == key
        assert await store.feed_head() == item.position
        assert (await store.feed(None, await store.feed_since(NOON_MS + 1), 9, incoming=True)).items == ()

    run(closing(story()))


def test_a_text_with_nul_is_the_fault_of_who_sent_it(database: str, clock: StillClock, run: Run) -> None:
    """PostgreSQL keeps no U+0000: what has one is refused, is not found, and harms nothing else."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        with pytest.raises(NotAcceptable):
            await add_user(store, town.app, "a\0b")
        with pytest.raises(NotAcceptable):
            await post(store, town.app, "Ann", ref="a\0b")
        assert await store.user(town.app, "a\0b") is None
        assert await store.messages(MessageQuery(ref="a\0b")) == []
        assert await store.messages(MessageQuery(recipient_folded="a\0b")) == []
        await post(store, town.app, "Ann")
        assert len(await store.messages(MessageQuery(recipient_folded="ann"))) == 1

    run(closing(story()))


class Tally:
    """Counts what a transaction asks, by the table each part of a statement is about, and how often it waits for an answer."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.statements: Counter[str] = Counter()

    def _count(self, sql: str) -> None:
        self.statements["round trips"] += 1
        joined = sql.removeprefix("WITH part_1 AS (\n")
        for part in re.split(r"\n\)(?:,\npart_\d+ AS \()?\n", joined) if joined != sql else [sql]:
            self._count_part(part)

    def _count_part(self, sql: str) -> None:
        words = sql.replace("(", " ").split()
        verb = next(word for word in words if word in {"INSERT", "UPDATE", "DELETE", "SELECT", "WITH"})
        tables = [words[i + 1] for i, word in enumerate(words) if word in {"INTO", "UPDATE", "FROM", "JOIN"}]
        table = next((t for t in tables if t.isalpha() and t not in {"unnest", "named"}), "none")
        self.statements[f"{verb.replace('WITH', 'UPDATE')} {table}"] += 1

    async def execute(self, sql: str, *values: object) -> Any:
        self._count(sql)
        return await self._connection.execute(sql, *values)

    async def fetch(self, sql: str, *values: object) -> Any:
        self._count(sql)
        return await self._connection.fetch(sql, *values)


def test_a_batch_costs_one_statement_for_each_table_and_kind(
    database: str, clock: StillClock, run: Run
) -> None:
    """However many dispatches are in it: a table is looked at once, and written once."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)

        async def tally(batch: Batch) -> Counter[str]:
            counted: list[Tally] = []

            async def work(connection: Any) -> None:
                counted.append(Tally(connection))
                await commit(store, batch)(counted[0])

            await store._db.write(work)
            return counted[0].statements

        to = (Addressee("Ann", "ann"),)
        accepts = [Accept(message_id(clock.ms), town.app, None, Body("x"), to) for _ in range(100)]
        assert await tally(Batch(accepts=accepts)) == {
            "SELECT app": 1, "UPDATE recipient": 1, "SELECT endpoint": 1, "INSERT message": 1, "INSERT dispatch": 1,
            "INSERT event": 1, "INSERT lane": 1, "INSERT timer": 1, "round trips": 4,
        }  # fmt: skip
        keys = [dispatch_key(accept.message_id, 0) for accept in accepts]
        settles: list[Settle] = [settled(key, town.endpoint.id, 1) for key in keys]
        occurrences = [Occurrence(key, Received()) for key in keys]
        assert await tally(Batch(settles=settles, occurrences=occurrences)) == {
            "SELECT dispatch": 1, "SELECT endpoint": 1, "SELECT lane": 1, "UPDATE dispatch": 1, "INSERT event": 1,
            "UPDATE lane": 1, "DELETE timer": 1, "INSERT attempt": 1, "INSERT settled": 1, "round trips": 4,
        }  # fmt: skip
        settles = [settled(key, town.endpoint.id, 2) for key in keys]
        settles[0] = settled(keys[0], town.endpoint.id, 2, Verdict.RETRY, retry_at_ms=NOON_MS + 5)
        assert await tally(Batch(settles=settles)) == {
            "SELECT lane": 1, "DELETE lane": 1, "UPDATE lane": 1, "INSERT attempt": 1, "INSERT settled": 1,
            "round trips": 2,
        }  # fmt: skip

    run(closing(story()))
