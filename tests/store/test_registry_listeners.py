"""The registry's promises about listeners, on every store: one holder, a place that only moves on, names within a reach."""

import msgspec
import pytest
from tests.store.conftest import OpenStore, Run, WithStore
from tests.store.fakes import add_app, send

from homing.errors import Conflict, NotFound
from homing.model import Listener
from homing.store.changes import DeleteApp, DeleteListener, MoveListener, OpenListener
from homing.store.port import Store

NOW_MS = 1_900_000_000_000
"""Real time, which has nothing to do with the store's clock."""
LEASE_MS = 30_000
DAY_MS = 24 * 3600 * 1000


def opening(**given: object) -> OpenListener:
    """Return the change that opens a listener; ``given`` are its fields."""
    fields: dict[str, object] = {
        "reach": None, "name": "ann", "apps": None, "secret": b"sealed", "holder": "ann@laptop", "lease": "first",
        "now_ms": NOW_MS, "until_ms": NOW_MS + LEASE_MS, **given,
    }  # fmt: skip
    return OpenListener(**fields)  # type: ignore[arg-type]


async def open_(store: Store, **given: object) -> Listener:
    listener = (await store.apply(opening(**given))).value
    assert isinstance(listener, Listener)
    return listener


async def move(store: Store, position: int, lease: str = "first", **given: object) -> Listener:
    fields: dict[str, object] = {
        "reach": None, "name": "ann", "now_ms": NOW_MS, "until_ms": NOW_MS + LEASE_MS, **given,
    }  # fmt: skip
    change = MoveListener(lease=lease, position=position, **fields)  # type: ignore[arg-type]
    listener = (await store.apply(change)).value
    assert isinstance(listener, Listener)
    return listener


def test_a_listener_begins_at_the_end_and_goes_on_where_it_stopped(open_again: OpenStore, run: Run) -> None:
    """A new one hears what is new; its place, its secret and its first day outlive the process; a place can be chosen."""

    async def story() -> None:
        async with open_again() as store:
            app = await add_app(store)
            await send(store, app.id, "nobody")
            head = await store.feed_head()
            made = await open_(store, apps=(app.id,))
            assert made == Listener(
                None, "ann", (app.id,), b"sealed", head, "ann@laptop", "first", NOW_MS + LEASE_MS, NOW_MS, NOW_MS
            )  # fmt: skip
            await send(store, app.id, "nobody", "none")
        async with open_again() as store:
            assert await store.listener(None, "ann") == made
            later = NOW_MS + LEASE_MS
            again = await open_(
                store, secret=b"another", lease="second", holder="ann@desk", now_ms=later, until_ms=later + 1
            )
            assert again == msgspec.structs.replace(
                made, apps=None, lease="second", holder="ann@desk", held_until_ms=later + 1, seen_at_ms=later
            )
            chosen = await open_(store, lease="second", position=0, now_ms=later)
            assert chosen.position == 0
            assert (await open_(store, name="bob", position=1)).position == 1

    run(story())


def test_a_listener_has_one_holder(with_store: WithStore) -> None:
    """While its lease runs another is refused and told who holds it; its own holder is not; nor who takes over."""

    async def story(store: Store) -> None:
        await open_(store)
        with pytest.raises(Conflict, match="ann is held by ann@laptop"):
            await open_(store, lease="second", now_ms=NOW_MS + LEASE_MS - 1)
        assert (await open_(store, until_ms=NOW_MS + 2)).held_until_ms == NOW_MS + 2
        await open_(store, lease="second", holder="ann@desk", takes_over=True)
        with pytest.raises(Conflict, match="held by ann@desk"):
            await move(store, 1)
        released = await move(store, 0, "second", until_ms=0)
        assert released.held_until_ms == 0
        assert (await open_(store, lease="third")).lease == "third"

    with_store(story)


def test_a_place_only_moves_on_and_never_beyond_the_end(with_store: WithStore) -> None:
    """An older place, or one that does not exist yet, is not believed; the lease is renewed all the same."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await send(store, app.id, "a", "b", "c")
        head = await store.feed_head()
        await open_(store, position=0)
        assert (await move(store, head - 1)).position == head - 1
        back = await move(store, head - 2, now_ms=NOW_MS + 5, until_ms=NOW_MS + 6)
        assert (back.position, back.seen_at_ms, back.held_until_ms) == (head - 1, NOW_MS + 5, NOW_MS + 6)
        assert (await move(store, head + 1)).position == head
        with pytest.raises(NotFound):
            await move(store, 1, name="bob")

    with_store(story)


def test_names_belong_to_a_reach(with_store: WithStore) -> None:
    """The same name in another reach is another listener: not seen, not met, not deleted."""

    async def story(store: Store) -> None:
        everywhere = await open_(store)
        inner = await open_(store, reach=(1, 2), lease="second")
        await open_(store, reach=(1, 2), name="bob")
        assert [one.name for one in await store.listeners((1, 2), "", 9)] == ["ann", "bob"]
        assert [one.name for one in await store.listeners((1, 2), "ann", 9)] == ["bob"]
        assert [one.name for one in await store.listeners((1, 2), "", 1)] == ["ann"]
        assert await store.listeners((1,), "", 9) == []
        assert await store.listener((1,), "ann") is None
        assert await store.listener((1, 2), "ann") == inner
        await store.apply(DeleteListener((1, 2), "ann"))
        with pytest.raises(NotFound):
            await store.apply(DeleteListener((1, 2), "ann"))
        assert await store.listener(None, "ann") == everywhere

    with_store(story)


def test_listeners_go_with_their_application_or_when_nobody_comes_back(with_store: WithStore) -> None:
    """An application that gets the id later finds none; a name unused for 90 days is forgotten at the next opening."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await open_(store, reach=(app.id, 99), name="gone")
        await open_(store, reach=(98,), name="other")
        await open_(store, name="all", apps=(app.id,))
        await store.apply(DeleteApp(app.id))
        assert await store.listeners((app.id, 99), "", 9) == []
        assert len(await store.listeners((98,), "", 9)) == 1
        await open_(store, name="late", now_ms=NOW_MS + 90 * DAY_MS)
        assert [one.name for one in await store.listeners(None, "", 9)] == ["all", "late"]
        await open_(store, name="later", now_ms=NOW_MS + 90 * DAY_MS + 1)
        assert [one.name for one in await store.listeners(None, "", 9)] == ["late", "later"]

    with_store(story)
