"""What could not even be sent: how long it waits, and how often that is said."""

from typing import Any

import pytest
from tests.callbacks.conftest import AtWork
from tests.callbacks.office import Answer, Office, script
from tests.engine.fakes import until
from tests.store.fakes import DAY_MS

from homing.callbacks import courier
from homing.callbacks.faults import LONGEST_S, SAID_EVERY_S, Faults, wait_s
from homing.callbacks.verdict import Outcome
from homing.lifecycle.dispatch import Received


def test_it_waits_twice_as_long_each_time_up_to_a_bound() -> None:
    """However often, it is tried again within a minute."""
    assert [wait_s(times) for times in (1, 2, 3, 6, 7, 1_000_000)] == [1, 2, 4, 32, LONGEST_S, LONGEST_S]


def test_one_line_a_minute_stands_for_all(log: Any) -> None:
    """The first is said at once; each line has the number of those since the one before."""
    now_s = 0.0
    faults = Faults(lambda: now_s)
    for _ in range(3):
        faults.say(7, "no socket: [Errno 24] Too many open files")
    assert log.getvalue().count("callback.unsent") == 1
    now_s += SAID_EVERY_S
    faults.say(8, "out of memory")
    first, second = [line for line in log.getvalue().splitlines() if "callback.unsent" in line]
    assert "Too many open files" in first
    assert "count=1" in first
    assert "count=3" in second


def test_a_fault_of_ours_spends_no_try(at_work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the endpoint's: the same try is made again, ever later while it goes on, and is in nobody's log."""
    waits: list[int] = []

    def wait_s(times: int) -> float:
        waits.append(times)
        return 0.0

    monkeypatch.setattr(courier, "wait_s", wait_s)

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        unsent = Answer(error=Outcome.OURS)
        place.sender.answer = script(unsent, unsent, unsent, Answer(500), unsent)
        await place.send()
        await place.quiet()
        assert [seen.attempt for seen in place.sender.tries] == [1, 1, 1, 1]
        assert waits == [1, 2, 3]
        assert len(await place.store.attempts(endpoint.id, None, 10)) == 1
        await place.push(5_000)
        assert [seen.attempt for seen in place.sender.tries[4:]] == [2, 2]
        assert waits == [1, 2, 3, 1]

    at_work(story)


@pytest.mark.parametrize("was_tried", [True, False])
def test_a_fault_of_ours_goes_on_until_the_event_is_too_old(
    at_work: AtWork, monkeypatch: pytest.MonkeyPatch, *, was_tried: bool
) -> None:
    """Five days old and tried at least once it is dead, as ever; what was never sent is not given up unheard."""
    monkeypatch.setattr(courier, "wait_s", lambda _times: 0.0)

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        unsent = Answer(error=Outcome.OURS)
        if was_tried:
            place.sender.answer = script(Answer(404))
        else:
            place.sender.answer = lambda _: None
        key = await place.send()
        if was_tried:
            await place.quiet()
        await place.happen(key, Received(place.clock.ms))
        place.sender.answer = lambda seen: unsent if seen.body["status"] == "enqueued" else Answer()
        if not was_tried:
            place.sender.let_go(unsent)
        place.clock.push(5 * DAY_MS - 1)
        tried = len(place.sender.tries)
        await until(lambda: len(place.sender.tries) > tried + 3)
        assert (await place.told(key, endpoint)).pending == 0b11
        place.clock.push(1)
        tried = len(place.sender.tries)
        await until(
            lambda: (
                len(place.sender.tries) > tried + 3 or (place.courier.is_quiet() and place.engine.is_quiet())
            )
        )
        if was_tried:
            view = await place.told(key, endpoint)
            assert (view.pending, view.settled, view.dead) == (0, 0b10, 0b01)
            assert (await place.store.attempts(endpoint.id, None, 10))[1].attempt.error == "ours"
        else:
            place.sender.answer = lambda _: Answer()
            await place.quiet()
            assert (await place.told(key, endpoint)).settled == 0b11

    at_work(story)
