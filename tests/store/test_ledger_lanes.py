"""The ledger's promises about lanes: who hears of an event, and whose its lane is, on every store."""

from tests.store.conftest import WithStore
from tests.store.fakes import NOON_MS, add_app, add_user, happen, new_endpoint, number, send
from tests.store.ledger import (
    SOON_MS,
    add_endpoint,
    build_town,
    incoming,
    numbers,
    post,
    settle,
    settled,
    told,
)

from homing.contract.status import Status, mask
from homing.lifecycle.dispatch import PushAccepted, Read, Received
from homing.model import INCOMING_POSITION, dispatch_key, message_of
from homing.store.batch import Batch, IncomingFacts, Occurrence, Verdict
from homing.store.changes import DeleteEndpoint, DisableEndpoint, UpdateEndpoint
from homing.store.port import Store


def test_each_endpoint_hears_what_its_filter_lets_through(with_store: WithStore) -> None:
    """A lane holds the events that match, and an endpoint none of whose statuses came has no lane."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        reads = await add_endpoint(store, town.app, statuses=mask((Status.READ,)))
        await add_endpoint(store, town.app, statuses=mask((Status.EXPIRED,)))
        key = await post(store, town.app, "Ann")
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Read())]))
        assert numbers(committed.lanes) == [(town.endpoint.id, [2, 3], 0, False), (reads.id, [3], 0, True)]
        assert {uid: view.pending for uid, view in (await told(store, key)).items()} == {
            town.endpoint.uid: 0b111, reads.uid: 0b100,
        }  # fmt: skip

    with_store(story)


def test_only_the_applications_own_endpoints_hear(with_store: WithStore) -> None:
    """Another application's endpoint hears nothing, nor does a disabled one, nor an inbox."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        stranger = await add_app(store)
        await add_endpoint(store, stranger.id)
        off = await add_endpoint(store, town.app)
        await store.apply(DisableEndpoint(off.id, "410"))
        await add_endpoint(store, town.app, kind="inbox")
        key = await post(store, town.app, "Ann")
        assert set(await told(store, key)) == {town.endpoint.uid}

    with_store(story)


def test_who_hears_is_decided_by_the_commit(with_store: WithStore) -> None:
    """An endpoint hears of what is recorded while it exists, is enabled and its filter matches; no sooner, no later."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        key = await post(store, app.id, "Ann")
        endpoint = await add_endpoint(store, app.id)
        await happen(store, message_of(key), PushAccepted())
        only_read = UpdateEndpoint(
            app.id, endpoint.uid, endpoint.url, "json", mask((Status.READ,)), "s", None
        )
        await store.apply(only_read)
        await happen(store, message_of(key), Received())
        await happen(store, message_of(key), Read())
        assert (await told(store, key))[endpoint.uid].pending == 0b1010

    with_store(story)


def test_a_deleted_endpoints_late_outcome_changes_nothing(with_store: WithStore) -> None:
    """Its lanes are gone; a try that was under way may still settle without harm."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await store.apply(DeleteEndpoint(town.app, town.endpoint.uid))
        for verdict in Verdict:
            committed = await settle(store, settled(key, town.endpoint.id, 1, verdict, retry_at_ms=SOON_MS))
            assert committed.lanes == []
        assert await told(store, key) == {}

    with_store(story)


def test_an_event_for_a_lane_that_is_held_is_handed_over(with_store: WithStore) -> None:
    """The owner gets it as further work (not fresh); nothing is opened twice."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Received())]))
        assert numbers(committed.lanes) == [(town.endpoint.id, [2], 0, False)]
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.owned, view.due_ms) == (0b11, True, None)

    with_store(story)


def test_an_event_for_a_lane_that_waits_is_only_noted(with_store: WithStore) -> None:
    """A later event must not overtake the retry of the one before it: it waits in the row."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        await settle(store, settled(key, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=SOON_MS))
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Received())]))
        assert committed.lanes == []
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.tries, view.due_ms, view.owned) == (0b11, 1, SOON_MS, False)

    with_store(story)


