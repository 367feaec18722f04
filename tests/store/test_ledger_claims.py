"""The ledger's promises about lanes that are left over: claims, release, adoption, on every store."""

import pytest
from tests.store.conftest import OpenStore, Run, WithStore
from tests.store.fakes import NOON_MS, StillClock, happen, number
from tests.store.ledger import add_endpoint, build_town, numbers, post, settle, settled, told

from homing.contract.status import Status
from homing.lifecycle.dispatch import Read, Received
from homing.model import message_of
from homing.store.batch import Batch, Occurrence, Verdict
from homing.store.port import Store
from homing.store.sqlite import claims


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


def test_a_walk_finds_the_few_among_the_many_that_wait(
    open_again: OpenStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many lanes are looked at in one go: those held before and since are found, each once, and then no more."""
    monkeypatch.setattr(claims, "STRETCH", 3)

    async def story() -> None:
        async with open_again() as store:
            town = await build_town(store)
            keys = [await post(store, town.app, "Ann") for _ in range(20)]
            held = {0, 7, 8, 9, 19}
            for number, key in enumerate(keys):
                if number not in held:
                    await put_off(store, key, town.endpoint.id, NOON_MS + 60_000)
        async with open_again() as store:
            for walk in (store.adopt_lanes, store.held_lanes):
                found: list[bytes] = []
                after: tuple[bytes, int] = (b"", 0)
                while works := await walk(after, 2):
                    assert len(works) <= 2
                    found += [work.key for work in works]
                    after = (works[-1].key, works[-1].endpoint)
                assert found == [keys[number] for number in sorted(held)]
            assert await store.adopt_lanes((b"", 0), 2) == []

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
