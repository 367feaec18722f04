"""Messages whose time is over: what goes with them, and what keeps them. By whole weeks on PostgreSQL, one by one embedded."""

import pytest
from tests.store.conftest import WithStore
from tests.store.fakes import DAY_MS, NOON_MS, StillClock, add_user, happen, login, message_id
from tests.store.ledger import Town, build_town, incoming, post, settle, settled, told

from homing.lifecycle.dispatch import Read, Received
from homing.model import Body, DispatchKey, ReplaySpec
from homing.store.batch import Accept, Accepted, Addressee, Batch, Idempotency, Occurrence, Verdict
from homing.store.changes import CreateJob, SetPushToken, UpdateJob
from homing.store.port import Retention, Store

WEEK_MS = 7 * DAY_MS
RETENTION = Retention(
    attempts_ms=7 * DAY_MS, failures_ms=30 * DAY_MS, dead_ms=90 * DAY_MS, messages_ms=15 * DAY_MS
)


async def drop(store: Store, before_ms: int) -> tuple[int, str | None]:
    """Delete all that is older and can go; return how much that was, and what kept the first that stayed."""
    count, by = 0, None
    while True:
        step = await store.drop_messages(before_ms, 3)
        count += step.count
        by = by or step.kept_by
        if step.is_end:
            return count, by


async def tell_all(store: Store) -> None:
    """Settle whatever is owned here, until nothing is."""
    while works := await store.held_lanes((b"", 0), 99):
        await settle(store, *(settled(w.key, w.endpoint, w.events[0][0]) for w in works))


async def through(store: Store, town: Town, **given: object) -> DispatchKey:
    """Take a message to Ann through its whole life: nothing of it is pending."""
    key = await post(store, town.app, "Ann", **given)
    await happen(store, key[:16], Received())
    await happen(store, key[:16], Read())
    await tell_all(store)
    return key


def test_an_old_message_is_gone_with_all_that_is_known_of_it(
    with_store: WithStore, clock: StillClock
) -> None:
    """No view, no callbacks, no application, no dead letters, not in the feed or the inbox; a younger one has everything."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        old = await through(store, town)
        lost = await post(store, town.app, "nobody")
        await settle(store, settled(lost, town.endpoint.id, 1, Verdict.DEAD, reason="gave_up"))
        written = message_id(clock.ms)
        await store.commit(Batch(incomings=[incoming(store, town, written)]))
        await tell_all(store)
        clock.ms += 4 * WEEK_MS
        young = await through(store, town)
        count, by = await drop(store, clock.ms - 15 * DAY_MS)
        while await store.prune(RETENTION, 500):
            pass
        assert (count > 0, by) == (True, None)
        for id_ in (old[:16], lost[:16], written):
            assert await store.message(id_) is None
            assert await store.app_of(id_) is None
            assert await store.callbacks(id_) == []
        assert await store.dead(town.endpoint.id, None, 9) == []
        assert await store.history(old) == []
        assert {item.key for item in (await store.feed(None, 0, 99, incoming=True)).items} == {young}
        assert [item.key for item in await store.inbox(town.ann, 0, 9)] == [young]
        view = await store.message(young[:16])
        assert view is not None
        assert len(view.dispatches[0].events) == 3
        assert (await told(store, young))[town.endpoint.uid].settled == 0b111
        assert await drop(store, clock.ms - 15 * DAY_MS) == (0, None)

    with_store(story)


async def _owed(store: Store, town: Town) -> DispatchKey:
    key = await post(store, town.app, "nobody")
    work = (await store.held_lanes((b"", 0), 9))[-1]
    await settle(store, settled(work.key, work.endpoint, 1, Verdict.RETRY, retry_at_ms=NOON_MS + 9 * WEEK_MS))
    return key


async def _to_wake(store: Store, town: Town) -> DispatchKey:
    user = await add_user(store, town.app, "Bob")
    await store.apply(login(user, "Bob's phone"))
    await store.apply(SetPushToken("Bob's phone", "ios", "Bob's token"))
    key = await post(store, town.app, "Bob")
    await tell_all(store)
    return key


async def _waits(store: Store, town: Town) -> DispatchKey:
    key = await post(store, town.app, "Ann")
    await tell_all(store)
    return key


async def _told_again(store: Store, town: Town) -> DispatchKey:
    key = await through(store, town)
    spec = ReplaySpec("all", NOON_MS + WEEK_MS, endpoint=town.endpoint.id)
    await store.apply(CreateJob("job", town.app, spec))
    await store.apply(UpdateJob("job", state="paused"))
    return key


@pytest.mark.parametrize(
    ("pending", "by"), [(_owed, "lane"), (_to_wake, "command"), (_waits, "timer"), (_told_again, "job")]
)
def test_what_still_has_something_to_come_stays(
    pending: object, by: str, with_store: WithStore, clock: StillClock
) -> None:
    """A callback that waits, a deadline, a replay that is not through: the message stays, and what keeps it is said (TH)."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await pending(store, town)  # type: ignore[operator]
        clock.ms += 4 * WEEK_MS
        assert (await drop(store, clock.ms - 15 * DAY_MS))[1] == by
        assert await store.message(key[:16]) is not None

    with_store(story)


