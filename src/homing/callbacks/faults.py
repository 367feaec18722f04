"""What could not even be sent from here: how long it waits until it is tried again, and that the operator hears of it.

The fault is this server's own (no file descriptor, no memory), so it spends no try and says nothing about an endpoint.
"""

import time
from collections.abc import Callable
from typing import Final

from homing.telemetry import LogEvent, logger

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0
SAID_EVERY_S: Final = 60.0
"""What a server lacks it lacks for all callbacks: one line of the log stands for many."""


def wait_s(times: int) -> float:
    """Return how long a callback waits that could not be sent so many times in a row: twice as long each time, to a bound."""
    return min(LONGEST_S, FIRST_S * 2.0 ** min(times - 1, 20))


class Faults:
    """Says what went wrong, the first time at once and then now and then."""

    def __init__(self, real_s: Callable[[], float] = time.monotonic) -> None:
        self._real_s = real_s
        self._said_s: float | None = None
        self._untold = 0

    def say(self, endpoint: int, error: str) -> None:
        """Log one, with how many there were since the line before."""
        now_s = self._real_s()
        self._untold += 1
        if self._said_s is None or now_s - self._said_s >= SAID_EVERY_S:
            logger().error(LogEvent.CALLBACK_UNSENT, endpoint=endpoint, error=error, count=self._untold)
            self._said_s, self._untold = now_s, 0
