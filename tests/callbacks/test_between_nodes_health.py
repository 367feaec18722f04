"""Endpoints that fall ill, as several nodes see them: one finds out, all know, one asks, and whoever can reach it tells it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.callbacks.office import Answer
from tests.callbacks.offices import SharedOffice, offices
from tests.engine.fakes import until

from homing.callbacks import health, opinion
from homing.callbacks.health import REST_AFTER
from homing.callbacks.verdict import Outcome
from homing.model import Endpoint
from homing.store.changes import DisableEndpoint
from homing.store.port import Applied
from homing.store.postgres import PostgresStore

DOWN = Answer(error=Outcome.CONNECT)
Run = Callable[[Coroutine[Any, Any, None]], None]


async def found(places: list[SharedOffice]) -> Endpoint:
    """Found one endpoint that every place knows and that it is the first place's turn to ask after."""
    here = places[0]
    while True:
        endpoint = await here.add_endpoint()
        for place in places:
            place.app = here.app
            await place.beat()
        if endpoint.id % len(places) == 0:
            return endpoint
        await here.store.apply(DisableEndpoint(endpoint.id, "another's turn"))


async def states(places: list[SharedOffice], endpoint: Endpoint) -> list[tuple[str, bool]]:
    """Return what each place says of the endpoint: as the store has it, and whether it lets it rest."""
    said = []
    for place in places:
        stored = await place.store.endpoint(endpoint.app, endpoint.uid)
        assert stored is not None
        said.append((str(stored.state), place.courier._lanes.berth(endpoint.id).health.is_resting))
    return said


async def quiet(places: list[SharedOffice]) -> None:
    """Have every place hear what the others did, and come to rest."""
    for _ in range(2):
        for place in places:
            await place.beat()
            await place.quiet()


async def pass_by(places: list[SharedOffice], ms: int) -> int:
    """Let time pass; return how many tries were made meanwhile."""
    before = sum(len(place.sender.tries) for place in places)
    places[0].clock.push(ms)
    await quiet(places)
    return sum(len(place.sender.tries) for place in places) - before


async def fall_ill(places: list[SharedOffice], endpoint: Endpoint, sends: int = REST_AFTER) -> None:
    """Let the first place find out that the receiver is down; the others had nothing to tell it."""
    for place in places:
        place.sender.answer = lambda _: DOWN
    for _ in range(sends):
        await places[0].send()
    await quiet(places)
    assert await states(places, endpoint) == [("resting", True)] * len(places)


