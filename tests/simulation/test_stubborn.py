"""TE: ten lanes that are always answered 404, on an endpoint that is well otherwise: the others do not notice."""

import asyncio
import math
from collections.abc import Callable
from functools import cache

import pytest
from tests.callbacks.office import Answer
from tests.simulation.scene import Receiver, Request, percentile, scene
from tests.simulation.virtual import LoopClock, simulate

from homing.callbacks import verdict
from homing.callbacks.berth import Lane
from homing.callbacks.judge import Judge
from homing.callbacks.verdict import Meaning, Outcome, Verdict
from homing.model import EndpointOptions

PER_S = 50
SECONDS = 36
STUBBORN = 10


def p99_ms(stubborn: int, options: EndpointOptions) -> float:
    """Return how long the healthy lanes' 99th percentile waited beside so many that nothing helps."""

    async def story(clock: LoopClock) -> float:
        async with scene(clock, seed=3) as place:
            app = await place.found()
            bad: set[bytes] = set()

            def answer(request: Request) -> Answer:
                if len(bad) < stubborn:
                    bad.add(request.key)
                return Answer(404 if request.key in bad else 204)

            await place.open(app, Receiver(workers=4, work_ms=40, answer=answer), options=options)
            if stubborn:
                await place.send(app, stubborn)
                await asyncio.sleep(1)
            await place.offer(app, PER_S, SECONDS)
            await asyncio.sleep(2)
            waits_ms: list[float] = [
                one.ended_ms - one.sent_ms for one in place.journal if one.key not in bad
            ]
            waits_ms += [math.inf] * (PER_S * SECONDS - len(waits_ms))
            assert sum(one.key in bad for one in place.journal) >= 2 * stubborn, "they were tried again"
            return percentile(waits_ms, 0.99)

    return simulate(story)


@cache
def alone_ms() -> float:
    """Return what it is without any."""
    return p99_ms(0, EndpointOptions())


def is_unchanged(beside_ms: float) -> bool:
    """Say whether it is the same, within a tenth and the millisecond that chance may cost."""
    print(f"p99 alone {alone_ms()} ms, beside ten stubborn lanes {beside_ms} ms")
    return beside_ms <= 1.1 * alone_ms() + 1


SCHEDULES = [EndpointOptions(), EndpointOptions(retry_delays_seconds=(1.0,) * 30)]


@pytest.mark.parametrize("options", SCHEDULES, ids=["usual", "every second"])
def test_ten_lanes_that_nothing_helps_cost_the_others_nothing(options: EndpointOptions) -> None:
    """The others' 99th percentile is what it is without them; on the usual schedule and on a hasty one."""
    assert is_unchanged(p99_ms(STUBBORN, options))


def _blames_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 404 counts against the endpoint, so that ten in a row rest it."""
    meaning = Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=False)
    monkeypatch.setitem(verdict.TABLE, Outcome.CLIENT_ERROR, meaning)


def _keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Order by arrival: a lane that failed is the oldest still, and the next in turn."""

    def put_off(self: Judge, lane: Lane, *_: object) -> None:
        lane.is_queued = True
        lane.berth.ready.appendleft(lane)
        self._lanes.enter(lane.berth)

    monkeypatch.setattr(Judge, "put_off", put_off)


@pytest.mark.parametrize("plant", [_blames_the_endpoint, _keeps_its_place])
def test_lanes_that_hold_the_others_up_would_be_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Each planted bug makes the others wait, and the check tells."""
    plant(monkeypatch)
    assert not is_unchanged(p99_ms(STUBBORN, EndpointOptions()))
