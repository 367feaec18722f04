"""How many callbacks at a time one endpoint gets: more while it keeps up, half when it says it cannot. Pure.

A busy customer 50 ms away needs hundreds at a time, a sick one must not get them. Growth stops when a longer queue only
makes answers slower: then more in flight costs both sides and brings nothing.
"""

from typing import Final

START: Final = 16
_SLOWER: Final = 2.0
"""Answers this many times slower than the fastest round mean that the endpoint, or we, are queueing."""
_FAST_MS: Final = 2.0
"""Below this, a change of latency is our own loop's noise."""


class Pace:
    """The allowed number in flight for one endpoint, between 1 and ``most``."""

    __slots__ = ("_best_ms", "_in_round", "_spent_ms", "allowed", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed = min(START, most)
        self._in_round = 0
        self._spent_ms = 0.0
        self._best_ms = 0.0

    def succeeded(self, took_ms: float, *, is_full: bool) -> None:
        """Count an answer; ``is_full`` says that the limit held something back meanwhile."""
        self._in_round += 1
        self._spent_ms += took_ms
        if self._in_round < self.allowed:
            return
        mean_ms = max(self._spent_ms / self._in_round, _FAST_MS)
        self._in_round = 0
        self._spent_ms = 0.0
        if self._best_ms == 0.0 or mean_ms < self._best_ms:
            self._best_ms = mean_ms
        else:
            # What was fastest long ago need not be possible any more.
            self._best_ms += (mean_ms - self._best_ms) / 64
        if is_full and mean_ms <= _SLOWER * self._best_ms:
            self.allowed = min(self.most, self.allowed + max(1, self.allowed // 16))

    def overloaded(self) -> None:
        """Halve, because the endpoint answered 429 or 503, or not in time."""
        self.allowed = max(1, self.allowed // 2)
        self._in_round = 0
        self._spent_ms = 0.0
