"""Clocks that can be pushed forward, and the conductor who does so without leaving anything behind.

Only the engine's time is moved; deadlines of HTTP, heartbeats and `webhook-timestamp` stay real. Never backwards.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from homing.clock import Alarm, Clock

STALL_S: Final = 30.0
"""How much real time the system gets to become quiet between two instants."""
_LOOKS_S: Final = (0.0, 0.001, 0.0, 0.001)
"""So many looks in a row, with so much real time before each, must find everything at rest: bytes on their way over
loopback are seen by nobody, and have arrived a turn or two later.
"""


class NotQuiet(RuntimeError):
    """The system did not come to rest; the text names what is still at work."""


class _Asked:
    """An alarm that was asked for."""

    __slots__ = ("is_off", "ring")

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.is_off = False

    def cancel(self) -> None:
        self.is_off = True


class _Alarms:
    """Alarms in the order of their times, those of one instant in the order they were asked for."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, _Asked]] = []
        self._count = 0

    def ask(self, when_ms: int, ring: Callable[[], None]) -> _Asked:
        asked = _Asked(ring)
        self._count += 1
        heapq.heappush(self._heap, (when_ms, self._count, asked))
        return asked

    def next_ms(self) -> int | None:
        while self._heap and self._heap[0][2].is_off:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def ring_until(self, now_ms: int) -> None:
        """Have everything due rung in the loop's next turn, so that one that fails stops no other."""
        loop = asyncio.get_running_loop()
        while (when_ms := self.next_ms()) is not None and when_ms <= now_ms:
            loop.call_soon(_ring, heapq.heappop(self._heap)[2])


def _ring(asked: _Asked) -> None:
    if not asked.is_off:
        asked.is_off = True
        asked.ring()


class SteerableClock(Clock, Protocol):
    """A clock that can be told to be later."""

    def next_alarm_ms(self) -> int | None:
        """When the next alarm is due, None if nobody asked for one."""
        ...

    def jump_to(self, when_ms: int) -> None:
        """Make it ``when_ms``, or leave it where it is if that has passed; what is due by then rings."""
        ...


class VirtualClock:
    """Stands still until told. Starts at a given instant."""

    def __init__(self, start_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = start_ms
        self._alarms = _Alarms()

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return self._now_ms

    def at(self, when_ms: int, ring: Callable[[], None]) -> Alarm:
        """See `Clock.at`; a deadline that has passed rings in the loop's next turn."""
        asked = self._alarms.ask(when_ms, ring)
        if when_ms <= self._now_ms:
            self._alarms.ring_until(self._now_ms)
        return asked

    def next_alarm_ms(self) -> int | None:
        """See `SteerableClock.next_alarm_ms`."""
        return self._alarms.next_ms()

    def jump_to(self, when_ms: int) -> None:
        """See `SteerableClock.jump_to`."""
        self._now_ms = max(self._now_ms, when_ms)
        self._alarms.ring_until(self._now_ms)


class SkipClock:
    """Runs like the machine's clock, and may be pushed ahead of it."""

    def __init__(self) -> None:
        self._ahead_ms = 0
        self._last_ms = 0
        self._alarms = _Alarms()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms: int | None = None

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        now_ms = time.time_ns() // 1_000_000 + self._ahead_ms
        if now_ms < self._last_ms:
            return self._last_ms  # the machine's clock stepped back
        self._last_ms = now_ms
        return now_ms

    def at(self, when_ms: int, ring: Callable[[], None]) -> Alarm:
        """See `Clock.at`."""
        asked = self._alarms.ask(when_ms, ring)
        self._arm()
        return asked

    def next_alarm_ms(self) -> int | None:
        """See `SteerableClock.next_alarm_ms`."""
        return self._alarms.next_ms()

    def jump_to(self, when_ms: int) -> None:
        """See `SteerableClock.jump_to`."""
        self._ahead_ms += max(0, when_ms - self.now_ms())
        self._alarms.ring_until(self.now_ms())
        self._arm()

    def _arm(self) -> None:
        next_ms = self._alarms.next_ms()
        if next_ms == self._timer_ms and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_ms = None, next_ms
        if next_ms is not None:
            wait_s = max(0.0, (next_ms - self.now_ms()) / 1000)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._due)

    def _due(self) -> None:
        self._timer = None
        self._alarms.ring_until(self.now_ms())
        self._arm()


class Conductor:
    """Pushes a clock forward from one alarm to the next, and lets the whole system come to rest in between.

    ``quiet`` names every part that may be at work, with its ``is_quiet``.
    """

    def __init__(
        self,
        clock: SteerableClock,
        quiet: Mapping[str, Callable[[], bool]],
        *,
        stall_s: float = STALL_S,
    ) -> None:
        self._clock = clock
        self._quiet = dict(quiet)
        self._stall_s = stall_s
        self._turn = asyncio.Lock()

    def watch(self, name: str, is_quiet: Callable[[], bool]) -> None:
        """Wait for one more part from now on."""
        self._quiet[name] = is_quiet

    async def advance(
        self,
        *,
        by_ms: int | None = None,
        to_ms: int | None = None,
        until: Callable[[], bool] | None = None,
    ) -> int:
        """Let time pass and return what time it is, once everything has happened that happens until then.

        Give ``by_ms`` or ``to_ms`` (ms since the epoch; one that has passed moves nothing), or neither to go on until
        no alarm is left. With ``until`` it stops as soon as that holds. Raises `NotQuiet` when the system does not
        come to rest within the real time allowed. Calls take turns.
        """
        async with self._turn:
            if by_ms is not None:
                to_ms = self._clock.now_ms() + by_ms
            while True:
                await self.quiet()
                if until is not None and until():
                    break
                next_ms = self._clock.next_alarm_ms()
                if next_ms is None or (to_ms is not None and next_ms > to_ms):
                    if to_ms is not None and self._clock.now_ms() < to_ms:
                        self._clock.jump_to(to_ms)
                        await self.quiet()
                    break
                self._clock.jump_to(next_ms)
            return self._clock.now_ms()

    async def quiet(self) -> None:
        """Return once nothing is at work and nothing is due, several looks in a row; `NotQuiet` if that never is."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._stall_s
        looks = 0
        while looks < len(_LOOKS_S):
            await asyncio.sleep(_LOOKS_S[looks])
            busy = [name for name, is_quiet in self._quiet.items() if not is_quiet()]
            next_ms = self._clock.next_alarm_ms()
            is_due = next_ms is not None and next_ms <= self._clock.now_ms()
            if busy or is_due:
                looks = 0
                await asyncio.sleep(_LOOKS_S[1])
            else:
                looks += 1
            if loop.time() > until_s:
                raise NotQuiet(f"still at work: {', '.join(busy) or 'an alarm that is due'}")


__all__ = ["Conductor", "NotQuiet", "SkipClock", "SteerableClock", "VirtualClock"]
