"""An endpoint that is down for days and comes back: it rests, is asked now and then, wakes, and nothing was lost or spent."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import apsw
import pytest
from tests.callbacks.office import Answer
from tests.simulation.scene import OK, REFUSED, SILENT, Receiver, Try, out_of_order, scene
from tests.simulation.virtual import LoopClock, simulate

from homing.callbacks.berth import Lane
from homing.callbacks.health import FIRST_PROBE_MS, LAST_PROBE_MS, REST_AFTER
from homing.callbacks.judge import Judge
from homing.store.batch import Attempt, Settle
from homing.store.port import Claimed
from homing.store.sqlite import claims
from homing.store.sqlite.rows import fetch

HOUR_S = 3_600
SWEEP_S = 3 * HOUR_S
EVENTS = 4
PEOPLE = 4
EVERY_S = 300
"""A message to four people every five minutes, each with four events: 13,824 events in three days."""


class Outage:
    """What came of one: the tries until the endpoint rested, the probes, and what was told afterwards."""

    def __init__(self, journal: Sequence[Try], since_ms: int, until_ms: int, in_flight: list[int]) -> None:
        self.since_ms, self.until_ms = since_ms, until_ms
        self.before = [one for one in journal if one.began_ms < since_ms]
        failed = [one for one in journal if since_ms <= one.began_ms and not one.is_told]
        rested_ms = sorted(one.ended_ms for one in failed)[REST_AFTER - 1]
        self.spent = [one for one in failed if one.began_ms < rested_ms]
        self.probes = [one for one in journal if rested_ms <= one.began_ms < until_ms]
        self.after = [one for one in journal if one.began_ms >= until_ms]
        self.first_probe_ms = rested_ms + FIRST_PROBE_MS
        self.in_flight = in_flight
        """How many were, as each of those afterwards began."""


def at_intervals(probes: Sequence[Try], first_ms: int) -> None:
    """Assert that a probe came 30 s after the rest began and each next one twice as late, at most ten minutes."""
    at_ms, interval_ms = first_ms, FIRST_PROBE_MS
    for probe in probes:
        assert abs(probe.began_ms - at_ms) <= 20, "a probe came early or late"
        interval_ms = min(2 * interval_ms, LAST_PROBE_MS)
        at_ms = probe.ended_ms + interval_ms


def nothing_spent(outage: Outage) -> None:
    """Assert that the attempts told afterwards go on from those before the rest: probes spent none."""
    assert len(outage.spent) == REST_AFTER
    spent = Counter((one.key, one.n) for one in outage.spent)
    for one in outage.after:
        assert one.attempt == spent[one.key, one.n] + 1, "a probe spent a try"


def each_once(outage: Outage, keys: Sequence[bytes]) -> None:
    """Assert that every event of these dispatches was told once, in order, and no other."""
    told = Counter((one.key, one.n) for one in outage.after if one.is_told)
    assert told == Counter((key, n) for key in keys for n in range(1, EVENTS + 1))
    assert not out_of_order([*outage.before, *outage.spent, *outage.probes, *outage.after])
    assert all(one.is_told for one in outage.after)


def outage(answer: Answer, hours: float) -> tuple[Outage, list[bytes]]:
    """Let an endpoint be down for so long while messages live, then be back; return what came of it and the dispatches."""

    async def story(clock: LoopClock) -> tuple[Outage, list[bytes]]:
        async with scene(clock, seed=4) as place:
            app = await place.found()
            receiver = Receiver(workers=32, work_ms=40)
            endpoint = await place.open(app, receiver)
            await place.live(app, PEOPLE)
            await place.quiet()
            receiver.answer, since_ms = lambda _: answer, place.now_ms
            lives: list[asyncio.Task[list[bytes]]] = []
            for _ in range(round(hours * HOUR_S / EVERY_S)):
                lives.append(place.spawn(place.live(app, PEOPLE)))
                await asyncio.sleep(EVERY_S)
            state = await place.state(endpoint)
            assert state.state == "resting"
            assert state.failing_since_ms == pytest.approx(since_ms, abs=15_100)
            assert "10 failures in a row" in (state.state_reason or "")
            receiver.answer, until_ms = lambda _: OK, place.now_ms
            in_flight: list[int] = []
            place.sender.heard = lambda _: in_flight.append(place.sender.in_flight[endpoint.id])
            await asyncio.sleep(LAST_PROBE_MS / 1000 + 20)
            assert (await place.state(endpoint)).state == "active", "it did not wake"
            await place.quiet()
            assert await place.store.dead_groups(endpoint.id) == []
            seen = Outage(place.journal, since_ms, until_ms, in_flight)
            return seen, [key for life in lives for key in life.result()]

    return simulate(story, SWEEP_S)


@pytest.mark.parametrize(
    ("answer", "hours"), [(REFUSED, 72), (Answer(503), 6), (SILENT, 6)], ids=["refused", "503", "silent"]
)
def test_days_of_downtime_cost_a_probe_at_a_time(answer: Answer, hours: float) -> None:
    """A probe per interval; afterwards everything is told in order, once, paced, with the tries it had before."""
    seen, keys = outage(answer, hours)
    took_s = sum(probe.ended_ms - probe.began_ms for probe in seen.probes) / 1000
    print(
        f"{len(keys)} dispatches, {len(seen.spent)} tries before the rest, {len(seen.probes)} probes "
        f"(of {len({probe.key for probe in seen.probes})} dispatches, {took_s:.1f} s)"
    )
    at_intervals(seen.probes, seen.first_probe_ms)
    # 30 + 60 + 120 + 240 + 480 s, then every ten minutes.
    expected = 5 + (seen.until_ms - seen.first_probe_ms - 900_000) / (
        LAST_PROBE_MS + took_s * 1000 / len(seen.probes)
    )
    assert abs(len(seen.probes) - expected) <= 1.5
    nothing_spent(seen)
    each_once(seen, keys)
    assert max(seen.in_flight[:20]) <= 5, "it wakes with four at a time"
    assert 16 <= max(seen.in_flight) <= 64, "and gets more as it proves that it can"
    if hours > 24:
        assert len({probe.key for probe in seen.probes}) > 0.75 * len(seen.probes), "chance picks the probe"


def test_a_probe_that_spends_a_try_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what a probe fails at is put off like any other failure."""

    def wait(self: Judge, lane: Lane, attempt: Attempt, settles: list[Settle]) -> None:
        self.put_off(lane, attempt, "connect", None, settles)

    monkeypatch.setattr(Judge, "_wait", wait)
    seen, _keys = outage(REFUSED, 6)
    with pytest.raises(AssertionError, match="a probe spent a try"):
        nothing_spent(seen)


