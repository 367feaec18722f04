"""Where a feed ends: where nothing can come behind.

A transaction takes its positions at its beginning and may commit later. So what is read ends a few seconds ago, and
before the oldest transaction of any node that still runs (ADR 0008).
"""

from typing import Final

from homing.store.archive.feed import by_halves, head
from homing.store.dialogue import Ask, Dialogue
from homing.store.postgres.positions import first_of

EMBEDDED: Final = "embedded_position"
"""Name in ``meta`` of the last position that an embedded store gave, where everything was moved from one."""
_CLOCKS_MS: Final = 1_000
"""By so much a node's idea of the database's clock may be wrong."""


def line(until_ms: int, running_ms: int | None) -> int:
    """Return the last position that is safe to read: before an instant, and before what began then and still runs."""
    if running_ms is not None:
        until_ms = min(until_ms, running_ms - _CLOCKS_MS)
    return first_of(until_ms + 1) - 1


def readable_end(now_ms: int, lag_ms: int) -> Dialogue[int]:
    """Return where the feed ends for whoever reads it in statements after this one."""
    ((running_ms,),) = yield Ask("archive", "oldest_transaction")
    return (yield from head(line(now_ms - lag_ms, running_ms)))


def since(at_ms: int, until: int) -> Dialogue[int]:
    """See `port.Archive.feed_since`: nothing is recorded before it happens, so what is behind this holds all of it.

    What was moved here from an embedded store is numbered one by one, before everything else.
    """
    moved = yield Ask("meta", "number", (EMBEDDED,))
    if moved:
        found = yield from by_halves(at_ms, moved[0][0])
        if found is not None:
            return found
    return min(max(first_of(at_ms) - 1, 0), (yield from head(until)))
