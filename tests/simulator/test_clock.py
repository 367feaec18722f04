"""The clocks that can be pushed, and the conductor: nothing due is left behind, nothing rings twice or out of order."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from homing.simulator.clock import Conductor, NotQuiet, SkipClock, VirtualClock

Run = Callable[[Coroutine[Any, Any, Any]], Any]
START = 1_800_000_000_000


def real_ms() -> int:
    """The machine's time."""
    return time.monotonic_ns() // 1_000_000


def test_virtual_time_stands_still_until_told(run: Run) -> None:
    """Real time moves no virtual clock, and an alarm rings only when its instant is reached."""

    async def story() -> None:
        clock, rung = VirtualClock(START), []
        clock.at(START + 1, lambda: rung.append("rung"))
        began_ms = real_ms()
        while real_ms() == began_ms:
            await asyncio.sleep(0)
        assert clock.now_ms() == START
        assert not rung
        clock.jump_to(START + 1)
        await asyncio.sleep(0)
        assert rung == ["rung"]

    run(story())


def test_alarms_ring_in_the_order_of_their_times_and_then_of_asking(run: Run) -> None:
    """A jump over several alarms rings the earlier first, and equal ones in the order they were asked for."""

    async def story() -> list[str]:
        clock, rung = VirtualClock(START), list[str]()
        for name, at_ms in (("late", 9), ("first", 3), ("second", 3), ("early", 1)):
            clock.at(START + at_ms, lambda name=name: rung.append(name))  # type: ignore[misc]
        clock.jump_to(START + 10)
        await asyncio.sleep(0)
        return rung

    assert run(story()) == ["early", "first", "second", "late"]


def test_a_cancelled_alarm_never_rings(run: Run) -> None:
    """Not even when it is cancelled in the instant it falls due, and cancelling twice is harmless."""

    async def story() -> list[str]:
        clock, rung = VirtualClock(START), list[str]()
        first = clock.at(START + 1, lambda: rung.append("first"))
        second = clock.at(START + 2, lambda: rung.append("second"))
        first.cancel()
        assert clock.next_alarm_ms() == START + 2
        clock.jump_to(START + 2)
        second.cancel()
        second.cancel()
        await asyncio.sleep(0)
        return rung

    assert run(story()) == []


@pytest.mark.parametrize("make", [lambda: VirtualClock(START), SkipClock])
def test_no_clock_goes_backwards(run: Run, make: Callable[[], VirtualClock | SkipClock]) -> None:
    """A jump into the past moves nothing, and a jump ahead stays."""

    async def story() -> None:
        clock = make()
        before = clock.now_ms()
        clock.jump_to(before - 1_000)
        assert clock.now_ms() >= before
        clock.jump_to(before + 60_000)
        assert clock.now_ms() >= before + 60_000
        clock.jump_to(before)
        assert clock.now_ms() >= before + 60_000

    run(story())


def test_a_deadline_that_has_passed_rings_at_once(run: Run) -> None:
    """Asking for an instant that is over is no way to be forgotten, on either clock."""

    async def story() -> None:
        for clock in (VirtualClock(START), SkipClock()):
            rung = asyncio.Event()
            clock.at(clock.now_ms() - 5, rung.set)
            await asyncio.wait_for(rung.wait(), 1)

    run(story())


def test_the_skip_clock_runs_and_can_be_pushed(run: Run) -> None:
    """An alarm rings by itself when real time reaches it, and at once when the clock is pushed over it."""

    async def story() -> None:
        clock = SkipClock()
        soon, far = asyncio.Event(), asyncio.Event()
        clock.at(clock.now_ms() + 3_600_000, far.set)
        clock.at(clock.now_ms() + 5, soon.set)
        await asyncio.wait_for(soon.wait(), 1)
        assert not far.is_set()
        clock.jump_to(clock.now_ms() + 3_600_000)
        await asyncio.wait_for(far.wait(), 1)

    run(story())


def test_advance_works_off_chains_of_alarms(run: Run) -> None:
    """What an alarm asks for in turn happens too, each at its own instant, and nothing beyond the target does."""

    async def story() -> list[int]:
        clock, at = VirtualClock(0), list[int]()

        def again() -> None:
            at.append(clock.now_ms())
            clock.at(clock.now_ms() + 400, again)

        clock.at(400, again)
        conductor = Conductor(clock, {})
        assert await conductor.advance(by_ms=1_000) == 1_000
        assert await conductor.advance(to_ms=900) == 1_000
        return at

    assert run(story()) == [400, 800]


def test_advance_waits_for_what_an_alarm_set_in_motion(run: Run) -> None:
    """The clock does not move on while a part is at work, however long that takes in real time."""

    async def story() -> list[int]:
        clock, finished, busy, looks = VirtualClock(0), list[int](), [0], asyncio.Semaphore(0)

        async def work() -> None:
            for _ in range(10):  # the conductor looked ten times, and found this at work
                await looks.acquire()
            finished.append(clock.now_ms())
            busy[0] -= 1

        def is_quiet() -> bool:
            if busy[0]:
                looks.release()
            return busy[0] == 0

        def begin() -> None:
            busy[0] += 1
            tasks.append(asyncio.get_running_loop().create_task(work()))

        tasks: list[asyncio.Task[None]] = []
        clock.at(10, begin)
        clock.at(20, begin)
        await Conductor(clock, {"worker": is_quiet}).advance(by_ms=100)
        return finished

    assert run(story()) == [10, 20]


def test_advance_without_a_target_ends_when_nothing_is_left(run: Run) -> None:
    """It goes to the last alarm and no further."""

    async def story() -> int:
        clock = VirtualClock(0)

        def ask_again() -> None:
            clock.at(9_000, lambda: None)

        clock.at(5_000, ask_again)
        return await Conductor(clock, {}).advance()

    assert run(story()) == 9_000


def test_advance_stops_as_soon_as_the_condition_holds(run: Run) -> None:
    """With `until`, alarms after the one that made it true stay where they are."""

    async def story() -> int:
        clock, rung = VirtualClock(0), list[int]()
        for at_ms in (10, 20, 30):
            clock.at(at_ms, lambda: rung.append(1))
        return await Conductor(clock, {}).advance(until=lambda: len(rung) == 2)

    assert run(story()) == 20


def test_what_never_rests_is_named(run: Run) -> None:
    """When a part stays at work for longer than the real time allowed, the error says which."""

    async def story() -> None:
        conductor = Conductor(VirtualClock(0), {"idle": lambda: True}, stall_s=0.01)
        conductor.watch("the courier", lambda: False)
        with pytest.raises(NotQuiet, match="the courier"):
            await conductor.advance(by_ms=1)

    run(story())
