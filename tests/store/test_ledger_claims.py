"""The ledger's promises about what is left over: claims, adoption, release, commands, deadlines, on every store."""

from tests.store.conftest import OpenStore, Run, WithStore
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, happen, login, number, send
from tests.store.ledger import add_endpoint, build_town, numbers, post, settle, settled, told

from homing.contract.status import Status
from homing.lifecycle.dispatch import (
    Clock,
    Message,
    Read,
    Recalled,
    Received,
    SmsRefusal,
    SmsRefused,
    SmsSubmitting,
)
from homing.model import CommandKind, DispatchKey, FallbackSettings, dispatch_key, message_of
from homing.store.batch import Batch, CommandDone, CommandWork, Note, Occurrence, Verdict
from homing.store.changes import SetPushToken
from homing.store.port import Store

TTL_MS = 2 * 24 * 3600 * 1000
SMS_APP = {"fallback": FallbackSettings(mode="sms", on_undelivered_seconds=10)}


async def put_off(store: Store, key: bytes, endpoint: int, at_ms: int) -> None:
    """Let the first try of a fresh lane fail."""
    await settle(store, settled(key, endpoint, 1, Verdict.RETRY, retry_at_ms=at_ms))


def test_the_longest_due_are_claimed_first(with_store: WithStore, clock: StillClock) -> None:
    """As many as asked for, none that is not due, and the answer says when the endpoint's next one is."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        keys = [await post(store, town.app, "Ann") for _ in range(4)]
        for key, after_ms in zip(keys, (30, 10, 20, 99), strict=True):
            await put_off(store, key, town.endpoint.id, NOON_MS + after_ms)
        clock.ms = NOON_MS + 30
        claimed = await store.claim_lanes(town.endpoint.id, 2)
        assert [work.key for work in claimed.lanes] == [keys[1], keys[2]]
        assert claimed.next_due_ms == NOON_MS + 30
        claimed = await store.claim_lanes(town.endpoint.id, 2)
        assert [(work.key, work.tries) for work in claimed.lanes] == [(keys[0], 1)]
        assert claimed.next_due_ms == NOON_MS + 99
        clock.ms = NOON_MS + 99
        assert (await store.claim_lanes(town.endpoint.id, 2)).next_due_ms is None

    with_store(story)


def test_what_is_claimed_is_nobody_elses(with_store: WithStore) -> None:
    """A claimed lane is owned: it is found by no other claim, and further events are handed to the owner."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await put_off(store, key, town.endpoint.id, NOON_MS)
        assert numbers((await store.claim_lanes(town.endpoint.id, 9)).lanes) == [
            (town.endpoint.id, [1], 1, True)
        ]
        assert (await store.claim_lanes(town.endpoint.id, 9)).lanes == []
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Received())]))
        assert numbers(committed.lanes) == [(town.endpoint.id, [2], 0, False)]

    with_store(story)


def test_a_claim_takes_one_endpoints_lanes(with_store: WithStore) -> None:
    """Another endpoint's due lanes stay where they are; so do those of one dispatch at another endpoint."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        other = await add_endpoint(store, town.app)
        key = await post(store, town.app, "Ann")
        for endpoint in (town.endpoint.id, other.id):
            await put_off(store, key, endpoint, NOON_MS)
        await store.claim_lanes(town.endpoint.id, 10)
        assert (await store.outlook()).lanes_due == {other.id: NOON_MS}

    with_store(story)


def test_a_claimed_lane_has_all_its_pending_events_and_no_other(with_store: WithStore) -> None:
    """With the facts of its dispatch; many lanes due at one instant are each whole, over several claims."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        keys = [await post(store, town.app, "Ann", ref=f"m{i}") for i in range(9)]
        for key in keys:
            await happen(store, message_of(key), Read())
            await settle(store, settled(key, town.endpoint.id, 1, known=0b110))
            await settle(store, settled(key, town.endpoint.id, 2, Verdict.RETRY, retry_at_ms=NOON_MS))
        works = []
        while lanes := (await store.claim_lanes(town.endpoint.id, 4)).lanes:
            works += lanes
        assert [work.key for work in works] == keys
        read = (number(Status.DELIVERED), number(Status.READ))
        assert {tuple((n, s) for n, s, _ in work.events) for work in works} == {((2, read[0]), (3, read[1]))}
        assert [work.facts.message_ref for work in works] == [f"m{i}" for i in range(9)]  # type: ignore[union-attr]

    with_store(story)


