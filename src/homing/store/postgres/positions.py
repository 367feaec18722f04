"""Where an event stands in the feed: the ms it was recorded in, then who recorded it, then the how-manieth of that ms.

A position is known before its transaction commits, so no row is fought over for it; that nothing appears behind what
was read is the reader's business (`homing.store.postgres.archive_feed`, ADR 0008).
"""

from typing import Final

SLOTS: Final = 256
"""Epochs that live at a time differ modulo this (`homing.store.postgres.nodes`), so no two positions are equal."""
_PER_MS: Final = 4096
_BITS: Final = 20


def at_ms(position: int) -> int:
    """Return the ms of a position."""
    return position >> _BITS


def first_of(ms: int) -> int:
    """Return the least position of a ms."""
    return max(ms, 0) << _BITS


class Positions:
    """The positions of one epoch: always ascending, never before the instant they are taken at."""

    def __init__(self, epoch: int) -> None:
        self._slot = epoch % SLOTS
        self._ms = 0
        self._count = 0

    def take(self, now_ms: int, count: int) -> "Run":
        """Return the next ``count`` positions. A ms that is full lends from the next: who reads waits for that one."""
        if now_ms > self._ms:
            self._ms, self._count = now_ms, 0
        run = Run(self._ms, self._slot, self._count)
        whole = self._count + count
        self._ms, self._count = self._ms + whole // _PER_MS, whole % _PER_MS
        return run


class Run:
    """A run of positions, by index."""

    __slots__ = ("_count", "_ms", "_slot")

    def __init__(self, ms: int, slot: int, count: int) -> None:
        self._ms, self._slot, self._count = ms, slot, count

    def __getitem__(self, index: int) -> int:
        count = self._count + index
        return (self._ms + count // _PER_MS) << _BITS | self._slot << 12 | count % _PER_MS
