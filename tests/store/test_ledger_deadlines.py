"""The ledger's promises about deadlines: their order, their times, their moves, on every store."""

from tests.store.conftest import WithStore
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, number
from tests.store.ledger import post

from homing.contract.status import Status
from homing.lifecycle.dispatch import Clock, Read, Recalled, Received
from homing.model import FallbackSettings
from homing.store.batch import Batch, Occurrence
from homing.store.port import Store

TTL_MS = 2 * 24 * 3600 * 1000


def test_deadlines_are_due_in_their_order(with_store: WithStore, clock: StillClock) -> None:
    """After downtime, the earliest first, no more than asked for, and none before its time."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        keys = [await post(store, app.id, "Ann", ttl_s=s) for s in (30, 10, 20, 40)]
        assert (await store.outlook()).next_timer_ms == NOON_MS + 10_000
        clock.ms = NOON_MS + 9_999
        assert await store.due_dispatches(10) == []
        clock.ms = NOON_MS + 39_999
        assert await store.due_dispatches(2) == [keys[1], keys[2]]
        assert await store.due_dispatches(10) == [keys[1], keys[2], keys[0]]

    with_store(story)


def test_deadlines_that_passed_together_are_each_stamped_with_their_own_time(
    with_store: WithStore, clock: StillClock
) -> None:
    """Law 7: fallback, then expiry, however late the clock looks; and the dispatch is no longer due."""

    async def story(store: Store) -> None:
        app = await add_app(store, fallback=FallbackSettings(mode="notify", on_undelivered_seconds=10))
        await add_user(store, app.id, "Ann")
        key = await post(store, app.id, "Ann", ttl_s=60)
        clock.ms = NOON_MS + TTL_MS
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Clock())]))
        assert [(r.n, r.status, r.at_ms) for r in committed.recorded] == [
            (2, number(Status.FALLBACK_ON_UNDELIVERED), NOON_MS + 10_000),
            (3, number(Status.EXPIRED), NOON_MS + 60_000),
        ]
        assert [change.what for change in committed.changes] == ["gone"]
        assert await store.due_dispatches(10) == []
        assert (await store.outlook()).next_timer_ms is None

    with_store(story)


def test_a_deadline_that_moved_later_rings_early_and_is_armed_again(
    with_store: WithStore, clock: StillClock
) -> None:
    """The timer stays where it is; ringing changes nothing but the time of the next one."""

    async def story(store: Store) -> None:
        unread = FallbackSettings(mode="notify", on_undelivered_seconds=10, on_unread_seconds=100)
        app = await add_app(store, fallback=unread)
        await add_user(store, app.id, "Ann")
        key = await post(store, app.id, "Ann")
        clock.ms += 5_000
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Received())]))
        assert committed.next_timer_ms is None
        assert (await store.outlook()).next_timer_ms == NOON_MS + 10_000
        clock.ms = NOON_MS + 10_000
        assert await store.due_dispatches(10) == [key]
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Clock())]))
        assert committed.recorded == []
        assert committed.next_timer_ms == NOON_MS + 105_000
        assert (await store.outlook()).next_timer_ms == NOON_MS + 105_000
        clock.ms = NOON_MS + 105_000
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Clock())]))
        assert [r.status for r in committed.recorded] == [number(Status.FALLBACK_ON_UNREAD)]

    with_store(story)


def test_a_deadline_that_moved_earlier_replaces_the_later_one(
    with_store: WithStore, clock: StillClock
) -> None:
    """Delivered: no more the expiry in two days, but the fallback in a second."""

    async def story(store: Store) -> None:
        app = await add_app(store, fallback=FallbackSettings(mode="notify", on_unread_seconds=1))
        await add_user(store, app.id, "Ann")
        key = await post(store, app.id, "Ann")
        assert (await store.outlook()).next_timer_ms == NOON_MS + TTL_MS
        clock.ms += 500
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Received(NOON_MS + 100))]))
        assert committed.next_timer_ms == NOON_MS + 1_100
        clock.ms = NOON_MS + TTL_MS
        assert await store.due_dispatches(10) == [key]

    with_store(story)


def test_a_dispatch_with_nothing_to_wait_for_has_no_deadline(
    with_store: WithStore, clock: StillClock
) -> None:
    """Read or recalled: its timer is gone, however long the clock runs."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        read, recalled = await post(store, app.id, "Ann"), await post(store, app.id, "Ann")
        await store.commit(Batch(occurrences=[Occurrence(read, Read()), Occurrence(recalled, Recalled())]))
        clock.ms += 10 * TTL_MS
        assert await store.due_dispatches(10) == []

    with_store(story)
