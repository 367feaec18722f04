"""The courier among many endpoints: turns, limits, and what does not fit in memory (DESIGN.md §6)."""

import asyncio

import pytest
from tests.callbacks.conftest import AtWork
from tests.callbacks.office import Answer, Office, script
from tests.engine.fakes import until

from homing.callbacks import lanes


def test_one_with_many_lanes_does_not_hold_up_one_with_a_single_lane(at_work: AtWork) -> None:
    """A quarter of all places is left for others while one could fill them all."""

    async def story(place: Office) -> None:
        many = await place.add_endpoint()
        place.sender.answer = lambda _: None
        place.engine.born_free = frozenset
        for _ in range(30):
            await place.send()
        await until(lambda: len(place.sender.open) == 6)
        few = await place.add_endpoint()
        await place.send()
        assert place.sender.statuses(few.id) == ["enqueued"]
        assert place.sender.statuses(many.id) == ["enqueued"] * 6
        place.sender.answer = lambda _: Answer()
        while place.sender.open:
            place.sender.let_go()
        await place.quiet()

    at_work(story, max_in_flight=8)


def test_endpoints_take_turns(at_work: AtWork) -> None:
    """Where each has more lanes than there are places, each has as many of them on their way."""

    async def story(place: Office) -> None:
        one, other = await place.add_endpoint(), await place.add_endpoint()
        place.sender.answer = lambda _: None
        place.engine.born_free = frozenset
        for _ in range(30):
            await place.send()
        await until(lambda: len(place.sender.open) == 6)
        place.sender.answer = lambda _: Answer()
        started = [place.sender.statuses(e.id) for e in (one, other)]
        assert {len(s) for s in started} == {3}, "three quarters of eight, shared"
        while place.sender.open:
            place.sender.let_go()
            await asyncio.sleep(0)
        await place.quiet()
        assert [len(place.sender.statuses(e.id)) for e in (one, other)] == [30, 30]

    at_work(story, max_in_flight=8)


def test_no_more_than_allowed_are_under_way(at_work: AtWork) -> None:
    """Per endpoint it starts with 16 at a time, or fewer if the setting says so."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: None
        for _ in range(40):
            await place.send()
        await until(lambda: len(place.sender.open) == 5)
        place.sender.answer = lambda _: Answer()
        while place.sender.open:
            place.sender.let_go()
            await asyncio.sleep(0)
        await place.quiet()
        assert len(place.sender.tries) == 40
        assert place.sender.most_open <= 5

    at_work(story, max_per_endpoint=5)


def test_an_overloaded_endpoint_gets_fewer_at_a_time(at_work: AtWork) -> None:
    """429 halves; what is left over waits its turn, and everything is told in the end."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = script(*[Answer(429)] * 9)
        for _ in range(50):
            await place.send()
        await place.quiet()
        berth = place.courier._lanes.berth(endpoint.id)
        assert berth.pace.allowed < 16
        await place.push(5_000)
        assert len(place.sender.tries) == 59

    at_work(story)


def test_what_does_not_fit_in_memory_waits_in_the_store(
    at_work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New lanes are born free when an endpoint's room is full, and claimed as room comes; all are told, each once."""
    monkeypatch.setattr(lanes, "ROOM_PER_ENDPOINT", 6)

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        keys = [await place.send() for _ in range(40)]
        assert place.courier.waiting()[endpoint.id] <= 7
        assert not place.courier.is_quiet()
        place.sender.answer = lambda _: Answer()
        while place.sender.open:
            place.sender.let_go()
            await asyncio.sleep(0)
        await place.quiet()
        assert [seen.attempt for seen in place.sender.tries] == [1] * 40
        assert {(await place.told(key, endpoint)).settled for key in keys} == {1}
        assert place.courier.waiting() == {}

    at_work(story)


def test_memory_is_bounded_over_all_endpoints(at_work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog at many endpoints is claimed no faster than there is room in all; each gets its share."""
    monkeypatch.setattr(lanes, "ROOM", 12)

    async def story(place: Office) -> None:
        endpoints = [await place.add_endpoint() for _ in range(6)]
        place.engine.born_free = lambda: frozenset(e.id for e in endpoints)
        place.sender.answer = lambda _: None
        for _ in range(10):
            await place.send()
        await until(lambda: len(place.sender.open) == 12)
        assert sum(place.courier.waiting().values()) <= 12 + 6 * 2
        place.sender.answer = lambda _: Answer()
        while place.sender.open:
            place.sender.let_go()
            await asyncio.sleep(0)
        await place.quiet()
        assert {len(place.sender.statuses(e.id)) for e in endpoints} == {10}

    at_work(story, max_per_endpoint=2)


def test_a_backlog_of_retries_is_claimed_in_portions(at_work: AtWork) -> None:
    """Hundreds that fall due together are all told, none twice."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = script(*[Answer(404)] * 300)
        for _ in range(300):
            await place.send()
        await place.push(5_000)
        assert len(place.sender.tries) == 600
        assert place.courier.waiting() == {}

    at_work(story)