def test_a_message_whose_idempotency_key_is_remembered_stays(
    with_store: WithStore, clock: StillClock
) -> None:
    """For its day: whoever repeats the request is answered with a message that is there."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        accept = Accept(
            message_id(clock.ms), town.app, None, Body("hi"), (Addressee("nobody", "nobody"),),
            idempotency=Idempotency("scope", "key", b"digest"), render=lambda _: b"first",
        )  # fmt: skip
        committed = await store.commit(Batch(accepts=[accept]))
        assert isinstance(committed.accepts[0], Accepted)
        await tell_all(store)
        after_ms = (clock.ms // WEEK_MS + 1) * WEEK_MS
        clock.ms += DAY_MS - 1
        assert (await drop(store, after_ms))[1] == "idempotency"
        assert await store.message(accept.message_id) is not None
        clock.ms += 2
        assert (await drop(store, after_ms))[1] is None
        assert await store.message(accept.message_id) is None

    with_store(story)


def test_what_kept_a_message_comes_to_its_end(with_store: WithStore, clock: StillClock) -> None:
    """When the last callback was told it goes, and only then."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await _owed(store, town)
        clock.ms += 10 * WEEK_MS
        assert (await drop(store, clock.ms - 15 * DAY_MS))[1] == "lane"
        for work in (await store.claim_lanes(town.endpoint.id, 9)).lanes:
            await settle(store, settled(work.key, work.endpoint, 1, tries=work.tries))
        assert (await drop(store, clock.ms - 15 * DAY_MS))[1] is None
        assert await store.message(key[:16]) is None

    with_store(story)


def test_what_comes_late_for_a_message_that_is_gone_harms_nothing(
    with_store: WithStore, clock: StillClock
) -> None:
    """A receipt, an outcome, a note: nobody is told anything, and the batch is stored."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        old = await through(store, town)
        clock.ms += 4 * WEEK_MS
        assert (await drop(store, clock.ms - 15 * DAY_MS))[0] > 0
        await happen(store, old[:16], Received())
        committed = await settle(store, settled(old, town.endpoint.id, 1))
        assert committed.recorded == []
        key = await post(store, town.app, "Ann")
        assert await store.message(key[:16]) is not None

    with_store(story)


def test_an_sms_is_forgotten_with_its_message(with_store: WithStore, clock: StillClock) -> None:
    """A receipt that comes after all finds nothing; that of a younger message finds it."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        keys = {}
        for name in ("old", "young"):
            keys[name] = await through(store, town)
            sent = Occurrence(keys[name], Read(), sms=(("carrier", name),))
            await store.commit(Batch(occurrences=[sent]))
            clock.ms += 4 * WEEK_MS
        clock.ms -= 3 * WEEK_MS
        assert set(await store.find_sms("carrier", ["old", "young"])) == {"old", "young"}
        count, by = await drop(store, clock.ms - 15 * DAY_MS)
        while await store.prune(RETENTION, 500):
            pass
        assert (count > 0, by) == (True, None)
        assert await store.find_sms("carrier", ["old", "young"]) == {"young": keys["young"]}

    with_store(story)


def test_what_was_given_up_of_a_message_that_is_gone_is_not_told_again(
    with_store: WithStore, clock: StillClock
) -> None:
    """Not even before its dead letter is deleted: no lane is opened that would be about nothing."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        lost = await post(store, town.app, "nobody")
        await settle(store, settled(lost, town.endpoint.id, 1, Verdict.DEAD, reason="gave_up"))
        clock.ms += 4 * WEEK_MS
        assert (await drop(store, clock.ms - 15 * DAY_MS))[0] > 0
        await store.apply(
            CreateJob("job", town.app, ReplaySpec("dead", clock.ms + 1, endpoint=town.endpoint.id))
        )
        step = await store.replay_step("job", 9)
        assert (step.lanes, step.is_walked) == ([], True)
        assert (await drop(store, clock.ms))[1] is None

    with_store(story)