def test_an_event_for_a_lane_in_whose_commit_it_is_put_off_is_only_noted(with_store: WithStore) -> None:
    """Settles come before occurrences within one batch."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        retry = settled(key, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=SOON_MS)
        committed = await store.commit(Batch(settles=[retry], occurrences=[Occurrence(key, Received())]))
        assert committed.lanes == []
        assert committed.lanes_due == {town.endpoint.id: SOON_MS}
        assert (await told(store, key))[town.endpoint.uid].pending == 0b11

    with_store(story)


def test_an_event_after_the_lane_drained_opens_a_new_one(with_store: WithStore) -> None:
    """Also within one batch: the settle deletes the row, the event opens a fresh lane with tries of its own."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        done = settled(key, town.endpoint.id, 1)
        committed = await store.commit(Batch(settles=[done], occurrences=[Occurrence(key, Received())]))
        assert numbers(committed.lanes) == [(town.endpoint.id, [2], 0, True)]
        assert committed.settled == [done]
        view = (await told(store, key))[town.endpoint.uid]
        assert (view.pending, view.settled, view.dead) == (0b10, 0b01, 0)

    with_store(story)


def test_lanes_of_crowded_endpoints_are_born_free(with_store: WithStore) -> None:
    """They wait in the store, due at once; a lane that is held already still gets its further events."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        other = await add_endpoint(store, town.app)
        old = await post(store, town.app, "Ann")
        crowded = frozenset({town.endpoint.id})
        sent = await send(store, town.app, "Ann")
        await settle(store, settled(dispatch_key(sent, 0), town.endpoint.id, 1))
        batch = Batch(
            occurrences=[Occurrence(old, Received()), Occurrence(dispatch_key(sent, 0), Received())],
            born_free=crowded,
        )
        committed = await store.commit(batch)
        assert numbers(committed.lanes) == [
            (town.endpoint.id, [2], 0, False), (other.id, [2], 0, False), (other.id, [2], 0, False),
        ]  # fmt: skip
        assert committed.lanes_due == {town.endpoint.id: NOON_MS}
        view = (await told(store, dispatch_key(sent, 0)))[town.endpoint.uid]
        assert (view.pending, view.due_ms, view.owned) == (0b10, NOON_MS, False)
        claimed = await store.claim_lanes(town.endpoint.id, 10)
        assert numbers(claimed.lanes) == [(town.endpoint.id, [2], 0, True)]

    with_store(story)


def test_an_incoming_message_waits_for_a_crowded_inbox_too(with_store: WithStore) -> None:
    """And is claimed with all that its callback says."""

    async def story(store: Store) -> None:
        town = await build_town(store, kind="inbox")
        message = incoming(store, town, bytes(15) + b"1", client_ref="r")
        committed = await store.commit(Batch(incomings=[message], born_free=frozenset({town.endpoint.id})))
        assert committed.lanes == []
        (work,) = (await store.claim_lanes(town.endpoint.id, 10)).lanes
        assert work.key == dispatch_key(message.message_id, INCOMING_POSITION)
        assert work.events == ((1, 0, NOON_MS),)
        assert isinstance(work.facts, IncomingFacts)
        assert (work.facts.app, work.facts.identifier) == (town.app, "Ann")
        await settle(store, settled(work.key, town.endpoint.id, 1))
        assert (await told(store, work.key))[town.endpoint.uid].settled == 1

    with_store(story)


def test_filters_of_many_endpoints_and_events_agree_with_the_rows(with_store: WithStore) -> None:
    """For every endpoint, the union of what is pending, told and dead is exactly what its filter asks for."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        filters = [None, *(1 << number(s) for s in (Status.ENQUEUED, Status.READ)), mask((Status.PUSH_SENT,))]
        endpoints = [(await store.apply(new_endpoint(app.id, statuses=f))).value for f in filters]
        key = await post(store, app.id, "Ann")
        for what in (PushAccepted(), Received(), Read()):
            await happen(store, message_of(key), what)
        view = await store.message(message_of(key))
        assert view is not None
        events = view.dispatches[0].events
        callbacks = await told(store, key)
        for endpoint, wanted in zip(endpoints, filters, strict=True):
            bits = sum(1 << (e.n - 1) for e in events if wanted is None or wanted >> e.status & 1)
            assert callbacks[endpoint.uid].pending == bits  # type: ignore[attr-defined]

    with_store(story)
