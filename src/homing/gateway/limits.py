"""How often somebody may do something: token buckets, and a bounded number of them. Times come in, in seconds."""

from collections import OrderedDict
from typing import Final

_KEPT: Final = 10_000


class Bucket:
    """Holds ``burst`` at first and gets ``per_s`` back each second."""

    __slots__ = ("_at_s", "_burst", "_left", "_per_s")

    def __init__(self, burst: float, per_s: float, now_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = burst
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return how many seconds it takes until something is left; 0 if something is."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return 0.0 if self._left >= 1 else (1 - self._left) / self._per_s

    def take(self, cost: float, now_s: float) -> float:
        """Take ``cost`` if something is left (it may go into debt), and return 0; else how many seconds to wait."""
        wait_s = self.wait_s(now_s)
        if wait_s == 0:
            self._left -= cost
        return wait_s

    def give_back(self, cost: float) -> None:
        """Undo a `take`."""
        self._left = min(self._burst, self._left + cost)


class Buckets:
    """One bucket per name. Beyond `_KEPT` names the one unused for longest is forgotten."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, name: str, now_s: float) -> Bucket:
        """Return the bucket of this name."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(self._burst, self._per_s, now_s)
            if len(self._buckets) > _KEPT:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        return bucket