def test_release_gives_back_without_spending_a_try(with_store: WithStore, clock: StillClock) -> None:
    """Due at once; what was let go or drained before is left alone."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        held, late, gone = [await post(store, town.app, "Ann") for _ in range(3)]
        await put_off(store, late, town.endpoint.id, NOON_MS + 60_000)
        await settle(store, settled(gone, town.endpoint.id, 1))
        clock.ms += 7
        await store.release([(key, town.endpoint.id) for key in (held, late, gone)])
        views = [(await told(store, key))[town.endpoint.uid] for key in (held, late, gone)]
        assert [(v.pending, v.tries, v.due_ms) for v in views] == [
            (1, 0, NOON_MS + 7), (1, 1, NOON_MS + 60_000), (0, 0, None),
        ]  # fmt: skip

    with_store(story)


def test_held_lanes_are_walked_in_key_order(with_store: WithStore) -> None:
    """Page by page after (key, endpoint): all that this process owns, nothing that waits or was drained."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        other = await add_endpoint(store, town.app)
        keys = [await post(store, town.app, "Ann") for _ in range(3)]
        await put_off(store, keys[1], town.endpoint.id, NOON_MS)
        found: list[tuple[bytes, int]] = []
        after: tuple[bytes, int] = (b"", 0)
        while works := await store.held_lanes(after, 2):
            found += [(work.key, work.endpoint) for work in works]
            after = found[-1]
        assert found == sorted(
            (key, endpoint) for key in keys for endpoint in (town.endpoint.id, other.id)
            if (key, endpoint) != (keys[1], town.endpoint.id)
        )  # fmt: skip

    with_store(story)


def test_lanes_of_a_process_that_is_no_more_are_adopted(open_again: OpenStore, run: Run) -> None:
    """Each once, page by page, with their tries; those born since belong to this one already."""

    async def story() -> None:
        async with open_again() as store:
            town = await build_town(store)
            keys = [await post(store, town.app, "Ann") for _ in range(3)]
            await put_off(store, keys[2], town.endpoint.id, NOON_MS)
            await store.claim_lanes(town.endpoint.id, 1)
        async with open_again() as store:
            born = await post(store, town.app, "Ann")
            first = await store.adopt_lanes((b"", 0), 2)
            rest = await store.adopt_lanes((first[-1].key, first[-1].endpoint), 2)
            assert [(work.key, work.tries) for work in first + rest] == [
                (keys[0], 0),
                (keys[1], 0),
                (keys[2], 1),
            ]
            assert await store.adopt_lanes((b"", 0), 10) == []
            assert [work.key for work in await store.held_lanes((b"", 0), 10)] == [*keys, born]

    run(story())


def test_an_event_for_an_orphan_is_found_by_its_adopter(open_again: OpenStore, run: Run) -> None:
    """A lane of a dead process is nobody's: the event is noted in the row and handed to nobody before the adoption."""

    async def story() -> None:
        async with open_again() as store:
            town = await build_town(store)
            key = await post(store, town.app, "Ann")
        async with open_again() as store:
            committed = await store.commit(Batch(occurrences=[Occurrence(key, Received())]))
            assert committed.lanes == []
            assert numbers(await store.adopt_lanes((b"", 0), 10)) == [(town.endpoint.id, [1, 2], 0, True)]

    run(story())


