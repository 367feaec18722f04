"""The engine: whatever happens becomes part of a batch, and a batch becomes one transaction.

There is no waiting window: what comes while a commit is on its way to the disk is the next batch, so the disk itself
decides how large batches are. It must not know HTTP, devices or carriers: what they need to hear they hear through
`Engine.on_committed`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from homing.clock import Alarm, Clock
from homing.engine.intake import BATCH_DISPATCHES, CLOCK_DISPATCHES, Intake, Recording, Taken
from homing.errors import CommitUnknown, HomingError, RequestError, Unavailable
from homing.model import MessageId
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
from homing.store.port import Ledger
from homing.telemetry import LogEvent, going_on, logger

ACCEPT_WAIT_S: Final = 1.0
"""When a message would wait longer than this to be stored, it is refused at once instead."""
MIN_FREE_BYTES: Final = 512 * 2**20
"""Below this much free disk no message is accepted: what is owed already must still be recordable."""
LINGER_S: Final = 0.004
"""How long outcomes wait for company before they cost a commit of their own; nobody waits for them."""
SWEEP_S: Final = 30.0
"""How often the store is asked for deadlines that were not armed here."""
AGAIN_S: Final = 1.0
"""How long what is owed waits when the store did not take it."""
STUCK_MS: Final = 60_000
"""How long a deadline that cannot be stepped is left alone."""
_DISK_LOOK_S: Final = 1.0
_FIRST_GUESS_PER_S: Final = 20_000.0


class Engine:
    """Batches inputs into the ledger and hands what was committed to those who act on it."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._intake = Intake()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._is_committing = False
        self._is_draining = False
        self._is_asked_again = False
        self._idle = asyncio.Event()
        self._recipients_per_s = _FIRST_GUESS_PER_S
        self._alarm: Alarm | None = None
        self._alarm_ms: int | None = None
        self._looked_at = -_DISK_LOOK_S
        self._has_room = True
        self.on_committed: list[Callable[[Batch, Committed], None]] = []
        """Called on the loop after each commit, in order; they must neither raise nor wait."""
        self.on_unknown: list[Callable[[Batch], None]] = []
        """Called when a batch may or may not be on disk: whatever it made ours must be looked for in the store."""
        self.on_refused: list[Callable[[Batch], None]] = []
        """Called with the one item that cannot be stored, alone; its owner must not wait for it."""
        self.timed: Callable[[float, int], None] = lambda _took_s, _items: None
        """Told after each commit how long it took and how much was in it."""
        self.trouble: str | None = None
        """Why the store took nothing the last time; None when it did."""
        self.born_free: Callable[[], frozenset[int]] = frozenset
        """Asked before each batch: the endpoints whose new lanes nobody can take just now."""

    async def start(self) -> None:
        """Begin to commit, and arm the first deadline found in the store."""
        outlook = await self._ledger.outlook()
        self._tasks = [
            asyncio.create_task(self._run(), name="engine"),
            asyncio.create_task(self._sweep(), name="engine-sweep"),
        ]
        self._arm(outlook.next_timer_ms)

    def stop_accepting(self) -> None:
        """Refuse new messages from now on (the first step of a graceful stop)."""
        self._is_draining = True

    async def close(self, grace_s: float = 15.0) -> None:
        """Take no more messages, commit what has come, and stop; after ``grace_s`` even if the store takes nothing."""
        self._is_draining = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm_ms = None
        if self._tasks:
            self._idle.clear()
            self._wake.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace_s)
        if self._linger is not None:
            self._linger.cancel()
        tasks = [task for task in (*self._tasks, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def next_deadline_ms(self) -> int | None:
        """The earliest deadline that is armed; one that has passed is overdue."""
        return self._alarm_ms

    def is_quiet(self) -> bool:
        """Say whether everything that happened is on disk and no deadline has passed unnoticed."""
        overdue = self._alarm_ms is not None and self._alarm_ms <= self._clock.now_ms()
        return not (self._is_committing or self._intake or self._asking is not None or overdue)

    async def accept(self, accept: Accept) -> Accepted:
        """Store a message; when this returns it is on disk with its first events and their lanes.

        Raises `Unavailable` when it would wait too long or the disk is nearly full, `CommitUnknown` when whether it
        is stored cannot be known, or the `RequestError` that refuses it.
        """
        intake = self._intake
        if self._is_draining:
            raise Unavailable("this node is stopping", retry_after_s=5)
        now_s = asyncio.get_running_loop().time()
        if (
            intake.waiting_recipients > ACCEPT_WAIT_S * self._recipients_per_s
            or intake.waited_s(now_s) > ACCEPT_WAIT_S
        ):
            raise Unavailable("too many messages are waiting to be stored")
        if not self._room():
            raise Unavailable("less than 512 MiB of disk are free", retry_after_s=30)
        future = intake.accept(accept, now_s)
        self._wake.set()
        return await future

    async def take_in(self, incoming: Incoming) -> MessageId:
        """Store a message from a device and return its id; a repeated ``client_ref`` gets the first one's id."""
        future: asyncio.Future[MessageId] = asyncio.get_running_loop().create_future()
        self._intake.incomings.append((incoming, future))
        self._wake.set()
        return await future

    async def record(self, occurrences: Sequence[Occurrence]) -> list[Result]:
        """Record what happened and return, once it is on disk, what each came to."""
        if not occurrences:
            return []
        recording = Recording(len(occurrences))
        self._intake.happened.extend((occurrence, recording) for occurrence in occurrences)
        self._wake.set()
        return await recording.future

    def submit(self, occurrences: Sequence[Occurrence]) -> None:
        """Record what happened with the next batch; nobody waits for it."""
        self._intake.happened.extend((occurrence, None) for occurrence in occurrences)
        self._wake.set()

    def settle(self, settles: Sequence[Settle]) -> None:
        """Record outcomes of callbacks with the next batch; soon, where a lane's next event waits for it."""
        self._intake.settles.extend(settles)
        if any(settle.known for settle in settles):
            self._intake.is_awaited = True
        self._nudge()

    def finish(self, commands: Sequence[CommandDone]) -> None:
        """Record outcomes of commands with the next batch."""
        self._intake.commands.extend(commands)
        self._nudge()

    def note(self, notes: Sequence[Note]) -> None:
        """Add lines to histories with the next batch."""
        self._intake.notes.extend(notes)
        self._nudge()

    def _nudge(self) -> None:
        """Have what nobody waits for committed soon, together with what comes meanwhile."""
        if self._intake.is_urgent():
            self._wake.set()
        elif self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._lingered)

    def _lingered(self) -> None:
        self._linger = None
        self._wake.set()

    async def _run(self) -> None:
        while True:
            if not self._intake.is_urgent():
                self._wake.clear()
                if self._intake:
                    self._nudge()
                else:
                    self._idle.set()
                await self._wake.wait()
                if not self._intake:
                    continue
            self._is_committing = True
            try:
                owed = await self._commit(self._intake.take(self.born_free()))
            finally:
                self._is_committing = False
            if owed:
                for taken in reversed(owed):
                    self._intake.give_back(taken)
                await asyncio.sleep(AGAIN_S)

    async def _commit(self, taken: Taken) -> list[Taken]:
        """Commit what was taken and return what of it is still owed: settles, receipts, deadlines; never messages."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        recipients = sum(len(accept.addressees) for accept, _ in taken.accepts)
        batch = taken.batch()
        try:
            committed = await self._ledger.commit(batch)
        except CommitUnknown as error:
            self.trouble = str(error)
            logger().error(LogEvent.COMMIT_UNKNOWN, error=str(error))
            for look_for in self.on_unknown:
                look_for(batch)
            # What is owed is recorded once more: what was recorded already changes nothing the second time.
            return _still_owed(taken, error)
        except Unavailable as error:
            self.trouble = str(error)
            logger().error(LogEvent.STORE_FULL, error=str(error))
            return _still_owed(taken, error)
        except Exception as error:  # noqa: BLE001 - one bad item must not cost the others their place
            halves = taken.halves()
            if halves is None:
                told = HomingError("this could not be stored; it is our fault")
                log = logger().error
                if isinstance(
                    error, RequestError
                ):  # what no text of this store can hold is its sender's fault
                    told, log = error, logger().warning
                log(LogEvent.COMMIT_REFUSED, error=repr(error), kind=taken.kind())
                taken.fail(told)
                for hear in self.on_refused:
                    hear(batch)
                return []
            logger().warning(LogEvent.COMMIT_SPLIT, error=repr(error))
            first, second = halves
            owed = await self._commit(first)
            if not owed:
                return await self._commit(second)
            # The second half may not overtake the first.
            return owed + _still_owed(second, Unavailable("the store takes nothing just now"))
        self.trouble = None
        took_s = loop.time() - began
        self.timed(took_s, taken.size())
        if recipients >= BATCH_DISPATCHES // 4:
            measured = recipients / max(took_s, 1e-4)
            self._recipients_per_s += 0.1 * (measured - self._recipients_per_s)
        self._arm(committed.next_timer_ms)
        for sink in self.on_committed:
            try:
                sink(batch, committed)
            except Exception:  # noqa: BLE001 - a sink's fault must not stop the engine
                logger().exception(LogEvent.NODE_FAILED)
        taken.succeed(committed)
        return []

    def _room(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= _DISK_LOOK_S:
            self._looked_at = now
            free = self._ledger.free_bytes()
            self._has_room = free is None or free >= MIN_FREE_BYTES
        return self._has_room

    def _arm(self, when_ms: int | None) -> None:
        if when_ms is None or (self._alarm_ms is not None and self._alarm_ms <= when_ms):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = when_ms
        self._alarm = self._clock.at(when_ms, self._ring)

    def _ring(self) -> None:
        self._alarm_ms = None  # what is armed from now on counts, also while the store is being asked
        if self._asking is not None:
            self._is_asked_again = True
        elif not self._is_draining:
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        """Step the dispatches whose deadline has passed; each stays due in the store until it was stepped."""
        before: list[bytes] = []
        try:
            while True:
                self._is_asked_again = False
                keys = await self._ledger.due_dispatches(CLOCK_DISPATCHES)
                if not keys:
                    self._arm((await self._ledger.outlook()).next_timer_ms)
                    if not self._is_asked_again:
                        break
                elif keys == before:
                    # The very same ones again could not be stepped (that was logged): look later, do not spin.
                    self._arm(self._clock.now_ms() + STUCK_MS)
                    break
                else:
                    self._intake.tick(keys)
                    self._wake.set()
                    await self._intake.all_stepped()
                before = keys
        except HomingError as error:
            logger().error(LogEvent.STORE_FULL, error=str(error))
            self._arm(self._clock.now_ms() + int(AGAIN_S * 1000))
        finally:
            self._asking = None

    async def _sweep(self) -> None:
        """Look now and then for a deadline that was not armed here."""
        while True:
            await asyncio.sleep(SWEEP_S)
            with going_on():
                self._arm((await self._ledger.outlook()).next_timer_ms)


def _still_owed(taken: Taken, error: HomingError) -> list[Taken]:
    """Tell the senders of new messages, and return what must be recorded whatever happens."""
    taken.fail_new(error)
    return [taken] if taken.has_owed() else []
