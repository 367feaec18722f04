"""An endpoint that asks to be left alone: it is, for as long as it said and no longer than a day, and no alarm is missed."""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from tests.callbacks.office import Answer
from tests.simulation import virtual
from tests.simulation.scene import OK, Receiver, Request, scene
from tests.simulation.virtual import LoopClock, simulate

from homing.callbacks import verdict
from homing.callbacks.doctor import Doctor
from homing.callbacks.health import LAST_PROBE_MS
from homing.model import EndpointOptions

DAY_S = 86_400
SENT = 100


def left_alone(
    retry_after: Callable[[], str],
    wait_s: float,
    *,
    status: int = 429,
    in_flight: int = 5,
    early_s: float = 0,
) -> None:
    """Have an endpoint answer its first requests with a Retry-After; check when it is told again, and that all is told."""

    async def story(clock: LoopClock) -> None:
        async with scene(clock, seed=11) as place:
            app = await place.found()
            began_ms = place.now_ms

            def answer(request: Request) -> Answer:
                return Answer(status, retry_after()) if request.at_ms < began_ms + 1_000 else OK

            options = EndpointOptions(max_in_flight=in_flight)
            endpoint = await place.open(app, Receiver(answer=answer, jitter=0), options=options)
            for _ in range(SENT // 20):
                await place.send(app, 20)
            await asyncio.sleep(wait_s + LAST_PROBE_MS / 1000)
            tries = place.journal
            asked_ms = [one.ended_ms for one in tries if not one.is_told]
            assert len(asked_ms) <= in_flight, "more were tried than were under way"
            first_ms = min((one.began_ms for one in tries if one.is_told), default=began_ms)
            assert sum(one.is_told for one in tries) == SENT, "not everything was told"
            late_s = (first_ms - max(asked_ms)) / 1000 - wait_s
            assert -early_s <= late_s <= 1, f"told again {late_s} s later than it asked for"
            assert max(one.attempt for one in tries) <= 2
            assert (await place.state(endpoint)).state == "active"

    simulate(story, sweep_s=DAY_S)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("early", [0.0, 1.0], ids=["alarms on time", "alarms 1 ms early"])
@pytest.mark.parametrize("wait_s", [8, 3_600])
def test_it_is_left_alone_for_as_long_as_it_asked(
    monkeypatch: pytest.MonkeyPatch, wait_s: int, early: float, status: int
) -> None:
    """And not a minute longer: a short pause keeps its lanes in memory, a long one gives them back to the store."""
    monkeypatch.setattr(virtual, "EARLY", early)
    left_alone(lambda: str(wait_s), wait_s, status=status)


def test_it_may_say_when_by_a_date() -> None:
    """An HTTP date is of real time, as its receiver's is, and of whole seconds."""
    left_alone(lambda: formatdate(time.time() + 7_200, usegmt=True), 7_200, early_s=2)


def test_ten_that_are_told_to_wait_rest_the_endpoint_and_it_is_asked_when_it_said() -> None:
    """The pause goes before the probe."""
    left_alone(lambda: "7200", 7_200, in_flight=16)


def test_a_day_is_the_longest() -> None:
    """Whatever it asked for."""
    left_alone(lambda: "9999999", DAY_S)


def test_a_longer_one_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: whoever asks for a hundred days gets them."""
    monkeypatch.setattr(verdict, "MAX_RETRY_AFTER_MS", 100 * DAY_S * 1_000)
    with pytest.raises(AssertionError, match="not everything was told"):
        left_alone(lambda: "9999999", DAY_S)


def test_a_pause_that_is_not_heeded_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what asks for time is only tried again later, and the others go on."""
    monkeypatch.setattr(Doctor, "pause", lambda *_: None)
    with pytest.raises(AssertionError, match="more were tried"):
        left_alone(lambda: "3600", 3_600)
