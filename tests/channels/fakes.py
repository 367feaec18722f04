"""A house without a disk for the couriers to people: the real lifecycle machine over dictionaries, and scripted services."""

import asyncio
from collections.abc import Callable, Sequence

from tests.waiting import Growing

from homing.channels.push import PushOutcome, PushRequest, PushVerdict
from homing.channels.sms import ReceiptSink, SmsAnswer, SmsReceipt, SmsRequest, SmsSubmitted
from homing.errors import HomingError
from homing.lifecycle.dispatch import Command, Fallback, FallbackMode, Input, Policy, State
from homing.lifecycle.machine import begin, next_deadline, step
from homing.model import Body, CommandKind, Device, DispatchKey, dispatch_key
from homing.simulator.clock import VirtualClock
from homing.store.batch import (
    Batch,
    CommandDone,
    CommandWork,
    Committed,
    Note,
    Occurrence,
    Outlook,
    Result,
)
from homing.store.changes import Change, RetirePushToken
from homing.store.port import Applied
from homing.store.views import PushJob, SmsJob

DAY_MS = 86_400_000


class House:
    """Recorder, Commands, Jobs and Devices in one; commits happen in the loop's next turn, as one batch each."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.states: dict[bytes, State] = {}
        self.devices: dict[bytes, tuple[Device, ...]] = {}
        self.numbers: dict[bytes, str | None] = {}
        self.commands: dict[tuple[bytes, CommandKind], tuple[int, int | None, str | None]] = {}
        self.said: dict[bytes, list[str]] = {}
        self.notes: list[tuple[str, str | None]] = []
        self.sms: dict[tuple[str, str], bytes] = {}
        self.retired: list[tuple[str, str]] = []
        self.queries = self.looks = 0
        self.fail_records: list[HomingError] = []
        self.sink: Callable[[Batch, Committed], None] | None = None
        self._batch = Batch()
        self._waiting: list[tuple[int, asyncio.Future[list[Result]]]] = []
        self._is_scheduled = False

    def message(
        self, *devices: Device, number: str | None = "+447700900000", fallback_s: int | None = None
    ) -> DispatchKey:
        """Accept a message and give the push to the courier with the commit."""
        key = dispatch_key(len(self.states).to_bytes(16, "big"), 0)
        now_ms = self.clock.now_ms()
        undelivered = None if fallback_s is None else now_ms + fallback_s * 1000
        mode = FallbackMode.OFF if fallback_s is None else FallbackMode.SMS
        state, events, _, _ = begin(
            known=True, policy=Policy(now_ms + 2 * DAY_MS, mode, undelivered, None), now_ms=now_ms
        )
        self.states[key], self.said[key] = state, [status.value for status, _ in events]
        self.devices[key], self.numbers[key] = devices, number
        if undelivered is not None:
            self.clock.at(undelivered, lambda: self.submit([Occurrence(key, _clock())]))
        if devices:
            self._command(key, CommandKind.PUSH)
        return key

    def happens(self, key: DispatchKey, what: Input) -> None:
        """Let an input come from elsewhere, such as a device's receipt."""
        self.submit([Occurrence(key, what)])

    async def record(self, occurrences: Sequence[Occurrence]) -> list[Result]:
        if self.fail_records:
            raise self.fail_records.pop(0)
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((len(self._batch.occurrences), future))
        self.submit(occurrences)
        return await future

    def submit(self, occurrences: Sequence[Occurrence]) -> None:
        self._batch.occurrences.extend(occurrences)
        self._schedule()

    def finish(self, commands: Sequence[CommandDone]) -> None:
        self._batch.commands_done.extend(commands)
        self._schedule()

    def note(self, notes: Sequence[Note]) -> None:
        self.notes.extend((note.code, note.detail) for note in notes)

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        now_ms = self.clock.now_ms()
        due = [(k, v) for k, v in self.commands.items() if v[1] is not None and v[1] <= now_ms][:limit]
        for place, (tries, _, detail) in due:
            self.commands[place] = (tries, None, detail)
        return [CommandWork(DispatchKey(key), kind, v[0], v[2]) for (key, kind), v in due]

    async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
        self.looks += 1
        await asyncio.sleep(0)
        found = sorted((k, v) for k, v in self.commands.items() if v[1] is None and k > after)[:limit]
        return [CommandWork(DispatchKey(key), kind, v[0], v[2]) for (key, kind), v in found]

    async def outlook(self) -> Outlook:
        return Outlook(
            None, min((v[1] for v in self.commands.values() if v[1] is not None), default=None), {}
        )

    async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
        self.queries += 1
        return [
            PushJob(key, 1, "live", 1, s.message, "hello", Body("hello"), s.expires_at, self.devices[key])
            for key in keys
            if (s := self.states.get(key)) is not None
        ]

    async def sms_jobs(self, keys: Sequence[bytes]) -> list[SmsJob]:
        self.queries += 1
        return [
            SmsJob(key, 1, "live", self.states[key], self.numbers[key], "hello", None, None)
            for key in keys
            if key in self.states
        ]

    async def find_sms(self, carrier: str, ids: Sequence[str]) -> dict[str, bytes]:
        return {one: self.sms[carrier, one] for one in ids if (carrier, one) in self.sms}

    async def apply(self, change: Change) -> Applied:
        assert isinstance(change, RetirePushToken)
        self.retired.append((change.device, change.token))
        return Applied(None)

    def is_quiet(self) -> bool:
        return not self._is_scheduled

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._commit)

    def _command(self, key: DispatchKey, kind: CommandKind) -> None:
        self.commands[key, kind] = (0, None, None)
        assert self.sink is not None
        self.sink(Batch(), Committed(self.clock.now_ms(), commands=[CommandWork(key, kind)]))

    def _commit(self) -> None:
        batch, self._batch = self._batch, Batch()
        waiting, self._waiting = self._waiting, []
        self._is_scheduled = False
        committed = Committed(self.clock.now_ms())
        for done in batch.commands_done:
            self._finish(done)
        for occurrence in batch.occurrences:
            committed.occurrences.append(self._step(occurrence, committed))
        assert self.sink is not None
        self.sink(batch, committed)
        for index, future in waiting:
            future.set_result([committed.occurrences[index]])

    def _finish(self, done: CommandDone) -> None:
        """As the stores do: what is put off or given up counts only from where it stood."""
        place = (done.key, done.kind)
        tries, due_ms, _ = self.commands.get(place, (None, None, None))
        stands = due_ms is None and tries == done.tries
        if done.retry_at_ms is not None:
            if stands:
                self.commands[place] = (done.tries + 1, done.retry_at_ms, done.detail)
        elif stands or not done.is_given_up:
            self.commands.pop(place, None)

    def _step(self, occurrence: Occurrence, committed: Committed) -> Result:
        key = occurrence.key
        for place in occurrence.sms:
            self.sms[place] = key
        state, events, commands, note = step(self.states[key], occurrence.input, self.clock.now_ms())
        self.states[key] = state
        self.said[key] += [status.value for status, _ in events]
        if note is not None:
            self.notes.append((note, occurrence.detail))
        if Command.SUBMIT_SMS in commands:
            self.commands[key, CommandKind.SMS] = (0, None, None)
            committed.commands.append(CommandWork(key, CommandKind.SMS))
            validity = next_deadline(state)
            assert validity is not None
            self.clock.at(validity, lambda: self.submit([Occurrence(key, _clock())]))
        if Command.DROP_SMS in commands:
            self.commands.pop((key, CommandKind.SMS), None)
        return Result(state, note)

    def fallback(self, key: DispatchKey) -> Fallback:
        return Fallback(self.states[key].fallback)


