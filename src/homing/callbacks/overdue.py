"""Which endpoints have lanes due in the store: a heap of instants, so that a thousand that wait cost nothing. Pure."""

from collections.abc import Collection, Mapping
from heapq import heappop, heappush

from homing.callbacks.berth import Berth


class Overdue:
    """Berths by `Berth.due_ms`; entries that are no longer true are passed over when they come up."""

    def __init__(self, all_berths: Mapping[int, Berth]) -> None:
        self._all = all_berths
        self._heap: list[tuple[int, int]] = []
        self._due: dict[int, Berth] = {}

    def set(self, berth: Berth, due_ms: int | None) -> bool:
        """Note when a berth's first lane falls due (None: none waits); say whether it was overdue until now."""
        berth.due_ms = due_ms
        was_due = self._due.pop(berth.endpoint, None) is not None
        if due_ms is not None:
            heappush(self._heap, (due_ms, berth.endpoint))
        return was_due

    def advance(self, now_ms: int) -> bool:
        """Let time pass; say whether a berth became overdue."""
        heap = self._heap
        has_changed = False
        while heap and heap[0][0] <= now_ms:
            due_ms, endpoint = heappop(heap)
            berth = self._all.get(endpoint)
            if berth is not None and berth.due_ms == due_ms and endpoint not in self._due:
                self._due[endpoint] = berth
                has_changed = True
        return has_changed

    def berths(self) -> Collection[Berth]:
        """Those that have lanes due."""
        return self._due.values()

    def endpoints(self) -> Collection[int]:
        """Their endpoints."""
        return self._due.keys()

    def next_ms(self) -> int | None:
        """When the next berth becomes overdue."""
        heap = self._heap
        while heap:
            due_ms, endpoint = heap[0]
            berth = self._all.get(endpoint)
            if berth is not None and berth.due_ms == due_ms:
                return due_ms
            heappop(heap)
        return None
