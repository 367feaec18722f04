"""What has come and is not yet on disk: the queues, and how one batch is taken from them.

Order of precedence: settles and receipts, then incoming messages, then accepts, then the clock. It commits nothing.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, TypeVar

from homing.errors import HomingError
from homing.lifecycle.dispatch import Clock
from homing.model import DispatchKey, MessageId
from homing.store.batch import (
    Accept,
    Accepted,
    Batch,
    CommandDone,
    Committed,
    Incoming,
    Note,
    Occurrence,
    Result,
    Settle,
)

BATCH_DISPATCHES: Final = 500
"""A transaction touches at most so many dispatches, or one message whole."""
CLOCK_DISPATCHES: Final = 200
"""Of those at most so many because of the clock, so that a flood of deadlines delays no receipt."""
BATCH_SETTLES: Final = 2_000
"""And at most so many outcomes of callbacks, which are cheaper."""
WORTH_A_BATCH: Final = 256
"""So many outcomes are recorded at once; fewer wait a little for company."""

_T = TypeVar("_T")
_TICKED: Final = Clock()


class Recording:
    """Occurrences that were handed in together, and the one who waits for what they came to."""

    __slots__ = ("future", "left", "results")

    def __init__(self, count: int) -> None:
        self.future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self.left = count
        self.results: list[Result] = []

    def add(self, result: Result) -> None:
        """Take the next result; the last one settles the future."""
        self.results.append(result)
        self.left -= 1
        if not self.left:
            tell(self.future, self.results)


class Intake:
    """The queues, one per kind."""

    def __init__(self) -> None:
        self.settles: deque[Settle] = deque()
        self.commands: deque[CommandDone] = deque()
        self.notes: deque[Note] = deque()
        self.happened: deque[tuple[Occurrence, Recording | None]] = deque()
        self.incomings: deque[tuple[Incoming, asyncio.Future[MessageId]]] = deque()
        self.accepts: deque[tuple[Accept, asyncio.Future[Accepted]]] = deque()
        self.ticked: deque[DispatchKey] = deque()
        self.is_awaited = False
        """A lane's next event waits for one of the settles (ADR 0002)."""
        self.waiting_recipients = 0
        """How many recipients the waiting accepts have together."""
        self._since_s: deque[float] = deque()
        self._was_passed_over = False
        self._ticking: set[DispatchKey] = set()
        self._stepped = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(
            self.settles or self.happened or self.accepts or self.ticked or self.commands or self.incomings
            or self.notes
        )  # fmt: skip

    def accept(self, accept: Accept, now_s: float) -> "asyncio.Future[Accepted]":
        """Queue a message; ``now_s`` is the loop's time."""
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self.accepts.append((accept, future))
        self._since_s.append(now_s)
        self.waiting_recipients += len(accept.addressees)
        return future

    def waited_s(self, now_s: float) -> float:
        """Return how long the message that is next has been waiting."""
        return now_s - self._since_s[0] if self._since_s else 0.0

    def tick(self, keys: Sequence[bytes]) -> None:
        """Queue dispatches whose deadline has passed."""
        self.ticked.extend(DispatchKey(key) for key in keys)
        self._ticking.update(self.ticked)
        self._stepped.clear()

    async def all_stepped(self) -> None:
        """Wait until every dispatch that was given to `tick` was stepped, or could not be."""
        if self._ticking:
            await self._stepped.wait()

    def end_ticks(self, keys: Sequence[DispatchKey]) -> None:
        """Hear that these were stepped, or could not be."""
        self._ticking.difference_update(keys)
        if not self._ticking:
            self._stepped.set()

    def is_urgent(self) -> bool:
        """Say whether somebody waits for the next batch, or enough has come to be worth one.

        Outcomes and notes are seldom waited for: most lanes have nothing more to tell just then.
        """
        return bool(
            self.is_awaited or self.happened or self.accepts or self.incomings or self.ticked
            or len(self.settles) >= WORTH_A_BATCH or len(self.commands) >= WORTH_A_BATCH
        )  # fmt: skip

    def take(self, born_free: frozenset[int]) -> "Taken":
        """Take the next batch, at most `BATCH_DISPATCHES` dispatches or one message whole."""
        taken = Taken(self, born_free)
        self.is_awaited = False
        _move(self.settles, taken.settles, BATCH_SETTLES)
        _move(self.commands, taken.commands, BATCH_SETTLES)
        _move(self.notes, taken.notes, BATCH_SETTLES)
        room = BATCH_DISPATCHES
        if self._was_passed_over:  # however busy the rest, messages get on
            room = self._take_accepts(taken, room)
        _move(self.happened, taken.happened, max(room, 0))
        room -= len(taken.happened)
        _move(self.incomings, taken.incomings, max(room, 0))
        room -= len(taken.incomings)
        if not taken.accepts:
            room = self._take_accepts(taken, room)
        self._was_passed_over = bool(self.accepts) and not taken.accepts
        # And so does the clock.
        _move(self.ticked, taken.ticked, min(max(room, CLOCK_DISPATCHES // 10), CLOCK_DISPATCHES))
        return taken

    def _take_accepts(self, taken: "Taken", room: int) -> int:
        """Take the messages that fit; one that fits in no batch is a batch of its own. Returns the room left."""
        while self.accepts:
            size = len(self.accepts[0][0].addressees)
            if size > room and (taken.accepts or room < BATCH_DISPATCHES):
                break
            taken.accepts.append(self.accepts.popleft())
            self._since_s.popleft()
            self.waiting_recipients -= size
            room -= size
        return room

    def give_back(self, taken: "Taken") -> None:
        """Put back, in front, what must be recorded whatever happens: all but new messages."""
        self.settles.extendleft(reversed(taken.settles))
        self.commands.extendleft(reversed(taken.commands))
        self.notes.extendleft(reversed(taken.notes))
        self.happened.extendleft(reversed(taken.happened))
        self.ticked.extendleft(reversed(taken.ticked))


class Taken:
    """One batch on its way, and everyone who waits to hear what came of theirs."""

    def __init__(self, intake: Intake, born_free: frozenset[int]) -> None:
        self._intake = intake
        self._born_free = born_free
        self.settles: list[Settle] = []
        self.commands: list[CommandDone] = []
        self.notes: list[Note] = []
        self.happened: list[tuple[Occurrence, Recording | None]] = []
        self.incomings: list[tuple[Incoming, asyncio.Future[MessageId]]] = []
        self.accepts: list[tuple[Accept, asyncio.Future[Accepted]]] = []
        self.ticked: list[DispatchKey] = []

    def batch(self) -> Batch:
        """What the store is to write."""
        return Batch(
            self.settles,
            [accept for accept, _ in self.accepts],
            [incoming for incoming, _ in self.incomings],
            [occurrence for occurrence, _ in self.happened]
            + [Occurrence(key, _TICKED) for key in self.ticked],
            self.commands,
            self.notes,
            self._born_free,
        )

    def size(self) -> int:
        """How many things it holds."""
        return sum(len(items) for items in self._lists())

    def has_owed(self) -> bool:
        """Say whether it holds anything that must be recorded whatever happens."""
        return bool(self.settles or self.commands or self.notes or self.happened or self.ticked)

    def succeed(self, committed: Committed) -> None:
        """Tell everyone what is now on disk."""
        for (_, accepting), accepted in zip(self.accepts, committed.accepts, strict=True):
            tell(accepting, accepted)
        for (_, taking_in), message_id in zip(self.incomings, committed.incomings, strict=True):
            tell(taking_in, message_id)
        for (_, recording), result in zip(self.happened, committed.occurrences, strict=False):
            if recording is not None:
                recording.add(result)
        self._intake.end_ticks(self.ticked)

    def fail(self, error: HomingError) -> None:
        """Tell everyone that theirs cannot be stored."""
        self.fail_new(error)
        for _, recording in self.happened:
            if recording is not None:
                tell(recording.future, error)
        self._intake.end_ticks(self.ticked)

    def fail_new(self, error: HomingError) -> None:
        """Tell the senders of new messages, who will send them again, that theirs was not stored or nobody knows."""
        for _, accepting in self.accepts:
            tell(accepting, error)
        for _, taking_in in self.incomings:
            tell(taking_in, error)
        self.accepts, self.incomings = [], []

    def halves(self) -> "tuple[Taken, Taken] | None":
        """Split in two, to find the one item that cannot be stored; None when this is it."""
        total = self.size()
        if total <= 1:
            return None
        first, second = Taken(self._intake, self._born_free), Taken(self._intake, self._born_free)
        left = total // 2
        for mine, one, other in zip(self._lists(), first._lists(), second._lists(), strict=True):
            cut = min(len(mine), left)
            left -= cut
            one.extend(mine[:cut])
            other.extend(mine[cut:])
        return first, second

    def kind(self) -> str:
        """Name the kind of the first thing in it, for the log."""
        names = ("settle", "command", "note", "occurrence", "incoming", "accept", "deadline")
        return next((name for name, items in zip(names, self._lists(), strict=True) if items), "nothing")

    def _lists(self) -> tuple[list[object], ...]:
        return (  # type: ignore[return-value] # lists of seven types, cut alike
            self.settles, self.commands, self.notes, self.happened, self.incomings, self.accepts, self.ticked
        )  # fmt: skip


def _move(source: deque[_T], target: list[_T], most: int) -> None:
    if len(source) <= most:
        target.extend(source)
        source.clear()
    else:
        target.extend(source.popleft() for _ in range(most))


def tell(future: "asyncio.Future[_T]", outcome: "_T | HomingError") -> None:
    """Settle a future whose owner may have gone away."""
    if future.done():
        return
    if isinstance(outcome, HomingError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
