"""Which endpoints have lanes due in the store and may be told: a heap of instants, so that those that wait, or rest, cost
nothing. Pure.
"""

from collections.abc import Collection, Mapping
from heapq import heappop, heappush

from homing.callbacks.berth import Berth


class Overdue:
    """Berths by `Berth.due_ms`; entries that are no longer true are passed over when they come up.

    A blocked berth is in none of its answers: a hundred that rest are overdue for days, and are looked past all the time.
    """

    def __init__(self, all_berths: Mapping[int, Berth]) -> None:
        self._all = all_berths
        self._heap: list[tuple[int, int]] = []
        self._due: dict[int, Berth] = {}

    def set(self, berth: Berth, due_ms: int | None) -> bool:
        """Note when a berth's first lane falls due (None: none waits); say whether it was overdue until now."""
        berth.due_ms = due_ms
        was_due = self._due.pop(berth.endpoint, None) is not None
        self._wait_for(berth)
        return was_due

    def blocked(self, berth: Berth) -> None:
        """Note that a berth was blocked, or is so no more."""
        self._due.pop(berth.endpoint, None)
        self._wait_for(berth)

    def advance(self, now_ms: int) -> bool:
        """Let time pass; say whether a berth became overdue."""
        heap = self._heap
        has_changed = False
        while heap and heap[0][0] <= now_ms:
            due_ms, endpoint = heappop(heap)
            berth = self._awaited(due_ms, endpoint)
            if berth is not None and endpoint not in self._due:
                self._due[endpoint] = berth
                has_changed = True
        return has_changed

    def berths(self) -> Collection[Berth]:
        """Those that have lanes due and are not blocked."""
        return self._due.values()

    def endpoints(self) -> Collection[int]:
        """Their endpoints."""
        return self._due.keys()

    def next_ms(self) -> int | None:
        """When the next berth becomes overdue."""
        heap = self._heap
        while heap:
            due_ms, endpoint = heap[0]
            if self._awaited(due_ms, endpoint) is not None:
                return due_ms
            heappop(heap)
        return None

    def _wait_for(self, berth: Berth) -> None:
        if berth.due_ms is not None and not berth.is_blocked:
            heappush(self._heap, (berth.due_ms, berth.endpoint))

    def _awaited(self, due_ms: int, endpoint: int) -> Berth | None:
        """Return the berth of a heap's entry if that is still true."""
        berth = self._all.get(endpoint)
        return berth if berth is not None and berth.due_ms == due_ms and not berth.is_blocked else None