@pytest.mark.parametrize("is_heard", [True, False])
def test_what_one_finds_out_all_know_and_one_asks(
    run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """The node whose turn it is probes, the other does not; its success wakes both, and both tell what waits.

    Also where no notification arrives: every beat finds what was said.
    """
    if not is_heard:
        monkeypatch.setattr(PostgresStore, "_notified", lambda *_said: None)

    async def story() -> None:
        async with offices(dsn) as places:
            _here, there = places
            endpoint = await found(places)
            await fall_ill(places, endpoint)
            there_before = len(there.sender.tries)
            for _ in range(30):
                await there.send()
            await quiet(places)
            assert len(there.sender.tries) == there_before == 0, "it learnt that from the other"
            assert [await pass_by(places, ms) for ms in (29_000, 1_000, 59_000, 1_000)] == [0, 1, 0, 1]
            assert len(there.sender.tries) == 0
            for place in places:
                place.sender.answer = lambda _: Answer()
            await pass_by(places, 120_000)
            assert await states(places, endpoint) == [("active", False)] * 2
            await pass_by(places, 30_000)
            told = {
                one.webhook_id
                for place in places
                for one in place.sender.tries
                if one.endpoint == endpoint.id
            }
            assert len(told) == REST_AFTER + 30
            before = len(there.sender.tries)
            await there.send()
            await there.quiet()
            assert len(there.sender.tries) == before + 1, "it was woken by the other's word"

    run(story())


def test_when_the_one_who_asked_is_no_more_the_other_asks(run: Run, dsn: str) -> None:
    """Its turn passes over with its term, and the endpoint is woken in the end."""

    async def story() -> None:
        async with offices(dsn) as places:
            here, there = places
            endpoint = await found(places)
            await fall_ill(places, endpoint)
            await here.die()
            there.sender.answer = lambda _: Answer()
            assert await pass_by([there], 30_000) == 0
            await pass_by([there], 30_000)
            assert await states([there], endpoint) == [("active", False)]
            await pass_by([there], 30_000)
            assert len({one.webhook_id for one in there.sender.tries}) == REST_AFTER

    run(story())


def test_the_other_asks_too_if_seldom(run: Run, dsn: str) -> None:
    """The one whose turn it is may be the only one that cannot reach it."""

    async def story() -> None:
        async with offices(dsn) as places:
            _here, there = places
            endpoint = await found(places)
            await fall_ill(places, endpoint)
            there.sender.answer = lambda _: Answer()
            for _ in range(19):
                await pass_by(places, 30_000)
            assert there.sender.tries == []
            for _ in range(2):
                await pass_by(places, 30_000)
            assert (await states(places, endpoint))[1] == ("active", False)
            assert there.sender.tries

    run(story())


def test_a_node_that_cannot_reach_it_leaves_it_to_one_that_can(
    run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rests alone: what it was to tell the other tells, and days of its own failures disable nothing."""
    for place in (health, opinion):
        monkeypatch.setattr(place, "DISABLE_AFTER_MS", 1_800_000)

    async def story() -> None:
        async with offices(dsn) as places:
            here, there = places
            endpoint = await found(places)
            here.sender.answer = lambda _: DOWN
            await there.send()
            await quiet(places)
            for _ in range(2 * REST_AFTER):
                await here.send()
            await quiet(places)
            assert await states(places, endpoint) == [("active", True), ("active", False)]
            for _ in range(4):
                await pass_by(places, 600_000)
                await there.send()
                await here.send()
                await there.courier._leftovers.sweep()
            await pass_by(places, 600_000)
            assert await states(places, endpoint) == [("active", True), ("active", False)]
            await there.courier._leftovers.sweep()
            await quiet(places)
            keys = {one.webhook_id for one in there.sender.tries}
            assert len(keys) == 2 * REST_AFTER + 1 + 8, "all were told, by the one that can"
            here.sender.answer = lambda _: Answer()
            await there.send()
            await here.send()
            await pass_by(places, 600_000)
            assert await states(places, endpoint) == [("active", False)] * 2

    run(story())


def test_one_that_is_disabled_is_told_nothing_by_anybody(run: Run, dsn: str) -> None:
    """A 410 at one node: the other gives up what it holds."""

    async def story() -> None:
        async with offices(dsn, max_per_endpoint=1) as places:
            here, there = places
            endpoint = await found(places)
            there.sender.answer = lambda _: None
            keys = [await there.send() for _ in range(3)]
            await until(lambda: len(there.sender.open) == 1)
            here.sender.answer = lambda _: Answer(410)
            keys.append(await here.send())
            await here.quiet()
            await there.beat()
            there.sender.let_go()
            await quiet(places)
            assert [state for state, _ in await states(places, endpoint)] == ["disabled"] * 2
            told = [await here.told(key, endpoint) for key in keys]
            assert [(view.settled, view.dead) for view in told] == [(1, 0), (0, 1), (0, 1), (0, 1)]
            assert sum(len(place.sender.tries) for place in places) == 2

    run(story())


def test_the_last_word_stands(run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found out while the word before is on its way is said after it, never beside it; a failure repeats it."""
    monkeypatch.setattr(opinion, "_AGAIN_S", 0.0)

    async def story() -> None:
        async with offices(dsn, 1) as places:
            [here] = places
            endpoint = await found(places)
            apply, gate, said = here.node.apply, asyncio.Event(), list[str]()

            async def slowly(change: Any) -> Applied:
                said.append(change.state)
                await gate.wait()
                return await apply(change)

            here.courier._doctor._opinion._changes = type("Slow", (), {"apply": staticmethod(slowly)})()
            answers = [DOWN] * REST_AFTER
            here.sender.answer = lambda _: None
            for _ in range(REST_AFTER + 1):
                await here.send()
            await until(lambda: len(here.sender.open) == REST_AFTER + 1)
            for answer in answers:
                here.sender.let_go(answer)
            await until(lambda: said == ["resting"])
            here.sender.answer = lambda _: Answer()
            here.sender.let_go(Answer())
            for _ in range(20):
                await asyncio.sleep(0)
            assert said == ["resting"]
            gate.set()
            await quiet(places)
            assert said == ["resting", "active"]
            assert await states(places, endpoint) == [("active", False)]

    run(story())
