"""One fallback SMS: the intent is on disk before it leaves, and only what was surely not taken is simply sent again.

Whether an SMS is still due is the lifecycle's to say (the state after the intent was recorded), never ours. Messages
of several parts come with the real carriers; here one SMS is one request.
"""

import random
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from homing.channels.ports import ChannelsFor, Counts, Recorder
from homing.channels.retry import sms_delay_ms
from homing.channels.sms import (
    Carrier,
    SmsAnswer,
    SmsRefusedAt,
    SmsRequest,
    SmsSubmitted,
    SmsTryLater,
    SmsUnanswered,
)
from homing.clock import Clock
from homing.errors import HomingError
from homing.lifecycle.dispatch import Fallback, SmsAccepted, SmsRefusal, SmsRefused, SmsSubmitting, State
from homing.lifecycle.policy import SMS_VALIDITY_MS
from homing.model import CommandKind, DispatchKey, uuid_text
from homing.phone_numbers import e164
from homing.store.batch import CommandDone, CommandWork, Note, Occurrence
from homing.store.views import SmsJob
from homing.telemetry import LogEvent, logger

UNKNOWN_WAIT_MS: Final = 30_000
"""How long after a submission without an answer a receipt may still tell what became of it (DESIGN.md §7)."""
_GOES_ON: Final = frozenset({None, "sms_submitted_again"})
_AGAIN_MS: Final = 1_000
_COUNTED: Final[dict[type[SmsAnswer], str]] = {
    SmsSubmitted: "submitted",
    SmsRefusedAt: "refused",
    SmsTryLater: "try_later",
    SmsUnanswered: "unanswered",
}


class WhenUnknown(StrEnum):
    """What to do about an SMS of which nobody knows whether the carrier has it (setting `sms_when_unknown`)."""

    RESEND = "resend"
    GIVE_UP = "give_up"


class NotTaken(msgspec.Struct, frozen=True):
    """What an SMS command remembers: the submission of this instant surely did not reach the carrier."""

    not_taken_ms: int


