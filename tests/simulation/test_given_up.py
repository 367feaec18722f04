"""Endpoints that are given up, after five days or with a 410, and brought back: what they missed is told, each event once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import count

import pytest
from tests.callbacks.office import Answer
from tests.simulation.scene import OK, REFUSED, Receiver, Scene, Try, scene
from tests.simulation.virtual import LoopClock, simulate
from tests.store.fakes import DAY_MS

from homing.callbacks import health, request
from homing.callbacks.health import LAST_PROBE_MS
from homing.model import Endpoint, Job, ReplaySpec
from homing.store.changes import CreateJob, EnableEndpoint

HOUR_S = 3_600
SWEEP_S = 6 * HOUR_S
PEOPLE = 2
EVENTS = 4


async def replay(place: Scene, endpoint: Endpoint, uid: str, **given: object) -> Job:
    """Have events told again and return the job once it has ended."""
    spec = ReplaySpec(endpoint=endpoint.id, until_ms=2**47, **given)  # type: ignore[arg-type]
    await place.store.apply(CreateJob(uid, endpoint.app, spec))
    while True:
        await asyncio.sleep(5)
        job = await place.store.job(uid)
        assert job is not None
        if job.ended_at_ms is not None:
            return job


def once_each(tries: Sequence[Try], endpoint: int, events: set[tuple[bytes, int]]) -> None:
    """Assert that these events, and no others, were told once, each under the id it always has."""
    ids = Counter(one.webhook_id for one in tries if one.is_told)
    assert ids == Counter(f"msg_{key.hex()}_{n}_{endpoint}" for key, n in events), (
        "not each once under its id"
    )


def five_days_and_back() -> None:
    """Tell the whole story, and check each turn of it."""

    async def story(clock: LoopClock) -> None:
        async with scene(clock, seed=9) as place:
            app = await place.found()
            receiver = Receiver(workers=16, work_ms=40)
            endpoint = await place.open(app, receiver)
            lives = [place.spawn(place.live(app, PEOPLE))]
            await asyncio.sleep(60)
            receiver.answer, down_ms = lambda _: REFUSED, place.now_ms
            last_ms = down_ms + 5 * DAY_MS - LAST_PROBE_MS

            def heard(one: Try) -> None:
                # Sent with the last probe, most of its events come when the endpoint is disabled.
                if one.began_ms > last_ms and not one.is_told:
                    lives.append(place.spawn(place.live(app, PEOPLE)))

            place.sender.heard = heard
            while (await place.state(endpoint)).state != "disabled":
                assert place.now_ms < down_ms + 6 * DAY_MS, "it was never disabled"
                lives.append(place.spawn(place.live(app, PEOPLE)))
                await asyncio.sleep(HOUR_S / 2)
            given_up = await place.state(endpoint)
            disabled_ms = given_up.disabled_at_ms
            assert disabled_ms is not None
            assert 0 <= disabled_ms - down_ms - 5 * DAY_MS <= LAST_PROBE_MS + 1_000, "not after five days"
            assert "five days" in (given_up.state_reason or "")
            tried = len(place.journal)
            place.sender.heard = lambda _: None
            for _ in range(5):
                lives.append(place.spawn(place.live(app, PEOPLE)))
                await asyncio.sleep(HOUR_S)
            assert len(place.journal) == tried, "a disabled endpoint is left alone"
            events = {(key, n) for life in lives for key in life.result() for n in range(1, EVENTS + 1)}
            dead = {(one.key, one.n) for one in await place.store.dead(endpoint.id, None, 10_000)}
            told = {(one.key, one.n) for one in place.journal if one.is_told}
            missed = events - dead - told
            assert not dead & told
            assert len(missed) >= 5 * PEOPLE * EVENTS
            assert {g.reason for g in await place.store.dead_groups(endpoint.id)} == {"endpoint_disabled"}
            print(f"{len(told)} told, {len(dead)} dead, {len(missed)} missed, {tried} tries")

            receiver.answer = lambda _: OK
            await place.store.apply(EnableEndpoint(app, endpoint.uid))
            await asyncio.sleep(60)
            assert len(place.journal) == tried, "what is dead or was missed is told when its owner says so"
            job = await replay(place, endpoint, "missed", which="all", since_ms=disabled_ms)
            assert (job.state, job.done, job.failed) == ("done", len(missed), 0)
            assert {one.replay for one in place.journal[tried:]} == {"missed"}
            once_each(place.journal[tried:], endpoint.id, missed)
            tried = len(place.journal)
            job = await replay(place, endpoint, "dead", which="dead")
            assert (job.state, job.done, job.failed) == ("done", len(dead), 0)
            once_each(place.journal[tried:], endpoint.id, dead)
            assert await place.store.dead(endpoint.id, None, 1) == []
            tried = len(place.journal)
            new = await place.live(app, PEOPLE)
            await place.quiet()
            once_each(
                place.journal[tried:], endpoint.id, {(key, n) for key in new for n in range(1, EVENTS + 1)}
            )

    simulate(story, SWEEP_S)


def test_five_days_disable_and_a_replay_brings_what_was_missed() -> None:
    """What waited is dead, what came later has no lane; a job tells the latter, another the former, each once."""
    five_days_and_back()


def test_an_endpoint_that_is_never_given_up_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: failing for ten days is not long enough."""
    monkeypatch.setattr(health, "DISABLE_AFTER_MS", 10 * DAY_MS)
    with pytest.raises(AssertionError, match="never disabled"):
        five_days_and_back()


def test_a_replay_under_new_ids_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: each try draws an id of its own."""
    draw, real = count(), request.webhook_id
    monkeypatch.setattr("homing.callbacks.courier.webhook_id", lambda *event: f"{real(*event)}-{next(draw)}")
    with pytest.raises(AssertionError, match="not each once under its id"):
        five_days_and_back()


def test_a_410_ends_it_at_once() -> None:
    """What is under way ends, nothing else is tried, for a day; everything is dead and says why."""

    async def story(clock: LoopClock) -> None:
        async with scene(clock, seed=10) as place:
            app = await place.found()
            endpoint = await place.open(app, Receiver(work_ms=200, answer=lambda _: Answer(410)))
            began_ms = place.now_ms
            for _ in range(5):
                await place.send(app, 20)
            await asyncio.sleep(DAY_MS / 1000)
            state = await place.state(endpoint)
            assert (state.state, state.state_reason) == ("disabled", "answered 410")
            assert state.disabled_at_ms == pytest.approx(began_ms + 200, abs=60)
            assert len(place.journal) == 16, "as many as were under way"
            await place.send(app)
            await asyncio.sleep(60)
            assert len(place.journal) == 16
            reasons = {group.reason: group.count for group in await place.store.dead_groups(endpoint.id)}
            assert reasons == {"endpoint_gone": 16, "endpoint_disabled": 84}

    simulate(story, SWEEP_S)
