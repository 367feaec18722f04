"""The database's clock, kept on this machine: the instant there at one instant here, and the time since then."""

import asyncio
import time
from collections.abc import Callable

_TOO_SLOW_S = 0.5
"""An answer that took longer says too little about when it was given."""


class StoreClock:
    """Milliseconds since the Unix epoch as the database sees them; never backwards (`homing.clock.Clock`)."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()
        self._last_ms = 0

    def now_ms(self) -> int:
        """Return this instant by the database's clock."""
        now_ms = int((time.monotonic() + self._offset_s) * 1000)
        self._last_ms = max(self._last_ms, now_ms)
        return self._last_ms

    def measured(self, there_ms: int, asked_s: float, answered_s: float) -> None:
        """Take in what the database's clock said between two instants of ``time.monotonic()``."""
        if answered_s - asked_s <= _TOO_SLOW_S:
            self._offset_s = there_ms / 1000 - (asked_s + answered_s) / 2

    def at(self, when_ms: int, ring: Callable[[], None]) -> asyncio.TimerHandle:
        """See `homing.clock.Clock.at`."""
        delay_s = max(0.0, (when_ms - self.now_ms()) / 1000)
        return asyncio.get_running_loop().call_later(delay_s, ring)
