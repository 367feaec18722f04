"""Endpoints that fall ill: they rest, are asked now and then, wake, and nothing is lost or spent meanwhile."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from tests.callbacks.conftest import AtWork
from tests.callbacks.office import Answer, Office, Try
from tests.engine.fakes import until
from tests.store.fakes import DAY_MS

from homing.callbacks.health import REST_AFTER
from homing.callbacks.pace import START
from homing.callbacks.verdict import Outcome
from homing.lifecycle.dispatch import Read, Received
from homing.model import Endpoint
from homing.store.batch import Outlook
from homing.store.changes import DisableEndpoint, EnableEndpoint, UpdateEndpoint

DOWN = Answer(error=Outcome.CONNECT)


async def state_of(place: Office, endpoint: Endpoint) -> Endpoint:
    """Return the endpoint as the store has it."""
    found = await place.store.endpoint(endpoint.app, endpoint.uid)
    assert found is not None
    return found


async def fall_ill(place: Office, endpoint: Endpoint, sends: int = REST_AFTER) -> None:
    """Let so many messages fail at a receiver that is down."""
    place.sender.answer = lambda _: DOWN
    for _ in range(sends):
        await place.send()
    await place.quiet()
    assert (await state_of(place, endpoint)).state == "resting"


def out_of_order(tries: Sequence[Try]) -> list[str]:
    """Return the dispatches of which an event was told that is not the one after the last (repeats are none)."""
    seen: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    for one in tries:
        told = seen[one.endpoint, one.body["messageId"], one.body["recipient"]]
        if not told or told[-1] != one.body["status"]:
            told.append(one.body["status"])
    lawful = (["enqueued", "delivered", "read"], ["enqueued", "expired"])
    return [str(key) for key, told in seen.items() if told not in (life[: len(told)] for life in lawful)]


def test_ten_failures_in_a_row_rest_it_and_no_more_tries_are_spent(at_work: AtWork) -> None:
    """The reason is told; what waits has spent one try or none; one probe at 30 s, one at 60 s more."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await fall_ill(place, endpoint, 40)
        ill = await state_of(place, endpoint)
        assert ill.state_reason is not None
        assert "10 failures in a row" in ill.state_reason
        assert ill.failing_since_ms == place.clock.ms
        spent = len(place.sender.tries)
        assert spent <= 16 + REST_AFTER
        await place.push(29_000)
        assert len(place.sender.tries) == spent
        await place.push(1_000)
        assert len(place.sender.tries) == spent + 1
        await place.push(59_000)
        assert len(place.sender.tries) == spent + 1
        await place.push(1_000)
        assert len(place.sender.tries) == spent + 2

    at_work(story)


def test_an_answer_wakes_it_and_everything_is_told(at_work: AtWork) -> None:
    """Whatever was owed comes, each once, and fewer at a time at first."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await fall_ill(place, endpoint, 60)
        before = len(place.sender.tries)
        place.sender.answer = lambda _: Answer()
        place.sender.most_open = 0
        await place.push(30_000)
        await place.push(10_000)
        assert (await state_of(place, endpoint)).state == "active"
        assert len(place.sender.tries) - before == 60
        assert place.sender.most_open < START
        assert +Counter(place.courier.health()) == {"active": 1}

    at_work(story)


@pytest.mark.parametrize("answer", [Answer(404), Answer(302), Answer(400)])
def test_an_answer_that_fails_only_its_event_wakes_it_too(at_work: AtWork, answer: Answer) -> None:
    """It proves the endpoint alive; the probe itself has spent no try."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await fall_ill(place, endpoint)
        place.sender.answer = lambda _: answer
        await place.push(30_000)
        assert (await state_of(place, endpoint)).state == "active"

    at_work(story)


def test_a_probe_that_could_not_be_sent_wakes_nobody(at_work: AtWork) -> None:
    """That we had no file descriptor says nothing about the endpoint: it rests on, and failing since it did."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await fall_ill(place, endpoint)
        since_ms = (await state_of(place, endpoint)).failing_since_ms
        before = len(place.sender.tries)
        place.sender.answer = lambda _: Answer(error=Outcome.OURS)
        await place.push(30_000)
        ill = await state_of(place, endpoint)
        assert (ill.state, ill.failing_since_ms) == ("resting", since_ms)
        await place.push(60_000)
        assert [one.attempt for one in place.sender.tries[before:]] == [2, 2], "no try was spent"

    at_work(story)


@pytest.mark.parametrize("answer", [Answer(404), Answer(301)])
def test_events_that_fail_alone_never_rest_an_endpoint(at_work: AtWork, answer: Answer) -> None:
    """Thirty of them in a row say nothing about the endpoint."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: answer
        for _ in range(30):
            await place.send()
        await place.quiet()
        assert (await state_of(place, endpoint)).state == "active"

    at_work(story)


