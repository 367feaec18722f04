"""The registry's promises about every change, on every store: repeated keys, watchers, what stays."""

import asyncio

import pytest
from tests.store.conftest import OpenStore, Run, WithStore
from tests.store.fakes import DAY_MS, StillClock, add_app, add_user

from homing.errors import Conflict, IdempotencyConflict, NotFound
from homing.store.batch import Idempotency
from homing.store.changes import Change, CreateApp, DeleteApp
from homing.store.port import Store


def test_a_repeated_key_gives_the_first_answer_and_changes_nothing(with_store: WithStore) -> None:
    """The same key with another digest is a conflict; the same in another scope is another key."""

    async def story(store: Store) -> None:
        heard: list[object] = []
        store.watch(lambda _change, value: heard.append(value))
        key = Idempotency("token 1", "k", b"digest")
        first = await store.apply(CreateApp("a", "key 1"), key, lambda value: b"made %d" % value.id)  # type: ignore[attr-defined]
        assert (first.answer, first.replayed) == (b"made 1", False)
        again = await store.apply(CreateApp("a", "key 1"), key, lambda _: b"other")
        assert (again.value, again.answer, again.replayed) == (None, b"made 1", True)
        with pytest.raises(IdempotencyConflict):
            await store.apply(CreateApp("b", "key 2"), Idempotency("token 1", "k", b"other"), lambda _: b"")
        await store.apply(CreateApp("c", "key 3"), Idempotency("token 2", "k", b"digest"), lambda _: b"")
        assert [app.name for app in await store.apps(0, 9)] == ["a", "c"]
        assert len(heard) == 2

    with_store(story)


def test_a_key_is_kept_only_with_its_change(with_store: WithStore) -> None:
    """A refused change leaves no answer behind, so that it can be sent again."""

    async def story(store: Store) -> None:
        await store.apply(CreateApp("a", "k", id=1))
        key = Idempotency("s", "k", b"digest")
        with pytest.raises(Conflict):
            await store.apply(CreateApp("b", "k2", id=1), key, lambda _: b"no")
        assert await store.recall_answer(key) is None
        await store.apply(DeleteApp(1))
        assert (await store.apply(CreateApp("b", "k2", id=1), key, lambda _: b"yes")).answer == b"yes"

    with_store(story)


def test_a_key_is_forgotten_after_a_day(with_store: WithStore, clock: StillClock) -> None:
    """For 24 hours a key is remembered, then it is new."""

    async def story(store: Store) -> None:
        key, other = Idempotency("s", "k", b"digest"), Idempotency("s", "k", b"other")
        await store.keep_answer(key, b"first")
        clock.ms += DAY_MS - 1
        await store.keep_answer(key, b"second")
        assert await store.recall_answer(key) == b"first"
        with pytest.raises(IdempotencyConflict):
            await store.recall_answer(other)
        clock.ms += 1
        assert await store.recall_answer(other) is None
        applied = await store.apply(CreateApp("a", "k"), other, lambda _: b"third")
        assert not applied.replayed
        assert await store.recall_answer(other) == b"third"

    with_store(story)


def test_watchers_hear_of_a_change_before_its_caller(with_store: WithStore) -> None:
    """On the loop, after the commit, with what the change came to; nothing of a refused one."""

    async def story(store: Store) -> None:
        heard: list[tuple[Change, object]] = []
        places: list[object] = []
        store.watch(lambda change, value: heard.append((change, value)))
        store.watch(lambda _change, _value: places.append(asyncio.get_running_loop()))
        change = CreateApp("a", "k")
        applied = await store.apply(change)
        assert heard == [(change, applied.value)]
        assert places == [asyncio.get_running_loop()]
        with pytest.raises(NotFound):
            await store.apply(DeleteApp(99))
        assert len(heard) == 1

    with_store(story)


def test_watchers_hear_of_a_change_whose_caller_went_away(with_store: WithStore) -> None:
    """A cancelled request may have been written all the same: caches must not miss it."""

    async def story(store: Store) -> None:
        heard = asyncio.Event()
        store.watch(lambda _change, _value: heard.set())
        caller = asyncio.ensure_future(store.apply(CreateApp("a", "k")))
        await asyncio.sleep(0)
        caller.cancel()
        await heard.wait()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert await store.app(1) is not None

    with_store(story)


def test_what_was_applied_is_there_after_a_restart(
    open_store: OpenStore, run: Run, clock: StillClock
) -> None:
    """A store on disk is opened again with everything in it; one in memory is new each time."""

    async def story() -> None:
        async with open_store() as store:
            app = await add_app(store)
            await add_user(store, app.id, "ann")
        async with open_store() as store:
            if await store.app(1) is not None:
                assert await store.user(1, "ann") is not None
                assert (await add_app(store)).id == 2
            else:
                assert await store.apps(0, 1) == []

    run(story())
