"""What the engine's tests work with: a clock that is pushed, a ledger that does what a test says."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from tests.store.fakes import NOON_MS, message_id

from homing.lifecycle.dispatch import Clock as Ticked
from homing.model import Body, DispatchKey, dispatch_key
from homing.store.batch import (
    Accept,
    Accepted,
    Addressee,
    Batch,
    CommandWork,
    Committed,
    Incoming,
    LaneWork,
    Outlook,
    Result,
    Settle,
    Verdict,
)
from homing.store.port import Claimed, Dropped, ReplayStep, Retention

_order = count()


class Bell:
    """An alarm of a `PushedClock`."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class PushedClock:
    """A clock that moves when a test pushes it, and then rings what is due, in order."""

    def __init__(self) -> None:
        self.ms = NOON_MS
        self._bells: list[tuple[int, int, Bell]] = []

    def now_ms(self) -> int:
        return self.ms

    def at(self, when_ms: int, ring: Callable[[], None]) -> Bell:
        bell = Bell(ring)
        heapq.heappush(self._bells, (when_ms, next(_order), bell))
        if when_ms <= self.ms:
            asyncio.get_running_loop().call_soon(self.push, 0)
        return bell

    def push(self, ms: int) -> None:
        """Let this much time pass."""
        self.ms += ms
        while self._bells and self._bells[0][0] <= self.ms:
            bell = heapq.heappop(self._bells)[2]
            if not bell.is_cancelled:
                bell.ring()

    @property
    def next_ms(self) -> int | None:
        """When the next bell rings."""
        return min((when for when, _, bell in self._bells if not bell.is_cancelled), default=None)


Commit = Callable[[Batch], Awaitable[Committed | None]]


class FakeLedger:
    """A ledger without a store. ``hook`` is awaited with each batch: it may raise, wait, or say what came of it."""

    def __init__(self, clock: PushedClock) -> None:
        self._clock = clock
        self.batches: list[Batch] = []
        self.tried: list[Batch] = []
        self.hook: Commit | None = None
        self.due: dict[DispatchKey, int] = {}
        """Dispatch → its deadline; stepping it takes it away."""
        self.stuck: set[DispatchKey] = set()
        self.looks = 0
        self.free: int | None = None
        self.epoch = 1

    def now_ms(self) -> int:
        return self._clock.ms

    async def commit(self, batch: Batch) -> Committed:
        self.tried.append(batch)
        committed = None if self.hook is None else await self.hook(batch)
        self.batches.append(batch)
        for occurrence in batch.occurrences:
            if isinstance(occurrence.input, Ticked) and occurrence.key not in self.stuck:
                self.due.pop(occurrence.key, None)
        return committed or Committed(
            self._clock.ms,
            accepts=[Accepted(a.message_id, self._clock.ms, ()) for a in batch.accepts],
            incomings=[i.message_id for i in batch.incomings],
            occurrences=[Result(None, o.detail) for o in batch.occurrences],
            settled=batch.settles,
        )

    async def claim_lanes(self, endpoint: int, limit: int, chance: float | None = None) -> Claimed:
        return Claimed([], None)

    async def replay_step(self, job: str, limit: int) -> ReplayStep:
        return ReplayStep([], is_walked=True)

    async def prune(self, retention: Retention, limit: int) -> int:
        return 0

    async def drop_messages(self, before_ms: int, limit: int) -> Dropped:
        return Dropped(0)

    async def adopt_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        return []

    async def held_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        return []

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        return []

    async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
        return []

    async def release(self, lanes: Sequence[tuple[bytes, int]]) -> None:
        pass

    async def due_dispatches(self, limit: int) -> list[bytes]:
        self.looks += 1
        due = sorted((at_ms, key) for key, at_ms in self.due.items() if at_ms <= self._clock.ms)
        return [key for _, key in due[:limit]]

    async def outlook(self) -> Outlook:
        return Outlook(min(self.due.values(), default=None), None, {})

    def free_bytes(self) -> int | None:
        return self.free


async def until(fact: Callable[[], object]) -> None:
    """Wait for a fact, giving everybody else their turn; pytest's time limit ends a wait in vain."""
    while not fact():
        await asyncio.sleep(0)


def to_accept(recipients: int = 1) -> Accept:
    """Return a message to so many."""
    to = tuple(Addressee(f"u{i}", f"u{i}") for i in range(recipients))
    return Accept(message_id(NOON_MS), 1, None, Body("hello"), to)


def to_take_in() -> Incoming:
    """Return a message from a device."""
    return Incoming(message_id(NOON_MS), 1, 1, "Ann", "phone", "hi")


def to_settle(n: int = 1) -> Settle:
    """Return an outcome of a callback."""
    return Settle(new_key(), 1, n, 0, Verdict.DONE, None)


def new_key() -> DispatchKey:
    """Return the key of some dispatch."""
    return dispatch_key(message_id(NOON_MS), 0)
