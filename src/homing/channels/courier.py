"""The courier to people: takes the commands that were committed, and those that fall due in the store, and does them.

It keeps only what it is doing: what waits, waits in the store. It must not decide whether a push or an SMS is still
wanted; that is asked of the store when it is done.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from homing.channels.held import Held, messages_of
from homing.channels.ports import ChannelsFor, Commands, Counts, Devices, Jobs, Recorder, Uncounted
from homing.channels.pushing import Pusher
from homing.channels.receipts import Receipts
from homing.channels.sms import Carrier, SmsReceipt
from homing.channels.texting import Texter, WhenUnknown
from homing.clock import Alarm, Clock
from homing.errors import HomingError
from homing.model import CommandKind
from homing.store.batch import Batch, CommandDone, CommandWork, Committed
from homing.telemetry import LogEvent, going_on, logger

MAX_IN_FLIGHT: Final = 256
"""Commands worked on at a time; each may push to several devices."""
HAND_OVER: Final = 100
"""Commands whose jobs are asked of the store in one query."""
MAX_BACKLOG: Final = 20_000
"""Commands in memory; more go back to the store for a second."""
GRACE_S: Final = 15.0
_SWEEP_S: Final = 30.0
_AFTER_FAILURE_S: Final = 1.0
_BACK_MS: Final = 1_000
_ASK_EVERY_S: Final = 1.0


class ChannelCourier:
    """Carries out push and SMS commands. Plug `committed` into the engine's sinks, then `start`."""

    def __init__(
        self,
        recorder: Recorder,
        commands: Commands,
        jobs: Jobs,
        devices: Devices,
        clock: Clock,
        channels_for: ChannelsFor,
        carriers: Sequence[Carrier] = (),
        *,
        when_unknown: WhenUnknown = WhenUnknown.RESEND,
        rng: random.Random | None = None,
        counts: Counts | None = None,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        """``may_start``: see `homing.store.port.Ownership.may_start_try`."""
        rng = rng or random.Random()
        counts = counts or Uncounted()
        self._recorder = recorder
        self._commands = commands
        self._jobs = jobs
        self._clock = clock
        self._may_start = may_start
        self._pusher = Pusher(recorder, devices, clock, channels_for, rng, counts)
        self._texter = Texter(recorder, clock, channels_for, rng, when_unknown, counts)
        self._receipts = Receipts(recorder, jobs, clock, counts)
        self._held = Held(commands, self._queue)
        self._backlog: deque[CommandWork] = deque()
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: list[int] = []
        self._alarm: Alarm | None = None
        self._alarm_ms: int | None = None
        self._asked_at_s = 0.0
        self._is_claiming = False
        self._is_closed = False
        self._waits_for_term = False
        self._sweeper: asyncio.Task[None] | None = None
        for carrier in carriers:
            carrier.report_to(self.report)

    async def start(self) -> None:
        """Take up what an earlier process left behind, and begin to listen to the clock."""
        self._is_claiming = True
        await self._claim()
        self._sweeper = asyncio.create_task(self._sweep(), name="channels-sweep")

    def committed(self, batch: Batch, committed: Committed) -> None:
        """Take a commit's commands: the engine's sink, called on the loop."""
        if self._is_closed:
            return
        self._expect(committed.next_command_ms)
        # First what is done with: a command of this very commit may be a new one for the same.
        self._held.ended(batch.commands_done)
        for done in batch.commands_done:
            self._expect(done.retry_at_ms)
        if committed.commands:
            self._take(committed.commands)
        if self._receipts.has_parked:
            for occurrence in batch.occurrences:
                for carrier, one in occurrence.sms:
                    self._spawn(self._receipts.accepted(carrier, (one,)))

    def lost(self) -> None:
        """Hear that what waits here may be others' by now (plug this into `Ownership.on_lost`)."""
        self._held.lose()
        self._backlog.clear()

    def on_unknown(self, batch: Batch) -> None:
        """Hear that a batch may be on disk (plug this into `Engine.on_unknown`): what it ordered is looked for."""
        if not self._is_closed and (messages := messages_of(batch)):
            self._spawn(self._look_for(messages))

    def on_work(self, due_ms: int) -> None:
        """Hear that a command falls due then that nobody owns (plug this into `Handovers.on_command`)."""
        self._expect(due_ms)

    def orphaned(self) -> None:
        """Hear that another node is no more: there may be commands to claim (plug this into `Ownership.on_orphaned`)."""
        self._expect(self._clock.now_ms())

    async def report(self, receipt: SmsReceipt) -> bool:
        """Take a carrier's final receipt; see `sms.ReceiptSink`."""
        if self._is_closed:
            return False
        return await self._receipts.take(receipt)

    def is_quiet(self) -> bool:
        """Say whether nothing is in flight and nothing is due now."""
        overdue = bool(self._due) and self._due[0] <= self._clock.now_ms()
        return not (self._backlog or self._in_flight or self._tasks or self._is_claiming or overdue)

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Let what is in flight finish, for ``grace_s`` of real time, and take nothing more. Harmless when repeated.

        The rest stays in the store, and the next process finds it as it finds what a crash left.
        """
        self._is_closed = True
        self._backlog.clear()
        self._receipts.close()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        until_s = asyncio.get_running_loop().time() + grace_s
        while self._tasks:
            left_s = until_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                for task in self._tasks:
                    task.cancel()
            await asyncio.wait(self._tasks, timeout=max(left_s, 0.1))

    def _take(self, works: Sequence[CommandWork]) -> None:
        """Do these, but for those that are held: their outcome is still on its way to the store."""
        self._queue(self._held.take(works))

    def _queue(self, works: Sequence[CommandWork]) -> None:
        room = max(0, MAX_BACKLOG - len(self._backlog))
        self._backlog.extend(works[:room])
        if len(works) > room:
            back_ms = self._clock.now_ms() + _BACK_MS
            self._recorder.finish(
                [CommandDone(work.key, work.kind, back_ms, work.detail, work.tries) for work in works[room:]]
            )
        self._pump()

    def _pump(self) -> None:
        while self._backlog and not self._is_closed:
            if not self._may_start():
                self._wait_for_term()
                return
            most = min(HAND_OVER, MAX_IN_FLIGHT - self._in_flight, len(self._backlog))
            if most < min(len(self._backlog), HAND_OVER // 4):
                return  # a question to the store for each single command would cost more than the wait for a few
            works = [self._backlog.popleft() for _ in range(most)]
            self._in_flight += most
            self._spawn(self._hand_over(works, self._held.losses))

    def _wait_for_term(self) -> None:
        """Begin nothing until this node knows again that what it holds stays its own."""
        if not self._waits_for_term:
            self._waits_for_term = True
            asyncio.get_running_loop().call_later(_AFTER_FAILURE_S, self._look_at_term)

    def _look_at_term(self) -> None:
        self._waits_for_term = False
        self._pump()

    async def _hand_over(self, works: list[CommandWork], losses: int) -> None:
        """Ask the store for all jobs at once and begin each; what is unknown there is finished.

        None is begun where the term was lost, or is not sure any more, by the time that the store has answered.
        """
        pushes = [work.key for work in works if work.kind == CommandKind.PUSH]
        texts = [work.key for work in works if work.kind == CommandKind.SMS]
        try:
            push_jobs = {job.key: job for job in await self._jobs.push_jobs(pushes)} if pushes else {}
            sms_jobs = {job.key: job for job in await self._jobs.sms_jobs(texts)} if texts else {}
        except Exception as error:  # noqa: BLE001 - whatever it is, the commands are still owed
            logger().exception(LogEvent.STORE_FAILED, error=repr(error))
            self._retry_soon(works, losses)
            return
        if losses != self._held.losses:
            self._in_flight -= len(works)
            self._pump()
            return
        if not self._may_start():
            self._retry_soon(works, losses)
            return
        for work in works:
            self._held.begin(work)
            if work.kind == CommandKind.PUSH and work.key in push_jobs:
                self._spawn(self._do(work, self._pusher.push(work, push_jobs[work.key])))
            elif work.kind == CommandKind.SMS and work.key in sms_jobs:
                self._spawn(
                    self._do(work, self._texter.send(work, sms_jobs[work.key], self._still_ours(losses)))
                )
            else:
                self._recorder.finish([CommandDone(work.key, work.kind)])
                self._ended()

    async def _do(self, work: CommandWork, doing: Coroutine[Any, Any, None]) -> None:
        try:
            await doing
        except Exception as error:  # noqa: BLE001 - a fault of ours: keep the command, and say so
            event = LogEvent.PUSH_FAILED if work.kind == CommandKind.PUSH else LogEvent.SMS_FAILED
            logger().exception(event, error=repr(error))
            at_ms = self._clock.now_ms() + 30 * _BACK_MS
            self._recorder.finish([CommandDone(work.key, work.kind, at_ms, work.detail, work.tries)])
        finally:
            self._ended()

    def _ended(self) -> None:
        self._in_flight -= 1
        self._pump()

    def _still_ours(self, losses: int) -> Callable[[], bool]:
        """Return what says whether a try of a command that was ours after so many losses may begin."""
        return lambda: losses == self._held.losses and self._may_start()

    def _retry_soon(self, works: list[CommandWork], losses: int) -> None:
        """After a failure of the store: real time, because the store is real. What was lost meanwhile is dropped."""

        def again() -> None:
            self._in_flight -= len(works)
            if losses == self._held.losses and not self._is_closed:
                self._queue(works)
            else:
                self._pump()

        asyncio.get_running_loop().call_later(_AFTER_FAILURE_S, again)

    def _expect(self, when_ms: int | None) -> None:
        """Be woken when a command falls due; several at one instant are one entry."""
        if when_ms is None or when_ms in self._due[:1]:
            return
        heapq.heappush(self._due, when_ms)
        self._arm()

    def _arm(self) -> None:
        if self._is_closed or not self._due or self._alarm_ms == self._due[0]:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = self._due[0]
        self._alarm = self._clock.at(self._alarm_ms, self._ring)

    def _ring(self) -> None:
        self._alarm_ms = None
        if self._is_claiming or self._is_closed:
            return
        if self._due and self._due[0] > self._clock.now_ms():
            self._arm()  # it rang a little early
            return
        self._is_claiming = True
        self._spawn(self._claim())

    async def _claim(self) -> None:
        """Take what is due; afterwards nothing due is expected any more."""
        now_ms = self._clock.now_ms()
        try:
            works, is_more = await self._held.claim(HAND_OVER)
            self._queue(works)
            while is_more and len(self._backlog) < MAX_BACKLOG // 2:
                works, is_more = await self._held.claim(HAND_OVER)
                self._queue(works)
            next_ms = await self._next_ms(now_ms)
        except HomingError as error:
            logger().warning(LogEvent.STORE_FAILED, error=str(error))
            next_ms = now_ms + _BACK_MS
        finally:
            self._is_claiming = False
        while self._due and self._due[0] <= now_ms:
            heapq.heappop(self._due)
        self._expect(next_ms)
        self._arm()

    async def _next_ms(self, now_ms: int) -> int | None:
        """Ask the store what comes next, where what was heard of here may not be all: it asks every endpoint too."""
        real_s = asyncio.get_running_loop().time()
        if self._due and self._due[-1] > now_ms and real_s - self._asked_at_s < _ASK_EVERY_S:
            return None
        self._asked_at_s = real_s
        next_ms = (await self._commands.outlook()).next_command_ms
        if next_ms is not None and next_ms <= now_ms:
            return now_ms + _BACK_MS  # memory is full: what else is due waits a second in the store
        return next_ms

    async def _sweep(self) -> None:
        """Look into the store now and then for a command nobody told us of, or that nobody knows is ours."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            with going_on():
                self._expect((await self._commands.outlook()).next_command_ms)
                await self._held.sweep()

    async def _look_for(self, messages: frozenset[bytes]) -> None:
        """Ask until the store answers; real time, because the store is real."""
        while not self._is_closed:
            try:
                await self._held.look_for(messages)
            except HomingError as error:
                logger().warning(LogEvent.STORE_FAILED, error=str(error))
                await asyncio.sleep(_AFTER_FAILURE_S)
            else:
                return

    def _spawn(self, doing: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(doing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, doing: Coroutine[Any, Any, Any]) -> None:
        try:
            await doing
        except Exception as error:  # noqa: BLE001 - the last line: nothing may die silently
            logger().exception(LogEvent.NODE_FAILED, where="channels", error=repr(error))
