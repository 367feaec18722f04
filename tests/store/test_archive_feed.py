"""The archive's promises about the feed, on every store: an order that stays, places that are found, nothing twice or missed."""

import pytest
from tests.store.conftest import WithStore
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, happen, message_id, number, send
from tests.store.ledger import Town, build_town, incoming

from homing.contract.status import Status
from homing.lifecycle.dispatch import Read, Received
from homing.model import INCOMING_POSITION, dispatch_key
from homing.store.batch import Batch, Facts, IncomingFacts
from homing.store.port import Store
from homing.store.views import FeedItem, FeedPage


async def write(store: Store, town: Town, text: str) -> bytes:
    """Let Ann write a message; return its id."""
    letter = incoming(store, town, message_id(store.now_ms()), text=text)
    await store.commit(Batch(incomings=[letter]))
    return letter.message_id


async def walk(
    store: Store, apps: tuple[int, ...] | None, limit: int, *, incoming: bool = False, after: int = 0
) -> list[FeedItem]:
    """Read the feed to its end, page by page."""
    found: list[FeedItem] = []
    while True:
        page = await store.feed(apps, after, limit, incoming=incoming)
        assert len(page.items) <= limit
        assert page.is_end or page.last > after
        found += page.items
        after = page.last
        if page.is_end:
            return found


def brief(items: list[FeedItem]) -> list[tuple[bytes, int, int]]:
    return [(item.key, item.n, item.status) for item in items]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_feed_holds_everything_once_in_the_order_of_commits(with_store: WithStore, limit: int) -> None:
    """Whatever the size of the pages; with their facts; messages from devices only for who wants them."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        await add_user(store, town.app, "Bob", mobile_number="39333")
        first = await send(store, town.app, "Ann", "nobody", ref="r1")
        text = await write(store, town, "hi")
        second = await send(store, town.app, "Bob")
        await happen(store, first, Read())
        wanted = [
            (dispatch_key(first, 0), 1, number(Status.ENQUEUED)),
            (dispatch_key(first, 1), 1, number(Status.IDENTIFIER_NOT_FOUND)),
            (dispatch_key(second, 0), 1, number(Status.ENQUEUED)),
            (dispatch_key(first, 0), 2, number(Status.DELIVERED)),
            (dispatch_key(first, 0), 3, number(Status.READ)),
        ]
        events = await walk(store, None, limit)
        assert brief(events) == wanted
        assert events[0].facts == Facts(town.app, "Ann", "r1", None, None)
        assert events[2].facts == Facts(town.app, "Bob", None, None, "39333")
        assert (events[0].app, events[0].at_ms) == (town.app, NOON_MS)
        both = await walk(store, (town.app,), limit, incoming=True)
        assert [item for item in both if isinstance(item.facts, Facts)] == events
        assert [item.position for item in both] == sorted({item.position for item in both})
        assert both[2].key == dispatch_key(text, INCOMING_POSITION)
        assert both[2].facts == IncomingFacts(town.app, "Ann", "hi", None, None)
        head = await store.feed_head()
        assert both[-1].position == head
        assert await store.feed(None, head, limit, incoming=True) == FeedPage((), head, is_end=True)

    with_store(story)


def test_an_applications_feed_holds_only_its_own(with_store: WithStore) -> None:
    """Others' events are passed over, and the place moves on over them; no application has an empty feed."""

    async def story(store: Store) -> None:
        mine, theirs = await add_app(store), await add_app(store)
        for app in (mine, theirs):
            await add_user(store, app.id, "ann")
        await send(store, theirs.id, "ann")
        own = await send(store, mine.id, "ann")
        await send(store, theirs.id, "ann")
        head = await store.feed_head()
        page = await store.feed((mine.id,), 0, 10, incoming=True)
        assert [item.key for item in page.items] == [dispatch_key(own, 0)]
        assert (page.last, page.is_end) == (head, True)
        assert len((await store.feed((mine.id, theirs.id), 0, 10, incoming=False)).items) == 3
        assert await store.feed((), 0, 10, incoming=True) == FeedPage((), head, is_end=True)

    with_store(story)


def test_a_quiet_application_among_a_busy_one_is_walked_in_steps(with_store: WithStore) -> None:
    """One question looks at a bounded number of others' events: its page is empty, and says where to go on."""

    async def story(store: Store) -> None:
        quiet, busy = await add_app(store), await add_app(store)
        await add_user(store, quiet.id, "ann")
        for _ in range(5):
            await send(store, busy.id, *(f"n{n}" for n in range(500)))
        own = await send(store, quiet.id, "ann")
        page = await store.feed((quiet.id,), 0, 10, incoming=False)
        assert (page.items, page.is_end) == ((), False)
        assert brief(await walk(store, (quiet.id,), 10)) == [(dispatch_key(own, 0), 1, 0)]

    with_store(story)


def test_a_place_beyond_the_end_is_the_end(with_store: WithStore) -> None:
    """Who followed a store that was put back to an older copy hears of what comes from now on."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        assert await store.feed(None, 2**62, 10, incoming=True) == FeedPage((), 0, is_end=True)
        await send(store, app.id, "nobody")
        page = await store.feed(None, 2**62, 10, incoming=True)
        assert page == FeedPage((), await store.feed_head(), is_end=True)

    with_store(story)


def test_an_instant_is_found(with_store: WithStore, clock: StillClock) -> None:
    """Everything before the place happened before; a future one is the end, the beginning of time the start."""

    async def story(store: Store) -> None:
        assert await store.feed_since(NOON_MS) == 0
        town = await build_town(store)
        keys = []
        for minute in range(7):
            clock.ms = NOON_MS + minute * 60_000
            keys.append(dispatch_key(await send(store, town.app, "Ann"), 0))
        clock.ms += 60_000
        letter = await write(store, town, "hi")
        for second, wanted in ((-1, 0), (0, 0), (30, 1), (60, 1), (330, 6), (360, 6), (390, 7), (420, 7)):
            after = await store.feed_since(NOON_MS + second * 1000)
            found = await walk(store, None, 100, incoming=True, after=after)
            assert [item.key for item in found] == [*keys[wanted:], dispatch_key(letter, INCOMING_POSITION)]
        assert await store.feed_since(clock.ms + 1) == await store.feed_head()
        assert await store.feed_since(0) == 0

    with_store(story)


def test_what_is_told_late_hides_nothing_that_happened_since(
    with_store: WithStore, clock: StillClock
) -> None:
    """Receipts bear the phone's own, older time: an event of 12:10 that stands before one of 12:05 is found from 12:08 on."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        late = [await send(store, town.app, "Ann") for _ in range(8)]
        clock.ms = NOON_MS + 10 * 60_000
        young = await happen(store, await send(store, town.app, "Ann"), Received())
        clock.ms += 60_000
        for message in late:
            await happen(store, message, Read(NOON_MS + 5 * 60_000))
        after = await store.feed_since(NOON_MS + 8 * 60_000)
        found = await walk(store, None, 100, after=after)
        assert [(item.key, item.n) for item in found[:2]] == [(young, 1), (young, 2)]
        assert len(found) == 18

    with_store(story)
