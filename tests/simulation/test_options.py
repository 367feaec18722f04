"""An endpoint's own options, in simulated time: its rate, how many at a time, no order, its own schedule."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from tests.callbacks.office import Answer
from tests.simulation.scene import OK, Receiver, Request, Try, out_of_order, scene
from tests.simulation.virtual import LoopClock, simulate

from homing.callbacks import judge, schedule
from homing.callbacks.berth import Berth
from homing.callbacks.pace import Pace
from homing.callbacks.schedule import DEFAULT_DELAYS_MS, next_try_at
from homing.model import DispatchKey, EndpointOptions
from homing.store import fold
from homing.store.batch import Facts
from homing.store.changes import UpdateEndpoint

Seen = tuple[list[Try], int, int]


def with_options(
    answer: Callable[[Request], Answer] = lambda _: OK, people: int = 200, lives: int = 0, **given: object
) -> Seen:
    """Send to so many people, let so many lives be lived, at an endpoint with these options.

    Return its tries, the most that were in flight, and the most timers that were set at a time.
    """

    async def story(clock: LoopClock) -> Seen:
        async with scene(clock, seed=15) as place:
            app = await place.found(200)
            options = EndpointOptions(**given)  # type: ignore[arg-type]
            endpoint = await place.open(app, Receiver(work_ms=100, answer=answer), options=options)
            most = [0]
            place.sender.heard = lambda _: most.append(place.sender.in_flight[endpoint.id])
            for _ in range(lives):
                place.spawn(place.live(app))
            if people:
                await place.send(app, people)
            timers = 0
            for _ in range(120):
                await asyncio.sleep(0.5)
                timers = max(timers, len(asyncio.get_running_loop()._scheduled))  # type: ignore[attr-defined]
            return place.journal, max(most), timers

    return simulate(story)


def rate_is_kept() -> None:
    """Assert that ten a second are ten a second, and that many who wait for them set one alarm."""
    tries, _most, timers = with_options(rate_per_second=10.0)
    assert len(tries) == 200
    for one, later in zip(tries, tries[11:], strict=False):
        assert later.began_ms - one.began_ms >= 990, "more than ten a second"
    assert tries[-1].began_ms - tries[0].began_ms == pytest.approx(19_800, abs=200), "fewer than ten a second"
    assert timers < 20, "alarms pile up"
    slow, _most, _timers = with_options(people=20, rate_per_second=1.0)
    assert all(later.began_ms - one.began_ms >= 895 for one, later in pairwise(slow)), "two at once"


def at_most_three() -> None:
    """Assert that no more than three are told at a time, and three are."""
    tries, most, _timers = with_options(max_in_flight=3)
    assert len(tries) == 200
    assert most == 3, "more or fewer at a time"


def nothing_waits() -> None:
    """Assert that events are told while the ones before them fail: each has tries of its own."""

    def answer(request: Request) -> Answer:
        return Answer(404) if request.n == 1 and request.attempt < 3 else OK

    tries, _most, _timers = with_options(answer, people=0, lives=5, ordered=False)
    told = {(one.key, one.n): one for one in tries if one.is_told}
    assert (len(told), len(tries)) == (20, 30)
    firsts = [told[key, 1] for key, n in told if n == 1]
    assert {first.attempt for first in firsts} == {3}
    assert all(told[first.key, 4].ended_ms < first.began_ms for first in firsts), "they waited for the first"
    assert out_of_order(tries)


def own_schedule() -> None:
    """Assert that a callback that is never taken is tried after 1, 2 and 4 s, give or take a tenth, and no more."""
    tries, _most, _timers = with_options(
        lambda _: Answer(404), people=20, retry_delays_seconds=(1.0, 2.0, 4.0)
    )
    by_key = defaultdict(list)
    for one in tries:
        by_key[one.key].append(one)
    for mine in by_key.values():
        assert [one.attempt for one in mine] == [1, 2, 3, 4], "not four tries"
        for (one, later), delay_ms in zip(pairwise(mine), (1_000, 2_000, 4_000), strict=True):
            waited_ms = later.began_ms - one.ended_ms
            assert 0.9 * delay_ms - 2 <= waited_ms <= 1.1 * delay_ms + 50, "not at its time"
    assert len({later.began_ms - one.ended_ms for one, later in (m[:2] for m in by_key.values())}) > 10, (
        "no jitter"
    )


CHECKS = [rate_is_kept, at_most_three, nothing_waits, own_schedule]


@pytest.mark.parametrize("check", CHECKS)
def test_options_hold(check: Callable[[], None]) -> None:
    """Each in simulated time, from the change that sets it to what the receiver sees."""
    check()


def test_a_higher_rate_counts_at_once() -> None:
    """Who waits for the next of six a minute need not, once sixty a second are allowed."""

    async def story(clock: LoopClock) -> None:
        async with scene(clock, seed=16) as place:
            app = await place.found()
            slow, fast = (EndpointOptions(rate_per_second=per_s) for per_s in (0.1, 60.0))
            endpoint = await place.open(app, Receiver(), options=slow)
            await place.send(app, 20)
            await asyncio.sleep(5)
            assert len(place.journal) == 1
            await place.store.apply(
                UpdateEndpoint(
                    endpoint.app, endpoint.uid, endpoint.url, "json", None, "s", None, options=fast
                )
            )
            await asyncio.sleep(1)
            assert len(place.journal) == 20

    simulate(story)


def _no_rate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Berth, "allowed_at", lambda _self, now_ms: now_ms)


def _alarms_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Berth, "is_slowed", property(lambda _self: False, lambda _self, _value: None))


def _no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pace, "limit", lambda *_: None)


def _all_in_order(patch: pytest.MonkeyPatch) -> None:
    def begin(self: fold.Fold, key: DispatchKey, target: fold.Target, facts: Facts, events: Any) -> None:
        self._open(key, target.id, facts, events)

    patch.setattr(fold.Fold, "_begin_lane", begin)


def _one_schedule_for_all(patch: pytest.MonkeyPatch) -> None:
    def at(tries: int, now_ms: int, _delays: object, *rest: Any) -> int | None:
        return next_try_at(tries, now_ms, DEFAULT_DELAYS_MS, *rest)

    patch.setattr(judge, "next_try_at", at)


def _no_jitter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(schedule, "JITTER", 0.0)


PLANTS = [
    (_no_rate, rate_is_kept, "more than ten a second"),
    (_alarms_for_all, rate_is_kept, "alarms pile up"),
    (_no_limit, at_most_three, "more or fewer at a time"),
    (_all_in_order, nothing_waits, "they waited for the first"),
    (_one_schedule_for_all, own_schedule, "not four tries"),
    (_no_jitter, own_schedule, "no jitter"),
]


@pytest.mark.parametrize(("plant", "check", "finding"), PLANTS)
def test_options_that_do_not_hold_would_be_found(
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    check: Callable[[], None],
    finding: str,
) -> None:
    """Each planted bug fails the check that is for it."""
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=finding):
        check()
