"""What time it is and who wants to be woken when: the port every timed part goes through, and the real one.

Deadlines of messages, retries and simulated people follow this clock; liveness, network timeouts and the
``webhook-timestamp`` never do (they are real). Nothing here knows what an alarm is for.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A wake-up that was asked for and can be taken back."""

    def cancel(self) -> None:
        """Take it back; doing so twice, or after it rang, is harmless."""


class Clock(Protocol):
    """Milliseconds since the Unix epoch that never go backwards, and alarms on them."""

    def now_ms(self) -> int:
        """Return this instant; callable from any thread."""

    def at(self, when_ms: int, ring: Callable[[], None]) -> Alarm:
        """Call ``ring`` on the event loop about when ``now_ms()`` reaches ``when_ms``; only from the loop's thread.

        It may ring a few ms early (timers and wall clocks drift): the one who is woken looks at the clock again.
        """


class RealClock:
    """The machine's wall clock, held still while the wall clock steps back."""

    def __init__(self) -> None:
        self._last_ms = 0

    def now_ms(self) -> int:
        """Return wall time in ms, never less than was returned before."""
        now = time.time_ns() // 1_000_000
        if now < self._last_ms:
            return self._last_ms
        self._last_ms = now
        return now

    def at(self, when_ms: int, ring: Callable[[], None]) -> asyncio.TimerHandle:
        """See `Clock.at`; a deadline that has passed rings in the loop's next turn."""
        delay_s = max(0.0, (when_ms - self.now_ms()) / 1000)
        return asyncio.get_running_loop().call_later(delay_s, ring)
