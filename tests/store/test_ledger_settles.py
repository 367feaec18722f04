"""The ledger's promises about settles: what each outcome of a try does to its lane, on every store."""

import pytest
from tests.store.conftest import OpenStore, Run, WithStore
from tests.store.fakes import NOON_MS, happen
from tests.store.ledger import ATTEMPT, SOON_MS, build_town, numbers, post, settle, settled, told

from homing.lifecycle.dispatch import Read, Received
from homing.model import message_of
from homing.store.batch import Attempt, Verdict
from homing.store.port import Store


def test_a_success_clears_its_event_and_starts_the_tries_anew(with_store: WithStore) -> None:
    """The lane stays with its owner while more is pending, and is gone when nothing is."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await happen(store, message_of(key), Received())
        await settle(store, settled(key, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=NOON_MS))
        await store.claim_lanes(town.endpoint.id, 10)
        await settle(store, settled(key, town.endpoint.id, 1, tries=1, known=0b10))
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.settled, view.tries, view.owned) == (0b10, 0b01, 0, True)
        await settle(store, settled(key, town.endpoint.id, 2))
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.settled, view.owned) == (0, 0b11, False)
        assert (await store.outlook()).lanes_due == {}
        assert await store.held_lanes((b"", 0), 10) == []

    with_store(story)


def test_what_the_courier_does_not_know_of_comes_back_with_the_settle(with_store: WithStore) -> None:
    """Whether more is pending is read from the row: a lost hand-over is made good by the next settle."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await happen(store, message_of(key), Read())  # nobody heard of it
        committed = await settle(store, settled(key, town.endpoint.id, 1, known=0b010))
        assert numbers(committed.lanes) == [(town.endpoint.id, [3], 0, False)]

    with_store(story)


def test_several_outcomes_of_one_lane_in_one_batch(with_store: WithStore) -> None:
    """Success, giving up, success: each in its turn, and the lane is drained by the last."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await happen(store, message_of(key), Read())
        committed = await settle(
            store,
            settled(key, town.endpoint.id, 1, known=0b110),
            settled(key, town.endpoint.id, 2, Verdict.DEAD, known=0b100, reason="tries_spent"),
            settled(key, town.endpoint.id, 3),
        )
        assert committed.lanes == []
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.settled, view.dead) == (0, 0b101, 0b010)
        assert await store.held_lanes((b"", 0), 10) == []

    with_store(story)


def test_an_event_given_up_late_and_the_next_told_in_one_batch(with_store: WithStore) -> None:
    """Giving up counts from the tries it was given up with, though a later event of the lane succeeds beside it."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await happen(store, message_of(key), Received())
        await settle(store, settled(key, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=NOON_MS))
        await store.claim_lanes(town.endpoint.id, 10)
        await settle(
            store,
            settled(key, town.endpoint.id, 1, Verdict.DEAD, tries=1, known=0b10),
            settled(key, town.endpoint.id, 2),
        )
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.settled, view.dead) == (0, 0b10, 0b01)

    with_store(story)


def test_giving_up_then_failing_in_one_batch(with_store: WithStore) -> None:
    """The next event is put off with its own first try spent."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await happen(store, message_of(key), Received())
        await settle(
            store,
            settled(key, town.endpoint.id, 1, Verdict.DEAD, known=0b10),
            settled(key, town.endpoint.id, 2, Verdict.RETRY, retry_at_ms=SOON_MS),
        )
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.dead, view.tries, view.due_ms) == (0b10, 0b01, 1, SOON_MS)

    with_store(story)


def test_a_retry_lets_the_lane_go(with_store: WithStore) -> None:
    """One try is spent, the lane waits in the store until its time, and the commit says until when."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        first, second = await post(store, town.app, "Ann"), await post(store, town.app, "Ann")
        committed = await settle(
            store,
            settled(first, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=SOON_MS + 1),
            settled(second, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=SOON_MS),
        )
        assert committed.lanes_due == {town.endpoint.id: SOON_MS}
        assert (await store.outlook()).lanes_due == {town.endpoint.id: SOON_MS}
        assert (await told(store, first))[town.endpoint.uid].tries == 1
        assert await store.held_lanes((b"", 0), 10) == []

    with_store(story)


