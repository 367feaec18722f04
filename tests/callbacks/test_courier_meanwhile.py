"""A look at the lanes that are ours finds one that is on its way to this node, or back to the store (DESIGN.md §3)."""

import asyncio

import pytest
from tests.callbacks.conftest import AtWork
from tests.callbacks.late import Late, about, late, let_go, stored
from tests.callbacks.office import Answer, Office, script
from tests.engine.fakes import until

from homing.callbacks.health import REST_AFTER
from homing.callbacks.replay import Replays
from homing.lifecycle.dispatch import Read, Received
from homing.model import DispatchKey, Endpoint, ReplaySpec, uuid_text
from homing.store.changes import CreateJob, UpdateEndpoint


async def orphan(place: Office) -> None:
    """Make what is held that of a process that is no more."""
    await place.store._db.write(lambda c: c.execute("UPDATE lane SET owner = owner - 1 WHERE due IS NULL"))


async def looked(place: Office, key: DispatchKey) -> None:
    """Look for the lanes of a message that may be ours, and wait until that is through."""
    leftovers = place.courier._leftovers
    before = leftovers._busy
    place.courier.on_unknown(about(place, key))
    await until(lambda: leftovers._busy == before)


async def paused(place: Office, endpoint: Endpoint, *, is_paused: bool) -> None:
    """Have an endpoint's owner pause it, or let it go on."""
    of = (endpoint.app, endpoint.uid, endpoint.url, endpoint.form, None, "s", None)
    await place.store.apply(UpdateEndpoint(*of, paused=is_paused))


def test_what_is_on_its_way_back_to_the_store_is_not_found(at_work: AtWork) -> None:
    """The store says that it is ours until it has it back; told meanwhile it could be told by another node too."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        keys = [await place.send() for _ in range(20)]
        begun = len(place.sender.tries)
        assert begun < len(keys)
        ledger = late(place)
        ledger.keeps = "release"
        await paused(place, endpoint, is_paused=True)
        place.sender.let_go()
        await until(lambda: ledger.is_asked)
        await paused(place, endpoint, is_paused=False)
        begun = len(place.sender.tries)
        for key in keys:
            await looked(place, key)
        assert len(place.sender.tries) == begun
        place.sender.answer = lambda _: Answer()
        ledger.hear()
        for _ in tuple(place.sender.open):
            place.sender.let_go()
        await place.quiet()
        assert len(place.sender.tries) == len({seen.webhook_id for seen in place.sender.tries}) == len(keys)
        assert {(await place.told(key, endpoint)).settled for key in keys} == {1}

    at_work(story, wrap=Late)


def test_what_does_not_fit_here_and_goes_back_is_not_found(
    at_work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of what a process that is no more held, and this one has no room for."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        batch = await stored(place)
        (key,) = [accept.message_id for accept in batch.accepts]
        await orphan(place)
        ledger = late(place)
        ledger.keeps = "release"
        lanes = place.courier._lanes
        with monkeypatch.context() as patch:
            patch.setattr(lanes, "has_room", lambda _endpoint: False)
            place.courier.orphaned()
            await until(lambda: ledger.is_asked)
        await looked(place, DispatchKey(key + bytes(2)))
        assert place.sender.tries == []
        ledger.hear()
        await place.quiet()
        assert place.sender.statuses(endpoint.id) == ["enqueued"]

    at_work(story, wrap=Late)


def test_what_a_look_found_and_told_is_not_told_again_when_its_claim_is_answered(at_work: AtWork) -> None:
    """The claim was stored before the look, and its answer comes after all is over."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = script(Answer(500))
        key = await place.send()
        await place.quiet()
        ledger = late(place)
        ledger.keeps_claims = True
        place.clock.push(5_000)
        await until(lambda: ledger.claims)
        place.courier.on_unknown(about(place, key))
        await until(lambda: len(place.sender.tries) == 2)
        await let_go(place)
        ledger.hear()
        await place.quiet()
        assert [seen.attempt for seen in place.sender.tries] == [1, 2]
        assert (await place.told(key, endpoint)).settled == 1

    at_work(story, wrap=Late)


def test_what_a_look_found_and_told_is_not_told_again_when_it_is_adopted(at_work: AtWork) -> None:
    """The same of what a process that is no more held."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        batch = await stored(place)
        await orphan(place)
        ledger = late(place)
        ledger.keeps = "adopt"
        place.courier.orphaned()
        await until(lambda: ledger.is_asked)
        place.courier.on_unknown(batch)
        await until(lambda: place.sender.tries)
        await let_go(place)
        ledger.hear()
        await place.quiet()
        assert place.sender.statuses(endpoint.id) == ["enqueued"]

    at_work(story, wrap=Late)


@pytest.mark.parametrize("is_lost", [False, True], ids=["looked", "lost"])
def test_what_a_replay_opened_is_told_again_once(at_work: AtWork, *, is_lost: bool) -> None:
    """The same of a replay's lanes; those of a term that was lost meanwhile are another's by then."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        key = await place.send()
        await place.quiet()
        ledger = late(place)
        replays = Replays(ledger, place.store, place.store, place.courier, place.clock)
        place.store.watch(replays.changed)
        ledger.keeps = "replay"
        spec = ReplaySpec(which="all", until_ms=2**47, endpoint=endpoint.id)
        await place.store.apply(CreateJob("job", place.app, spec, None))
        await until(lambda: ledger.is_asked)
        if is_lost:
            place.courier.lost()
        else:
            place.courier.on_unknown(about(place, key))
            await until(lambda: len(place.sender.tries) == 2)
            await let_go(place)
        ledger.hear()
        await until(replays.is_quiet)
        await place.quiet()
        assert len(place.sender.tries) == (1 if is_lost else 2)
        await replays.close()

    at_work(story, wrap=Late)


def test_what_a_look_found_and_put_off_is_not_tried_before_it_is_due_when_its_commit_is_answered(
    at_work: AtWork,
) -> None:
    """The same of a lane that a batch made: it waits in the store by then, for whoever claims it."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        key = await place.send()
        await place.quiet()
        ledger = late(place)
        ledger.keeps = "commit"
        happening = asyncio.ensure_future(place.happen(key, Received()))
        await until(lambda: ledger.is_asked)
        place.sender.answer = script(Answer(500))
        place.courier.on_unknown(about(place, key))
        await until(lambda: len(place.sender.tries) == 2)
        ledger.hear()
        await happening
        await place.quiet()
        assert place.sender.statuses() == ["enqueued", "delivered"]
        await place.push(5_000)
        assert [seen.attempt for seen in place.sender.tries] == [1, 1, 2]
        await place.happen(key, Read())  # whatever a look found before, the next batch's lanes are news
        await place.quiet()
        assert place.sender.statuses()[-1] == "read"

    at_work(story, wrap=Late)


def test_a_probe_that_was_claimed_before_a_lost_term_is_not_sent_after_it(at_work: AtWork) -> None:
    """Its lane went to an owner that is no more; the endpoint is asked again in time."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: Answer(500)
        for _ in range(REST_AFTER):
            await place.send()
        await place.quiet()
        before = len(place.sender.tries)
        ledger = late(place)
        ledger.keeps_claims = True
        place.clock.push(30_000)
        await until(lambda: ledger.claims)
        place.courier.lost()
        ledger.hear()
        await place.quiet()
        await until(lambda: len(place.sender.tries) > before)
        lost = ledger.claims[0].lanes[0].key
        assert [seen.body["messageId"] for seen in place.sender.tries[before:]] != [uuid_text(lost)]

    at_work(story, wrap=Late)
