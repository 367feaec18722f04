"""How many callbacks at a time one endpoint gets: more while more get through, half when it says it cannot. Pure.

A busy customer 50 ms away needs hundreds at a time, a sick one must not get them. A step up is kept only if it brought
throughput: where answers just get slower in proportion, a longer queue costs both sides and brings nothing.
"""

from typing import Final

START: Final = 16
_STEP: Final = 1.25
_WORTH: Final = 1.075
"""What a step of a quarter must bring to be kept."""
_ROUND: Final = 4
"""A round is so many times as many answers as are allowed at a time: fewer are noise."""
_REST_ROUNDS: Final = 64
"""After a step that brought nothing, how many rounds until the next is tried."""


class Pace:
    """The allowed number in flight for one endpoint, between 1 and ``most``."""

    __slots__ = ("_before", "_before_rate", "_in_round", "_most", "_rest", "_spent_ms", "allowed", "most")

    def __init__(self, most: int) -> None:
        self._most = most
        self.most = most
        self.allowed = min(START, most)
        self._before = self.allowed
        self._before_rate = 0.0
        self._rest = 0
        self._in_round = 0
        self._spent_ms = 0.0

    def succeeded(self, took_ms: float, *, is_full: bool) -> None:
        """Count an answer; ``is_full`` says that the limit held something back meanwhile."""
        if not is_full:
            # Idle places say nothing about what more of them would bring.
            self._in_round, self._spent_ms = 0, 0.0
            return
        self._in_round += 1
        self._spent_ms += took_ms + 0.5  # times come in whole ms, rounded down
        if self._in_round < _ROUND * self.allowed:
            return
        rate = self.allowed * self._in_round / self._spent_ms
        self._in_round, self._spent_ms = 0, 0.0
        if self._rest:
            self._rest -= 1
        elif self.allowed > self._before and rate < _WORTH * self._before_rate:
            self.allowed, self._rest = self._before, _REST_ROUNDS
        elif self.allowed < self.most:
            self._before, self._before_rate = self.allowed, rate
            self.allowed = min(self.most, max(self.allowed + 1, int(self.allowed * _STEP)))

    def limit(self, most: int | None) -> None:
        """Have another limit from now on; None: the one it began with. What only the old one held back is free at once."""
        before, self.most = self.most, self._most if most is None else most
        if self.allowed == before < self.most:
            self.allowed = max(self.allowed, START)
        self.allowed = min(self.allowed, self.most)
        self._before = min(self._before, self.most)

    def restart(self, allowed: int) -> None:
        """Begin anew with so many at a time, and climb from there."""
        self.allowed = min(allowed, self.most)
        self._before, self._before_rate = self.allowed, 0.0
        self._rest = 0
        self._in_round, self._spent_ms = 0, 0.0

    def overloaded(self) -> None:
        """Halve, because the endpoint answered 429 or 503, or not in time."""
        self.allowed = max(1, self.allowed // 2)
        self._before = self.allowed
        self._rest = _ROUND
        self._in_round, self._spent_ms = 0, 0.0
