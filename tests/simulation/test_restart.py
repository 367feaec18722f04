"""A restart while an endpoint rests: the store knows that it does, and everything that waits."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from tests.simulation.scene import OK, REFUSED, Receiver, Scene, out_of_order, scene
from tests.simulation.virtual import LoopClock, simulate

from homing.callbacks.health import FIRST_PROBE_MS, LAST_PROBE_MS, REST_AFTER
from homing.callbacks.opinion import Opinion

SWEEP_S = 3_600
PEOPLE = 4


async def first_hour(place: Scene, *, is_crash: bool) -> tuple[list[bytes], int]:
    """Let the endpoint go down after a minute and messages live on; end the process. Returns dispatches, failing since."""
    app = await place.found()
    receiver = Receiver(workers=16, work_ms=40)
    endpoint = await place.open(app, receiver)
    lives = [place.spawn(place.live(app, PEOPLE))]
    await asyncio.sleep(60)
    receiver.answer = lambda _: REFUSED
    for _ in range(12):
        lives.append(place.spawn(place.live(app, PEOPLE)))
        await asyncio.sleep(290)
    keys = [key for life in lives for key in life.result()]
    keys += await place.send(app, PEOPLE)
    state = await place.state(endpoint)
    assert state.state == "resting"
    assert state.failing_since_ms is not None
    if is_crash:
        await place.crash()
    return keys, state.failing_since_ms


def restart(path: Path, *, is_crash: bool) -> list[int]:
    """Return when after the restart the endpoint was asked (ms), after checking that nothing was lost or told twice."""

    async def story(clock: LoopClock) -> list[int]:
        async with scene(clock, 7, str(path)) as one:
            keys, failing_since_ms = await first_hour(one, is_crash=is_crash)
        again_ms = clock.now_ms()
        async with scene(clock, 8, str(path), before=one) as other:
            (endpoint,) = await other.store.endpoints(None)
            (receiver,) = other.sender.receivers.values()
            assert (endpoint.state, endpoint.failing_since_ms) == ("resting", failing_since_ms)
            keys += await other.live(endpoint.app, PEOPLE)
            await asyncio.sleep(1_200)
            asked = [probe.began_ms - again_ms for probe in other.journal]
            receiver.answer = lambda _: OK
            await asyncio.sleep(LAST_PROBE_MS / 1000 + 1)
            await other.quiet()
            assert (await other.state(endpoint)).state == "active"
            journal = [*one.journal, *other.journal]
            told = Counter((t.key, t.n) for t in journal if t.is_told)
            assert set(told.values()) == {1}, "nothing was under way that had been told"
            assert {key for key, _ in told} == set(keys)
            assert sum(told.values()) == 4 * 14 * PEOPLE + PEOPLE
            assert not out_of_order(journal)
            failed = sorted((t for t in one.journal if not t.is_told), key=lambda t: t.ended_ms)
            spent = Counter((t.key, t.n) for t in failed[:REST_AFTER])
            assert all(t.attempt == spent[t.key, t.n] + 1 for t in other.journal), "no probe spent a try"
            return asked

    return simulate(story, SWEEP_S)


@pytest.mark.parametrize("is_crash", [False, True], ids=["stopped", "killed"])
def test_an_endpoint_rests_on(tmp_path: Path, is_crash: bool) -> None:
    """It is asked 30 s after the start, then twice as late each time; awake, it is told everything, once and in order."""
    asked = restart(tmp_path / "homing.db", is_crash=is_crash)
    wanted, interval_ms = [FIRST_PROBE_MS], 2 * FIRST_PROBE_MS
    while wanted[-1] + interval_ms < 1_200_000:
        wanted.append(wanted[-1] + interval_ms)
        interval_ms = min(2 * interval_ms, LAST_PROBE_MS)
    assert asked == pytest.approx(wanted, abs=100)


def test_a_rest_that_only_memory_knows_would_be_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Planted: the store is not told that an endpoint rests; after the start everything is tried at once."""
    monkeypatch.setattr(Opinion, "say", lambda *_said: None)
    with pytest.raises(AssertionError, match="resting"):
        restart(tmp_path / "homing.db", is_crash=False)
