"""Couriers of several nodes on one store: what one of them is told, finds out or may do concerns the others."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from tests.callbacks.office import Answer, Try
from tests.callbacks.offices import SharedOffice, offices
from tests.engine.fakes import until

from homing.callbacks import doubts
from homing.errors import Unavailable
from homing.model import EndpointOptions
from homing.store.changes import DisableEndpoint, EnableEndpoint
from homing.store.postgres import PostgresStore

BURST = 2
"""So many tries one courier may be ahead of a rate of 20 a second: 100 ms."""
Run = Callable[[Coroutine[Any, Any, None]], None]


def unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every notification of a change be lost."""
    monkeypatch.setattr(PostgresStore, "_notified", lambda *_said: None)


@pytest.mark.parametrize("is_heard", [True, False])
def test_an_endpoint_made_at_one_node_is_told_what_is_sent_through_another(
    run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """Each is told its event once, though the sender has never heard of it, or thinks it disabled (TF)."""
    if not is_heard:
        unheard(monkeypatch)

    async def story() -> None:
        async with offices(dsn) as (here, there):
            there.app = here.app
            endpoints = []
            for _ in range(20):
                endpoints.append(await here.add_endpoint())
                await there.send()
            await there.quiet()
            told = [one.endpoint for one in there.sender.tries]
            assert sorted(told) == sorted(endpoints[n].id for n in range(20) for _ in range(n, 20))
            one = endpoints[0]
            await here.store.apply(DisableEndpoint(one.id, "by hand"))
            await there.beat()
            await here.store.apply(EnableEndpoint(one.app, one.uid))
            await there.send()
            await there.quiet()
            assert [seen.endpoint for seen in there.sender.tries[len(told) :]].count(one.id) == 1

    run(story())


def test_what_is_owed_to_an_endpoint_that_is_really_disabled_is_given_up(
    run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the node knows that nobody enabled it meanwhile, however often the store must be asked."""
    unheard(monkeypatch)
    monkeypatch.setattr(doubts, "_AGAIN_S", 0.0)

    async def story() -> None:
        async with offices(dsn, max_per_endpoint=1) as (here, there):
            there.app = here.app
            endpoint = await here.add_endpoint()
            there.sender.answer = lambda _: None
            first, second = await there.send(), await there.send()
            await until(lambda: len(there.sender.open) == 1)
            await here.store.apply(DisableEndpoint(endpoint.id, "by hand"))
            await there.beat()
            catch_up, failed = there.node.catch_up, list[bool]()

            async def once() -> None:
                if not failed:
                    failed.append(True)
                    raise Unavailable("away")
                await catch_up()

            monkeypatch.setattr(there.courier._doubts, "_catch_up", once)
            there.sender.let_go()
            await there.quiet()
            assert failed
            assert len(there.sender.tries) == 1
            assert (
                (await there.told(first, endpoint)).settled,
                (await there.told(second, endpoint)).dead,
            ) == (1, 1)

    run(story())


def busiest(instants: Sequence[int], ms: int = 1_000) -> int:
    """Return how many of these instants lie in the busiest stretch of so many ms."""
    return max((sum(first <= one < first + ms for one in instants) for first in instants), default=0)


def test_nodes_keep_to_an_endpoints_rate_together(run: Run, dsn: str) -> None:
    """Two tell no more than one may; when one dies the other takes the whole rate; everything is told."""

    async def story() -> None:
        async with offices(dsn) as places:
            here, there = places
            there.app = here.app
            clock = here.clock
            told: dict[int, list[int]] = {place.node.epoch: [] for place in places}
            await here.add_endpoint(options=EndpointOptions(rate_per_second=20.0))

            def note(times: list[int]) -> Callable[[Try], Answer]:
                def answer(_one: Try) -> Answer:
                    times.append(clock.ms)
                    return Answer()

                return answer

            async def go_on(*alive: SharedOffice) -> None:
                for _ in range(30):
                    clock.push(100)
                    for place in alive:
                        await place.quiet()

            for place in places:
                await place.beat()
                place.sender.answer = note(told[place.node.epoch])
                for _ in range(90):
                    await place.send()
            await go_on(here, there)
            both = sorted(told[here.node.epoch] + told[there.node.epoch])
            assert busiest(both) <= 20 + 2 * BURST
            assert len(both) >= 3 * 20
            assert min(map(len, told.values())) >= 3 * 10
            await there.die()
            await here.beat()
            alone: list[int] = []
            here.sender.answer = note(alone)
            await go_on(here)
            assert 20 <= busiest(alone) <= 20 + BURST
            assert len(alone) >= 3 * 20 - BURST
            while len(ids := {one.webhook_id for place in places for one in place.sender.tries}) < 180:
                await go_on(here)
            assert len(ids) == 180

    run(story())


def test_nodes_keep_to_an_endpoints_places_together(run: Run, dsn: str) -> None:
    """What may be on its way at a time is shared; whoever is left has all of it."""

    async def story() -> None:
        async with offices(dsn) as places:
            here, there = places
            there.app = here.app
            await here.add_endpoint(options=EndpointOptions(max_in_flight=5))
            for place in places:
                await place.beat()
                place.sender.answer = lambda _: None
                for _ in range(8):
                    await place.send()
            await until(lambda: sum(len(place.sender.open) for place in places) == 5)
            assert sorted(len(place.sender.open) for place in places) == [2, 3]
            await there.die()
            await here.beat()
            await until(lambda: len(here.sender.open) == 5)
            here.sender.answer = lambda _: Answer()
            while here.sender.open:
                here.sender.let_go()
                await asyncio.sleep(0)
            await here.quiet()
            assert here.sender.most_open == 5

    run(story())