def test_every_try_is_in_the_attempt_log(with_store: WithStore) -> None:
    """Numbered from 1 within its event, whatever became of it; giving up without a try leaves no line."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await happen(store, message_of(key), Received())
        failed = Attempt(5, 6, 500, "5xx", "127.0.0.1", b"no")
        await settle(
            store, settled(key, town.endpoint.id, 1, Verdict.RETRY, attempt=failed, retry_at_ms=NOON_MS)
        )
        await store.claim_lanes(town.endpoint.id, 1)
        await settle(store, settled(key, town.endpoint.id, 1, tries=1, known=0b10))
        await settle(store, settled(key, town.endpoint.id, 2, Verdict.DEAD, attempt=None))
        lines = await store.attempts(town.endpoint.id, None, 10)
        assert [(line.n, line.tries, line.attempt) for line in lines] == [(1, 2, ATTEMPT), (1, 1, failed)]

    with_store(story)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_naming_wrong_tries_changes_nothing_but_a_success(with_store: WithStore, verdict: Verdict) -> None:
    """An outcome from a stand that is no more is an attempt and nothing else; a 2xx still clears its event."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await settle(store, settled(key, town.endpoint.id, 1, verdict, tries=7, retry_at_ms=SOON_MS))
        view = (await told(store, key))[town.endpoint.uid]
        assert len(await store.attempts(town.endpoint.id, None, 10)) == 1
        if verdict is Verdict.DONE:
            assert (view.pending, view.settled, view.dead) == (0, 1, 0)
        else:
            assert (view.pending, view.settled, view.dead, view.tries, view.owned) == (1, 0, 0, 0, True)

    with_store(story)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_an_outcome_from_one_who_let_go_changes_nothing_but_a_success(
    with_store: WithStore, verdict: Verdict
) -> None:
    """The lane was given back while its try was under way: only a 2xx still clears its event."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await store.release([(key, town.endpoint.id)])
        await settle(store, settled(key, town.endpoint.id, 1, verdict, retry_at_ms=SOON_MS))
        view = (await told(store, key))[town.endpoint.uid]
        if verdict is Verdict.DONE:
            assert (view.pending, view.settled, view.dead) == (0, 1, 0)
        else:
            assert (view.pending, view.settled, view.dead, view.due_ms) == (1, 0, 0, NOON_MS)

    with_store(story)


def test_a_failure_of_an_event_that_was_told_meanwhile_puts_nothing_off(with_store: WithStore) -> None:
    """Its lane stands at the next event, whose tries are its own."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await happen(store, message_of(key), Received())
        await settle(store, settled(key, town.endpoint.id, 1, known=0b10))
        await settle(store, settled(key, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=SOON_MS))
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.tries, view.owned) == (0b10, 0, True)

    with_store(story)


def test_a_late_success_of_a_later_event_spends_and_gives_no_tries(with_store: WithStore) -> None:
    """The tries are those of the lane's first pending event, and only its own success begins them anew."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await happen(store, message_of(key), Received())
        await settle(store, settled(key, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=SOON_MS))
        await settle(store, settled(key, town.endpoint.id, 2))
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.settled, view.tries, view.due_ms) == (0b01, 0b10, 1, SOON_MS)

    with_store(story)


def test_a_late_success_cannot_revive_the_dead(with_store: WithStore) -> None:
    """An event is told, given up or pending, and never two of these."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await settle(store, settled(key, town.endpoint.id, 1, Verdict.DEAD))
        await settle(store, settled(key, town.endpoint.id, 1))
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.settled, view.dead) == (0, 0, 1)

    with_store(story)


def test_giving_up_what_was_told_changes_nothing(with_store: WithStore) -> None:
    """As above, the other way round; nor does settling twice."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        done, dead = settled(key, town.endpoint.id, 1), settled(key, town.endpoint.id, 1, Verdict.DEAD)
        await settle(store, done, dead, done)
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.settled, view.dead) == (0, 1, 0)

    with_store(story)


def test_what_is_told_and_given_up_survives_a_restart(open_again: OpenStore, run: Run) -> None:
    """With the pending rest, which the next process takes over."""

    async def story() -> None:
        async with open_again() as store:
            town = await build_town(store)
            key = await post(store, town.app, "Ann")
            await happen(store, message_of(key), Read())
            await settle(store, settled(key, town.endpoint.id, 1, known=0b110))
            await settle(store, settled(key, town.endpoint.id, 2, Verdict.DEAD, known=0b100))
        async with open_again() as store:
            (work,) = await store.adopt_lanes((b"", 0), 10)
            assert numbers([work]) == [(town.endpoint.id, [3], 0, True)]
            view = (await told(store, key))[town.endpoint.uid]
            assert (view.pending, view.settled, view.dead) == (0b100, 0b001, 0b010)

    run(story())