class Texter:
    """Carries out SMS commands. It never raises for a carrier's fault: that is an outcome."""

    def __init__(
        self,
        recorder: Recorder,
        clock: Clock,
        channels_for: ChannelsFor,
        rng: random.Random,
        when_unknown: WhenUnknown,
        counts: Counts,
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._channels_for = channels_for
        self._rng = rng
        self._when_unknown = when_unknown
        self._counts = counts

    async def send(
        self, work: CommandWork, job: SmsJob, may_begin: Callable[[], bool] = lambda: True
    ) -> None:
        """Send the SMS if it is still due, tell the outcome, and finish or put off the command.

        ``may_begin`` says, once the intent is on disk, whether the command is still this node's for as long as it takes.
        """
        if job.state.fallback != Fallback.DUE:
            self._done(work)
            return
        if not self._may_be_sent(work, job.state):
            return
        carrier = self._channels_for(job.app_mode).carrier
        number = None if job.number is None else e164(job.number, job.default_region)
        if number is None:
            reason = "no_number" if job.number is None else "unusable_number"
            self._refuse(work, SmsRefusal.INVALID_NUMBER, reason)
        elif carrier is None:
            self._refuse(work, SmsRefusal.OPERATOR_ERROR, "no_carrier")
        elif not carrier.is_up:
            # No intent is stored: an SMS that never left is dropped when the message is delivered after all.
            self._put_off(work, "carrier_down", None, work.detail)
        else:
            await self._submit(work, job, carrier, number, may_begin)

    def _may_be_sent(self, work: CommandWork, state: State) -> bool:
        submitted_ms = state.sms_submitted_at
        if submitted_ms is None or _not_taken(work.detail) == submitted_ms:
            return True
        wait_until_ms = submitted_ms + UNKNOWN_WAIT_MS
        if self._clock.now_ms() < wait_until_ms:
            self._later(work, wait_until_ms, work.detail)
            return False
        if self._when_unknown is WhenUnknown.GIVE_UP:
            # A receipt may still tell; if none does, the end of the SMS's validity does.
            self._recorder.note([Note(work.key, "sms_given_up_unknown")])
            self._recorder.finish([
                CommandDone(work.key, CommandKind.SMS, tries=work.tries, is_given_up=True)
            ])  # fmt: skip
            return False
        return True

    async def _submit(
        self, work: CommandWork, job: SmsJob, carrier: Carrier, number: str, may_begin: Callable[[], bool]
    ) -> None:
        try:
            (result,) = await self._recorder.record([Occurrence(work.key, SmsSubmitting())])
        except HomingError as error:
            # Whether the intent is on disk is not known; nothing left, so looking again is safe either way.
            logger().warning(LogEvent.SMS_FAILED, message_id=uuid_text(work.key), error=str(error))
            self._later(work, self._clock.now_ms() + _AGAIN_MS, work.detail)
            return
        state = result.state
        if (
            state is None
            or state.fallback != Fallback.DUE
            or state.sms_submitted_at is None
            or result.note not in _GOES_ON
        ):
            self._done(work)
            return
        if not may_begin():
            # The store took long: another node may have it by now, and be sending it.
            self._later(work, self._clock.now_ms() + _AGAIN_MS, _encode(NotTaken(state.sms_submitted_at)))
            return
        valid_until_ms = (state.fallback_at or 0) + SMS_VALIDITY_MS
        answer = await self._ask(carrier, SmsRequest(job.key, number, job.text, job.sender, valid_until_ms))
        self._tell(work, carrier, answer, state.sms_submitted_at)

    async def _ask(self, carrier: Carrier, request: SmsRequest) -> SmsAnswer:
        try:
            return await carrier.submit(request)
        except Exception as error:  # noqa: BLE001 - a bug of the adapter: the SMS may have left
            logger().exception(LogEvent.SMS_FAILED, carrier=carrier.name, error=repr(error))
            return SmsUnanswered(type(error).__name__)

    def _tell(self, work: CommandWork, carrier: Carrier, answer: SmsAnswer, submitted_ms: int) -> None:
        self._counts.sms(carrier.name, _COUNTED[type(answer)])
        match answer:
            case SmsSubmitted(ids):
                detail = _detail(carrier=carrier.name, ids=list(ids))
                sms = tuple((carrier.name, one) for one in ids)
                logger().info(LogEvent.SMS_SENT, message_id=uuid_text(work.key), carrier=carrier.name)
                self._recorder.submit([Occurrence(work.key, SmsAccepted(), detail, sms)])
                self._done(work)
            case SmsRefusedAt(kind, reason):
                self._refuse(work, kind, reason or "refused", carrier.name)
            case SmsTryLater(reason, retry_after_ms):
                self._put_off(work, reason or "try_later", retry_after_ms, _encode(NotTaken(submitted_ms)))
            case SmsUnanswered(reason):
                self._recorder.note([Note(work.key, "sms_answer_missing", _detail(reason=reason))])
                self._later(work, submitted_ms + UNKNOWN_WAIT_MS, None)

    def _refuse(self, work: CommandWork, kind: SmsRefusal, reason: str, carrier: str | None = None) -> None:
        logger().info(LogEvent.SMS_REFUSED, message_id=uuid_text(work.key), kind=kind.name, reason=reason)
        detail = _detail(carrier=carrier, reason=reason)
        self._recorder.submit([Occurrence(work.key, SmsRefused(kind), detail)])
        self._done(work)

    def _put_off(self, work: CommandWork, reason: str, asked_ms: int | None, detail: str | None) -> None:
        """Try again later; that there is an end to it is the business of the lifecycle's clock."""
        if not work.tries:
            self._recorder.note([Note(work.key, "sms_put_off", _detail(reason=reason))])
        wait_ms = sms_delay_ms(work.tries, asked_ms, self._rng.random())
        self._later(work, self._clock.now_ms() + wait_ms, detail)

    def _later(self, work: CommandWork, at_ms: int, detail: str | None) -> None:
        self._recorder.finish([CommandDone(work.key, CommandKind.SMS, at_ms, detail, work.tries)])

    def _done(self, work: CommandWork) -> None:
        self._recorder.finish([CommandDone(DispatchKey(work.key), CommandKind.SMS)])


def _detail(**said: object) -> str:
    return msgspec.json.encode({key: value for key, value in said.items() if value is not None}).decode()


def _encode(remembered: NotTaken) -> str:
    return msgspec.json.encode(remembered).decode()


def _not_taken(detail: str | None) -> int | None:
    if detail is None:
        return None
    try:
        return msgspec.json.decode(detail, type=NotTaken).not_taken_ms
    except msgspec.DecodeError:
        return None