def test_a_dead_processs_outcome_comes_too_late(open_again: OpenStore, run: Run) -> None:
    """Its epoch is not ours: a retry or a giving up in its name matches nothing once the lane has a new owner."""

    async def story() -> None:
        async with open_again() as store:
            town = await build_town(store)
            key = await post(store, town.app, "Ann")
        async with open_again() as store:
            for verdict in (Verdict.RETRY, Verdict.DEAD):  # before adoption we own nothing
                await settle(store, settled(key, town.endpoint.id, 1, verdict, retry_at_ms=NOON_MS))
            assert numbers(await store.adopt_lanes((b"", 0), 10)) == [(town.endpoint.id, [1], 0, True)]

    run(story())


async def _with_phone(store: Store, name: str, app: int) -> int:
    user = await add_user(store, app, name)
    await store.apply(login(user, f"{name}'s phone"))
    await store.apply(SetPushToken(f"{name}'s phone", "ios", f"{name}'s token"))
    return user.id


def test_a_command_lives_until_it_is_done(with_store: WithStore, clock: StillClock) -> None:
    """Handed over with its commit, put off by a failure, claimed when due with its tries, gone when done."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await _with_phone(store, "Ann", app.id)
        key = await post(store, app.id, "Ann")
        assert await store.claim_commands(10) == []  # ours already
        later = CommandDone(key, CommandKind.PUSH, NOON_MS + 9, '{"why":"busy"}')
        committed = await store.commit(Batch(commands_done=[later]))
        assert committed.next_command_ms == NOON_MS + 9
        assert (await store.outlook()).next_command_ms == NOON_MS + 9
        assert await store.claim_commands(10) == []
        clock.ms += 9
        assert await store.claim_commands(10) == [CommandWork(key, CommandKind.PUSH, 1, '{"why":"busy"}')]
        assert await store.claim_commands(10) == []
        await store.commit(Batch(commands_done=[CommandDone(key, CommandKind.PUSH)]))
        assert (await store.outlook()).next_command_ms is None

    with_store(story)


def test_the_longest_due_commands_are_claimed_first(with_store: WithStore, clock: StillClock) -> None:
    """No more than asked for."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await _with_phone(store, "Ann", app.id)
        keys = [await post(store, app.id, "Ann") for _ in range(3)]
        later = [
            CommandDone(k, CommandKind.PUSH, NOON_MS + ms) for k, ms in zip(keys, (3, 1, 2), strict=True)
        ]
        await store.commit(Batch(commands_done=later))
        clock.ms += 3
        assert [work.key for work in await store.claim_commands(2)] == [keys[1], keys[2]]
        assert [work.key for work in await store.claim_commands(2)] == [keys[0]]

    with_store(story)


def test_commands_of_a_process_that_is_no_more_count_as_due(open_again: OpenStore, run: Run) -> None:
    """The next process claims them, once."""

    async def story() -> None:
        async with open_again() as store:
            app = await add_app(store)
            await _with_phone(store, "Ann", app.id)
            key = await post(store, app.id, "Ann")
        async with open_again() as store:
            assert await store.claim_commands(10) == [CommandWork(key, CommandKind.PUSH)]
            assert await store.claim_commands(10) == []

    run(story())


def test_a_fallback_that_falls_due_is_a_command(with_store: WithStore, clock: StillClock) -> None:
    """Handed over with the commit in which its time passed; its receipts find the dispatch."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await add_user(store, app.id, "Ann", mobile_number="+39 1")
        key = await post(store, app.id, "Ann")
        clock.ms += 10_000
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Clock())]))
        assert committed.commands == [CommandWork(key, CommandKind.SMS)]
        await store.commit(Batch(occurrences=[Occurrence(key, SmsSubmitting(), sms=(("kannel", "id1"),))]))
        assert await store.find_sms("kannel", ["id1"]) == {"id1": key}

    with_store(story)


def test_a_fallback_that_began_and_ended_in_one_batch_is_no_command(
    with_store: WithStore, clock: StillClock
) -> None:
    """Delivered in the very batch in which its time passed: nobody is told to send an SMS."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await add_user(store, app.id, "Ann", mobile_number="+39 1")
        key = await post(store, app.id, "Ann")
        clock.ms += 10_000
        happened = [Occurrence(key, Clock()), Occurrence(key, Received())]
        committed = await store.commit(Batch(occurrences=happened))
        assert committed.commands == []
        assert (await store.outlook()).next_command_ms is None
        assert await store.claim_commands(10) == []

    with_store(story)