def _clock() -> Input:
    from homing.lifecycle.dispatch import Clock

    return Clock()


def device(name: str, platform: str = "ios") -> Device:
    """A device that can be woken; its push token is named after it."""
    return Device(name, 1, 1, "ann", None, platform, b"", platform, f"token-{name}", None, 0, 0, 0)


class ScriptedPush:
    """Answers with what the test wrote down, then accepts."""

    def __init__(self, *answers: PushOutcome | Exception) -> None:
        self.answers = list(answers)
        self.asked = Growing[PushRequest]()

    async def push(self, job: PushRequest) -> PushOutcome:
        self.asked.append(job)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else PushOutcome(PushVerdict.ACCEPTED)
        if isinstance(answer, Exception):
            raise answer
        return answer


class ScriptedCarrier:
    """Answers with what the test wrote down, then takes everything; receipts are sent by the test."""

    name = "tim"

    def __init__(self, *answers: SmsAnswer | Exception) -> None:
        self.answers = list(answers)
        self.asked = Growing[SmsRequest]()
        self.is_up = True
        self.before_answer: Callable[[], None] = lambda: None
        self.sink: ReceiptSink | None = None

    def report_to(self, sink: ReceiptSink) -> None:
        self.sink = sink

    async def report(self, receipt: SmsReceipt) -> bool:
        assert self.sink is not None
        return await self.sink(receipt)

    async def submit(self, sms: SmsRequest) -> SmsAnswer:
        self.asked.append(sms)
        await asyncio.sleep(0)
        self.before_answer()
        answer = self.answers.pop(0) if self.answers else SmsSubmitted((f"id{len(self.asked)}",))
        if isinstance(answer, Exception):
            raise answer
        return answer