def test_three_days_down_and_back_in_order_paced_and_without_a_try_spent(at_work: AtWork) -> None:
    """Messages go on living meanwhile; afterwards every event is told in its order, and nothing was given up."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await fall_ill(place, endpoint)
        keys = []
        probes = 0
        for hour in range(72):
            keys.append(await place.send())
            await place.happen(keys[-1], Received(place.clock.ms))
            await place.happen(keys[-1], Read(place.clock.ms))
            before = len(place.sender.tries)
            for _ in range(6):
                await place.push(600_000)
            probes = len(place.sender.tries) - before
            if hour > 1:
                assert probes == 6, "one every ten minutes, however many events wait"
        down = len(place.sender.tries)
        place.sender.answer = lambda _: Answer()
        place.sender.most_open = 0
        await place.push(600_000)
        await place.push(60_000)
        told = place.sender.tries[down:]
        assert len([t for t in told if t.body["status"] == "read"]) == 72
        assert out_of_order(told) == []
        for key in keys:
            view = await place.told(key, endpoint)
            assert (view.settled, view.dead, view.pending) == (0b111, 0, 0)
        assert max(t.attempt for t in told if t.body["status"] != "enqueued") == 1
        assert place.sender.most_open < START, "it climbs from a few at a time"

    at_work(story)


def test_five_days_of_nothing_but_failures_disable_it(at_work: AtWork) -> None:
    """What it was owed is dead, and shown; enabled again it hears of what is new."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await fall_ill(place, endpoint)
        for _ in range(5 * 24 * 6 + 6):
            await place.push(600_000)
        ill = await state_of(place, endpoint)
        assert ill.state == "disabled"
        assert ill.disabled_at_ms is not None
        assert sum(group.count for group in await place.store.dead_groups(endpoint.id)) == 2 * REST_AFTER
        await place.store.apply(EnableEndpoint(endpoint.app, endpoint.uid))
        place.sender.answer = lambda _: Answer()
        key = await place.send()
        await place.quiet()
        assert (await place.told(key, endpoint)).settled == 1

    at_work(story)


def test_the_probe_is_not_always_the_oldest_lane(at_work: AtWork) -> None:
    """A poisoned lane at the head must not keep a healthy endpoint asleep."""

    def distinct(chances: list[float]) -> int:
        asked: list[int] = []

        async def story(place: Office) -> None:
            endpoint = await place.add_endpoint()
            await fall_ill(place, endpoint, 40)
            before = len(place.sender.tries)
            for _ in range(12):
                await place.push(600_000)
            asked.append(len({t.webhook_id for t in place.sender.tries[before:]}))

        left = iter(chances * 1_000)
        at_work(story, chance=lambda: next(left))
        return asked[0]

    assert distinct([0.1, 0.9, 0.5, 0.3, 0.7]) >= 3


def test_a_pause_stops_everything_and_its_end_everything_owed(at_work: AtWork) -> None:
    """Events recorded meanwhile wait in the store, without a try."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        paused = UpdateEndpoint(
            endpoint.app, endpoint.uid, endpoint.url, endpoint.form, None, "s", None, paused=True
        )
        await place.store.apply(paused)
        keys = [await place.send() for _ in range(5)]
        await place.push(DAY_MS)
        assert place.sender.tries == []
        assert place.courier.waiting() == {}
        assert +Counter(place.courier.health()) == {"paused": 1}
        await place.store.apply(
            UpdateEndpoint(endpoint.app, endpoint.uid, endpoint.url, endpoint.form, None, "s", None)
        )
        await until(lambda: len(place.sender.tries) == 5)
        await place.quiet()
        assert {(await place.told(key, endpoint)).settled for key in keys} == {1}

    at_work(story)


def test_ten_minutes_of_429_cost_no_event(at_work: AtWork) -> None:
    """Each asks for a minute; the endpoint is left alone for that long, and everything comes in the end."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: Answer(429, retry_after="60")
        keys = [await place.send() for _ in range(30)]
        for _ in range(10):
            before = len(place.sender.tries)
            await place.push(60_000)
            assert len(place.sender.tries) - before <= 20
        place.sender.answer = lambda _: Answer()
        for _ in range(20):
            await place.push(600_000)
        assert {(await place.told(key, endpoint)).settled for key in keys} == {1}

    at_work(story, delays_ms=(60_000,) * 12)


def test_those_who_watch_endpoints_are_told(at_work: AtWork) -> None:
    """Each death, resting, disabled: once each, and nothing about themselves; what a disabling gives up is not told beside."""

    async def story(place: Office) -> None:
        watcher = await place.add_endpoint(kind="operations")
        endpoint = await place.add_endpoint()
        ill = Answer(404)
        place.sender.answer = lambda t: Answer() if t.endpoint == watcher.id else ill
        given_up = [await place.send() for _ in range(2)]
        await place.push(5_000)
        await place.push(30_000)
        ill = DOWN
        for _ in range(REST_AFTER):
            await place.send()
        await place.quiet()
        await place.store.apply(DisableEndpoint(endpoint.id, "by hand"))
        await place.push(30_000)
        await place.push(30_000)
        told = [t.body for t in place.sender.tries if t.endpoint == watcher.id]
        deaths = ["callback.dead"] * len(given_up)
        assert [fact["type"] for fact in told] == [*deaths, "endpoint.resting", "endpoint.disabled"]
        assert {fact["endpointId"] for fact in told} == {endpoint.uid}

    at_work(story)


def test_many_that_fall_ill_at_once_ask_the_store_about_themselves_alone(at_work: AtWork) -> None:
    """A look at every endpoint for each that rests would stop the others; who is told of it hears of it all the same."""

    async def story(place: Office) -> None:
        ill = [await place.add_endpoint() for _ in range(8)]
        watcher = await place.add_endpoint(kind="operations")
        outlook, looks = place.store.outlook, []

        async def counted() -> Outlook:
            looks.append(1)
            return await outlook()

        place.store.outlook = counted  # type: ignore[method-assign]
        place.sender.answer = lambda one: Answer() if one.endpoint == watcher.id else DOWN
        for _ in range(REST_AFTER):
            await place.send()
        await place.quiet()
        assert place.courier.health()["resting"] == len(ill)
        told = [one.body["endpointId"] for one in place.sender.tries if one.endpoint == watcher.id]
        assert sorted(told) == sorted(endpoint.uid for endpoint in ill)
        assert looks == []

    at_work(story)