def test_a_fallback_no_longer_wanted_is_taken_back(with_store: WithStore, clock: StillClock) -> None:
    """A command that waits for its next try is deleted when the message is delivered meanwhile."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await add_user(store, app.id, "Ann", mobile_number="+39 1")
        key = await post(store, app.id, "Ann")
        clock.ms += 10_000
        await store.commit(Batch(occurrences=[Occurrence(key, Clock())]))
        await store.commit(Batch(commands_done=[CommandDone(key, CommandKind.SMS, clock.ms + 5)]))
        await happen(store, message_of(key), Received())
        clock.ms += 5
        assert await store.claim_commands(10) == []

    with_store(story)


def test_a_refused_sms_says_why_in_the_history(with_store: WithStore, clock: StillClock) -> None:
    """An input's detail is kept beside it, and so are notes that are no input."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await add_user(store, app.id, "Ann", mobile_number="+39 1")
        key = await post(store, app.id, "Ann")
        clock.ms += 10_000
        refused = Occurrence(key, SmsRefused(SmsRefusal.INVALID_NUMBER), '{"code":11}')
        await store.commit(
            Batch(occurrences=[Occurrence(key, Clock()), refused], notes=[Note(key, "cap", "{}")])
        )
        assert [(line.code, line.detail) for line in await store.history(key)] == [
            ("sms_refused", '{"code":11}'), ("cap", "{}"),
        ]  # fmt: skip

    with_store(story)


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


def test_devices_hear_when_a_message_is_read_or_gone(with_store: WithStore) -> None:
    """One change per dispatch and batch, for known recipients, and only when the message's state changed."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "Ann")
        sent = [await post(store, app.id, "Ann") for _ in range(3)]
        happened = [
            Occurrence(sent[0], Received()), Occurrence(sent[0], Read()), Occurrence(sent[1], Recalled()),
            Occurrence(sent[2], Received()),
        ]  # fmt: skip
        committed = await store.commit(Batch(occurrences=happened))
        assert [(c.recipient, c.key, c.what) for c in committed.changes] == [
            (ann.id, sent[0], "read"), (ann.id, sent[1], "gone"),
        ]  # fmt: skip
        committed = await store.commit(Batch(occurrences=[Occurrence(sent[0], Read())]))
        assert committed.changes == []
        assert committed.occurrences[0].note is not None

    with_store(story)


def test_results_stand_where_their_occurrences_stood(with_store: WithStore) -> None:
    """Though the store takes dispatches in key order; several of one dispatch are stepped in order of arrival."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        message = await send(store, app.id, "Ann", "Ann")
        first, second = dispatch_key(message, 0), dispatch_key(message, 1)
        happened = [Occurrence(DispatchKey(key), what) for key, what in (
            (second, Received()), (first, Recalled()), (second, Read()), (first, Received()),
        )]  # fmt: skip
        results = (await store.commit(Batch(occurrences=happened))).occurrences
        assert [Message(r.state.message) for r in results if r.state] == [
            Message.DELIVERED, Message.EXPIRED, Message.READ, Message.EXPIRED,
        ]  # fmt: skip
        assert [r.note is None for r in results] == [True, True, True, False]

    with_store(story)


def test_there_is_room_or_nobody_knows(with_store: WithStore) -> None:
    """Free space is told in bytes for a file, and not at all for a store that has none."""

    async def story(store: Store) -> None:
        free = store.free_bytes()
        assert free is None or free > 0

    with_store(story)