def is_woken(seed: int) -> bool:
    """Let an endpoint be back after half an hour, but for the oldest of 41 dispatches, which it never answers.

    Return whether it is awake three hours later, with all but that one told.
    """

    async def story(clock: LoopClock) -> bool:
        async with scene(clock, seed) as place:
            app = await place.found()
            receiver = Receiver(answer=lambda _: REFUSED)
            endpoint = await place.open(app, receiver)
            oldest = (await place.send(app))[0]
            for _ in range(10):
                await place.send(app, PEOPLE)
                await asyncio.sleep(180)
            receiver.answer = lambda request: SILENT if request.key == oldest else OK
            await asyncio.sleep(3 * HOUR_S)
            told = {one.key for one in place.journal if one.is_told}
            assert oldest not in told
            return (await place.state(endpoint)).state == "active" and len(told) == 10 * PEOPLE

    return simulate(story, SWEEP_S)


def _claim_the_oldest(
    connection: apsw.Connection, endpoint: int, now_ms: int, chance: float, epoch: int
) -> Claimed:
    oldest = "SELECT key, endpoint, pending, tries, job FROM lane WHERE endpoint = ? AND due <= ? ORDER BY key LIMIT 1"
    rows: list[tuple[bytes, int, int, int, int]] = fetch(connection, oldest, (endpoint, now_ms))
    connection.executemany(claims._SQL["hold_lane"], [(row[0], endpoint, epoch) for row in rows])
    return Claimed(claims.works(connection, rows), claims._next_due(connection, endpoint))


@pytest.mark.parametrize("is_planted", [False, True])
def test_a_lane_that_is_never_answered_keeps_nobody_asleep(
    monkeypatch: pytest.MonkeyPatch, is_planted: bool
) -> None:
    """Chance finds another one to ask; were it always the oldest, the endpoint would sleep on."""
    if is_planted:
        monkeypatch.setattr(claims, "claim_by_chance", _claim_the_oldest)
    assert [is_woken(seed) for seed in (5, 6, 7)] == [not is_planted] * 3
