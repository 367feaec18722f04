"""Whether an endpoint is well: counts failures that speak about it, says when it rests, wakes, or is given up. Pure.

Time comes in as a value (ms of one clock); what an answer says about the endpoint is `verdict`'s table. DESIGN §6.
"""

from enum import Enum
from typing import Final

REST_AFTER: Final = 10
"""Failures in a row, and nothing but failures."""
FIRST_PROBE_MS: Final = 30_000
LAST_PROBE_MS: Final = 600_000
"""Probes come twice as late each time, up to this."""
DISABLE_AFTER_MS: Final = 5 * 24 * 3_600_000
"""Failing for so long, and still failing."""


class Turn(Enum):
    """What an outcome changed."""

    NOTHING = "nothing"
    RESTS = "rests"
    WOKE = "woke"
    GIVEN_UP = "given_up"
    """Five days of nothing but failures: it is to be disabled."""


class Health:
    """One endpoint's. ``failing_since_ms`` is when the first of its present failures came."""

    __slots__ = ("_failures", "_interval_ms", "failing_since_ms", "is_resting", "probe_at_ms")

    def __init__(self) -> None:
        self.is_resting = False
        self.failing_since_ms: int | None = None
        self.probe_at_ms = 0
        """When it may be asked again; means something only while it rests."""
        self._failures = 0
        self._interval_ms = FIRST_PROBE_MS

    def answered(self) -> Turn:
        """It gave an answer that proves it alive, whatever that means for the event."""
        woke = self.is_resting
        self.is_resting = False
        self.failing_since_ms = None
        self._failures = 0
        return Turn.WOKE if woke else Turn.NOTHING

    def failed(self, now_ms: int) -> Turn:
        """It failed in a way that speaks about the endpoint itself."""
        self._failures += 1
        if self.failing_since_ms is None:
            self.failing_since_ms = now_ms
        if self.is_resting:
            if now_ms - self.failing_since_ms >= DISABLE_AFTER_MS:
                return Turn.GIVEN_UP
            return Turn.NOTHING
        if self._failures < REST_AFTER:
            return Turn.NOTHING
        self.rest(now_ms, self.failing_since_ms)
        return Turn.RESTS

    def rest(self, now_ms: int, failing_since_ms: int) -> None:
        """Rest from now on: ten failures came, or it rested already when this process began."""
        self.is_resting = True
        self.failing_since_ms = failing_since_ms
        self._interval_ms = FIRST_PROBE_MS
        self.probe_at_ms = now_ms + FIRST_PROBE_MS

    def probed(self, now_ms: int) -> None:
        """A probe is over and it did not wake: the next one comes twice as late."""
        self._interval_ms = min(2 * self._interval_ms, LAST_PROBE_MS)
        self.probe_at_ms = now_ms + self._interval_ms
