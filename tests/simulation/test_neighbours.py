"""A hundred endpoints, one with a backlog of 50,000 lanes and twenty that hang: the others are told as soon as ever.

And the turn within one endpoint: what is tried again gets its share however much is new, and never all of it.
"""

import asyncio
import math
from collections import defaultdict
from functools import cache
from statistics import median

import pytest
from tests.callbacks.office import Answer
from tests.simulation.scene import OK, SILENT, Receiver, Request, Scene, percentile, scene
from tests.simulation.virtual import LoopClock, simulate
from tests.store.fakes import NOON_MS

from homing.callbacks import pace
from homing.callbacks.berth import Berth, Lane
from homing.callbacks.lanes import Lanes
from homing.model import Endpoint
from homing.store.changes import UpdateEndpoint

HEALTHY = 79
HANGING = 20
BACKLOG = 50_000
SECONDS = 14
PLACES = 400
"""In flight in one process; fewer than in production, so that those who hang could take them all."""


async def set_paused(place: Scene, endpoint: Endpoint, *, paused: bool) -> None:
    """Say so for its owner."""
    await place.store.apply(
        UpdateEndpoint(endpoint.app, endpoint.uid, endpoint.url, "json", None, "s", None, paused=paused)
    )


async def trouble(place: Scene) -> list[int]:
    """Add the backlog and those that hang, half of them nine times out of ten only; return the latter's applications."""
    app = await place.found(1_000)
    heap = await place.open(app, Receiver(workers=20, work_ms=100))
    await set_paused(place, heap, paused=True)
    for _ in range(BACKLOG // 1_000):
        await place.send(app, 1_000)
    sick = []
    for i in range(HANGING):
        sick.append(await place.found(1))
        hangs = Receiver(answer=lambda request: OK if request.key[15] % 10 == 0 else SILENT)
        await place.open(sick[-1], hangs if i % 2 else Receiver(answer=lambda _: SILENT))
    await set_paused(place, heap, paused=False)
    return sick


def waits_ms(*, with_trouble: bool) -> list[float]:
    """Return how long each callback of the healthy endpoints waited, one a second each."""

    async def story(clock: LoopClock) -> list[float]:
        async with scene(clock, seed=12, max_in_flight=PLACES) as place:
            healthy = [await place.found(1) for _ in range(HEALTHY)]
            ids = {(await place.open(app, Receiver(work_ms=30))).id for app in healthy}
            sick = await trouble(place) if with_trouble else []
            for app in sick:
                place.spawn(place.offer(app, 2, SECONDS))
            for app in healthy:
                await asyncio.sleep(1 / HEALTHY)
                place.spawn(place.offer(app, 1, SECONDS))
            await asyncio.sleep(SECONDS + 3)
            waited: list[float] = [
                one.ended_ms - one.sent_ms for one in place.journal if one.endpoint in ids and one.is_told
            ]
            if with_trouble:
                told = sum(one.is_told for one in place.journal) - len(waited)
                assert told > 150 * SECONDS, "the backlog went on, too"
            waited += [math.inf] * (HEALTHY * SECONDS - len(waited))
            for chore in place.chores:
                chore.cancel()
            return waited

    return simulate(story)


@cache
def alone_ms() -> tuple[float, float]:
    """Return median and 99th percentile without any trouble."""
    waited = waits_ms(with_trouble=False)
    return percentile(waited, 0.5), percentile(waited, 0.99)


def is_unaffected(waited: list[float]) -> bool:
    """Say whether they are what they are without, within a tenth and two milliseconds for the store's queue."""
    seen = percentile(waited, 0.5), percentile(waited, 0.99)
    print(f"median, p99 alone {alone_ms()} ms, beside trouble {seen} ms, slowest {max(waited)} ms")
    return all(here <= 1.1 * there + 2 for here, there in zip(seen, alone_ms(), strict=True))


def test_a_backlog_and_twenty_that_hang_hold_up_nobody_else() -> None:
    """The others' delay is what it was."""
    assert is_unaffected(waits_ms(with_trouble=True))


def test_endpoints_that_take_what_they_can_get_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: each may have as many under way as it likes, without a share for the others."""
    alone_ms()
    monkeypatch.setattr(pace, "START", 256)
    monkeypatch.setattr(Lanes, "_limit", lambda _self, berth: berth.pace.allowed)
    assert not is_unaffected(waits_ms(with_trouble=True))


def starts_after_a_pause() -> list[bool]:
    """Return, for an endpoint with 200 retries and 200 new lanes due, start by start, whether it was a retry."""

    async def story(clock: LoopClock) -> list[bool]:
        async with scene(clock, seed=13) as place:
            app = await place.found(200)
            began_ms = place.now_ms

            def answer(request: Request) -> Answer:
                return Answer(404) if request.at_ms < began_ms + 4_000 else OK

            endpoint = await place.open(app, Receiver(work_ms=20, answer=answer))
            await place.send(app, 200)
            await asyncio.sleep(4)
            await set_paused(place, endpoint, paused=True)
            before = len(place.journal)
            for _ in range(20):
                await asyncio.sleep(0.1)
                await place.send(app, 10)
            await asyncio.sleep(5)
            assert len(place.journal) == before
            await set_paused(place, endpoint, paused=False)
            await place.quiet()
            return [one.attempt > 1 for one in place.journal[before:]]

    return simulate(story)


def has_its_share(starts: list[bool]) -> bool:
    """Say whether of any four starts one was a retry, for as long as there were any."""
    last = max(at for at, is_retry in enumerate(starts) if is_retry)
    return all(any(starts[at : at + 4]) for at in range(last - 3))


def _new_ones_first(berth: Berth) -> Lane:
    return (berth.ready or berth.others).popleft()


def test_retries_get_every_fourth_slot() -> None:
    """While new lanes wait, and new lanes while retries do."""
    starts = starts_after_a_pause()
    assert (len(starts), sum(starts)) == (400, 200)
    assert has_its_share(starts)
    assert not all(starts[:100])


def test_retries_that_wait_for_the_others_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what was never told goes first."""
    monkeypatch.setattr(Berth, "take", _new_ones_first)
    assert not has_its_share(starts_after_a_pause())


def retries_late() -> float:
    """Flood an endpoint with more than it takes, a tenth of it failing once; return the worst ratio, in any five seconds,
    of how late after its time a retry began to how late new lanes did.
    """

    async def story(clock: LoopClock) -> float:
        async with scene(clock, seed=14, delays_ms=(5_000,) * 5) as place:
            app = await place.found()

            def answer(request: Request) -> Answer:
                return Answer(404) if request.attempt == 1 and request.key[15] % 10 == 0 else OK

            await place.open(app, Receiver(workers=5, work_ms=50, answer=answer))
            await place.offer(app, 120, 36, people=4)
            flooded = len(place.journal)
            await place.quiet()
            failed_ms = {one.key: one.ended_ms for one in place.journal if not one.is_told}
            again, first = defaultdict(list), defaultdict(list)
            for one in place.journal[:flooded]:
                window = (one.began_ms - NOON_MS) // 5_000
                if one.attempt > 1:
                    again[window].append(one.began_ms - failed_ms[one.key] - 5_000)
                else:
                    first[window].append(one.began_ms - one.sent_ms)
            assert len(again) >= 6
            return max(
                percentile(late_ms, 0.9) / median(first[at]) for at, late_ms in again.items() if at >= 2
            )

    return simulate(story)


def test_in_a_flood_retries_are_no_later_than_what_is_new() -> None:
    """They fell due as the others did, and are told in that order."""
    assert retries_late() <= 1.5


def test_a_flood_that_washes_retries_away_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what was never told goes first."""
    monkeypatch.setattr(Berth, "take", _new_ones_first)
    assert retries_late() > 1.5
