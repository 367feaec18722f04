"""The tables of a dispatch's life, all of them, with their theory. No code here decides anything else.

One dispatch is two small machines and one rule that couples them:

*The message* goes enqueued → delivered → read, or enqueued → expired. It never goes back, and expired is final:
a receipt that comes later than the expiry time is too late, even if nobody has looked at the clock meanwhile,
because `step` applies the deadlines that have passed before it looks at the input.

*The fallback* waits for its time (armed), is necessary (due), and goes through the carrier to one outcome. What the
state stores as ARMED and DUE is finer here, because the tables must know which time is waited for and whether the
carrier may already have the SMS: see `Phase`. In mode `notify` the machine only says that the fallback is
necessary, and is off again: the customer sends.

*Push* has no state of its own: a push only wakes a device. Its statuses may be said at any time between enqueued and
expired, each once, and they move nothing. (That a status is said once is checked by `step` for every row alike.)

*The joint rule.* Two facts end a fallback from outside: its reason is gone (the message was delivered or read), or
its time can no longer come (only `unread` is waited for and the message expired undelivered). Both are properties of
the pair (message, phase), so they are a table of pairs, `JOINT`, looked at after every change of the message. An SMS
that the carrier may have is beyond recall: no row touches SUBMITTED, SENT or an outcome.

How a column (`Symbol`) is worked off: first the message's row for it; where there is none, or where the row *hands
it on*, the fallback's row; then the joint row for the pair that results. A pair of state and column without any row
cannot happen: inputs have a row everywhere, deadlines are drawn only from states that have one (`DEADLINES`).
The walk in tests/lifecycle holds both. docs/lifecycle.md is drawn from here.

Sources: CONTRACT.md §4 (laws, by number), DESIGN.md §4.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

from homing.contract.status import Status
from homing.lifecycle.dispatch import Command, Fallback, Message, State, Symbol
from homing.lifecycle.policy import SMS_VALIDITY_MS


class Phase(IntEnum):
    """The fallback as the tables see it: ARMED by what is waited for, DUE by its reason and by the carrier's part."""

    OFF = 0
    ARMED_UNDELIVERED = 1
    ARMED_UNREAD = 2
    ARMED_BOTH = 3
    DUE_UNDELIVERED = 4
    DUE_UNREAD = 5
    SUBMITTED = 6
    SENT = 7
    DELIVERED = 8
    EXPIRED = 9
    INVALID_NUMBER = 10
    PHONE_ERROR = 11
    OPERATOR_ERROR = 12


STORED_AS: Final[dict[Phase, Fallback]] = {
    Phase.OFF: Fallback.OFF,
    Phase.ARMED_UNDELIVERED: Fallback.ARMED,
    Phase.ARMED_UNREAD: Fallback.ARMED,
    Phase.ARMED_BOTH: Fallback.ARMED,
    Phase.DUE_UNDELIVERED: Fallback.DUE,
    Phase.DUE_UNREAD: Fallback.DUE,
    Phase.SUBMITTED: Fallback.DUE,
    Phase.SENT: Fallback.SENT,
    Phase.DELIVERED: Fallback.DELIVERED,
    Phase.EXPIRED: Fallback.EXPIRED,
    Phase.INVALID_NUMBER: Fallback.INVALID_NUMBER,
    Phase.PHONE_ERROR: Fallback.PHONE_ERROR,
    Phase.OPERATOR_ERROR: Fallback.OPERATOR_ERROR,
}


class MessageRow(NamedTuple):
    """In each state of `when`, each column of `hears` leads to `then` (None: stays) and says `says`."""

    when: tuple[Message, ...]
    hears: tuple[Symbol, ...]
    then: Message | None = None
    says: tuple[Status, ...] = ()
    note: str | None = None
    hands_on: bool = False
    """The fallback hears it too."""


class FallbackRow(NamedTuple):
    """As MessageRow, for the fallback; `command` goes to the courier of SMS."""

    when: tuple[Phase, ...]
    hears: tuple[Symbol, ...]
    then: Phase | None = None
    says: tuple[Status, ...] = ()
    command: Command | None = None
    note: str | None = None


class JointRow(NamedTuple):
    """When a change of the message brings one of `messages` together with one of `phases`, the phase becomes `then`."""

    messages: tuple[Message, ...]
    phases: tuple[Phase, ...]
    then: Phase
    command: Command | None
    note: str | None
    why: str


class DeadlineRow(NamedTuple):
    """In such a pair of states a time is waited for; `notify` and `sms` are its columns in those modes."""

    name: str
    messages: tuple[Message, ...]
    phases: tuple[Phase, ...]
    notify: Symbol
    sms: Symbol
    at: Callable[[State], int]
    why: str


_UNKNOWN, _ENQUEUED, _DELIVERED, _READ, _EXPIRED = Message
_LIVE: Final = (_ENQUEUED, _DELIVERED, _READ)
_PUSH: Final = tuple(s for s in Symbol if Symbol.PUSH_ACCEPTED <= s <= Symbol.WEB_TOKEN_INVALID)
_INPUTS: Final = tuple(s for s in Symbol if s < Symbol.EXPIRY)

MESSAGE: Final = (
    MessageRow(tuple(Message), (Symbol.CLOCK,)),
    # Law 2: after IdentifierNotFound nothing else ever.
    MessageRow((_UNKNOWN,), tuple(s for s in _INPUTS if s != Symbol.CLOCK), note="unknown_recipient"),
    MessageRow((_ENQUEUED,), (Symbol.RECEIVED,), _DELIVERED, (Status.DELIVERED,)),
    MessageRow((_DELIVERED, _READ), (Symbol.RECEIVED,), note="duplicate_received"),
    MessageRow((_EXPIRED,), (Symbol.RECEIVED,), note="received_after_expiry"),
    # Law 3: a device that says "read" has received, whether or not its first receipt came through.
    MessageRow((_ENQUEUED,), (Symbol.READ,), _READ, (Status.DELIVERED, Status.READ)),
    MessageRow((_DELIVERED,), (Symbol.READ,), _READ, (Status.READ,)),
    MessageRow((_READ,), (Symbol.READ,), note="duplicate_read"),
    MessageRow((_EXPIRED,), (Symbol.READ,), note="read_after_expiry"),
    MessageRow((_ENQUEUED,), (Symbol.EXPIRY,), _EXPIRED, (Status.EXPIRED,)),
    # Law 10: recall has no word of its own. On an expired message it still stops an SMS that did not leave yet.
    MessageRow((_ENQUEUED,), (Symbol.RECALLED,), _EXPIRED, (Status.EXPIRED,), hands_on=True),
    MessageRow((_EXPIRED,), (Symbol.RECALLED,), note="recall_repeated", hands_on=True),
    MessageRow((_DELIVERED, _READ), (Symbol.RECALLED,), note="recall_conflict"),
)

PUSH: Final = (
    MessageRow(_LIVE, (Symbol.PUSH_ACCEPTED,), says=(Status.PUSH_SENT,)),
    MessageRow(_LIVE, (Symbol.IOS_REFUSED,), says=(Status.IOS_ERROR,)),
    MessageRow(_LIVE, (Symbol.IOS_TOKEN_INVALID,), says=(Status.IOS_ERROR_INVALID_TOKEN,)),
    MessageRow(_LIVE, (Symbol.ANDROID_REFUSED,), says=(Status.ANDROID_ERROR,)),
    MessageRow(_LIVE, (Symbol.ANDROID_TOKEN_INVALID,), says=(Status.ANDROID_ERROR_INVALID_TOKEN,)),
    # Law 10: the contract has no words for Web Push errors.
    MessageRow(_LIVE, (Symbol.WEB_REFUSED,), note="web_push_refused"),
    MessageRow(_LIVE, (Symbol.WEB_TOKEN_INVALID,), note="web_push_token_invalid"),
    MessageRow((_EXPIRED,), _PUSH, note="push_after_expiry"),
)

_ARMED: Final = (Phase.ARMED_UNDELIVERED, Phase.ARMED_UNREAD, Phase.ARMED_BOTH)
_WAITING: Final = (Phase.DUE_UNDELIVERED, Phase.DUE_UNREAD)
_ENDED: Final = tuple(p for p in Phase if p >= Phase.DELIVERED)
_ANSWERS: Final = (Symbol.SMS_ACCEPTED, Symbol.SMS_REFUSED_NUMBER, Symbol.SMS_REFUSED_OPERATOR)
_REPORTS: Final[dict[Symbol, tuple[Phase, Status]]] = {
    Symbol.REPORT_DELIVERED: (Phase.DELIVERED, Status.FALLBACK_DELIVERED),
    Symbol.REPORT_EXPIRED: (Phase.EXPIRED, Status.FALLBACK_EXPIRED),
    Symbol.REPORT_NUMBER: (Phase.INVALID_NUMBER, Status.FALLBACK_INVALID_NUMBER),
    Symbol.REPORT_PHONE: (Phase.PHONE_ERROR, Status.FALLBACK_PHONE_ERROR),
    Symbol.REPORT_OPERATOR: (Phase.OPERATOR_ERROR, Status.FALLBACK_OPERATOR_ERROR),
}
_OPERATOR: Final = (Phase.OPERATOR_ERROR, (Status.FALLBACK_OPERATOR_ERROR,))
_NUMBER: Final = (Phase.INVALID_NUMBER, (Status.FALLBACK_INVALID_NUMBER,))
_AWAITS_UNDELIVERED: Final = (Phase.ARMED_UNDELIVERED, Phase.ARMED_BOTH)
_AWAITS_UNREAD: Final = (Phase.ARMED_UNREAD, Phase.ARMED_BOTH)

FALLBACK: Final = (
    # Law 5: in mode `notify` the customer sends, so the fallback is over as soon as it is said to be necessary.
    FallbackRow(
        _AWAITS_UNDELIVERED, (Symbol.UNDELIVERED_NOTIFY,), Phase.OFF, (Status.FALLBACK_ON_UNDELIVERED,)
    ),
    FallbackRow(
        _AWAITS_UNDELIVERED,
        (Symbol.UNDELIVERED_SMS,),
        Phase.DUE_UNDELIVERED,
        (Status.FALLBACK_ON_UNDELIVERED,),
        Command.SUBMIT_SMS,
    ),
    FallbackRow(_AWAITS_UNREAD, (Symbol.UNREAD_NOTIFY,), Phase.OFF, (Status.FALLBACK_ON_UNREAD,)),
    FallbackRow(
        _AWAITS_UNREAD,
        (Symbol.UNREAD_SMS,),
        Phase.DUE_UNREAD,
        (Status.FALLBACK_ON_UNREAD,),
        Command.SUBMIT_SMS,
    ),
    FallbackRow(_WAITING, (Symbol.SMS_SUBMITTING,), Phase.SUBMITTED),
    FallbackRow((Phase.SUBMITTED,), (Symbol.SMS_SUBMITTING,), note="sms_submitted_again"),
    # Law 6: a refusal at submission has its outcome and no fallbackSent.
    FallbackRow((*_WAITING, Phase.SUBMITTED), (Symbol.SMS_ACCEPTED,), Phase.SENT, (Status.FALLBACK_SENT,)),
    FallbackRow((*_WAITING, Phase.SUBMITTED), (Symbol.SMS_REFUSED_NUMBER,), *_NUMBER),
    FallbackRow((*_WAITING, Phase.SUBMITTED), (Symbol.SMS_REFUSED_OPERATOR,), *_OPERATOR),
    # Law 6: a receipt proves that the SMS was accepted, though the carrier's answer was lost.
    *(
        FallbackRow(
            (Phase.SUBMITTED,), (report,), phase, (Status.FALLBACK_SENT, status), note="sms_answer_was_lost"
        )
        for report, (phase, status) in _REPORTS.items()
    ),
    *(
        FallbackRow((Phase.SENT,), (report,), phase, (status,))
        for report, (phase, status) in _REPORTS.items()
    ),
    # Law 7 and the cause of fallbackOperatorError: the carrier could not be reached in the SMS's own lifetime. An
    # unanswered submission ends the same way: nobody can say it was sent, and nothing must be sent so late.
    FallbackRow(_WAITING, (Symbol.VALIDITY_END,), *_OPERATOR, Command.DROP_SMS, note="sms_validity_passed"),
    FallbackRow(
        (Phase.SUBMITTED,), (Symbol.VALIDITY_END,), *_OPERATOR, Command.DROP_SMS, note="sms_unanswered"
    ),
    FallbackRow(_ARMED, (Symbol.RECALLED,), Phase.OFF),
    # A message that was delivered cannot be recalled, so DUE_UNREAD never hears of it.
    FallbackRow(
        (Phase.DUE_UNDELIVERED,), (Symbol.RECALLED,), Phase.OFF, (), Command.DROP_SMS, "sms_dropped_recalled"
    ),
    # What comes at the wrong time changes nothing.
    FallbackRow((Phase.OFF, *_ARMED), (Symbol.SMS_SUBMITTING, *_ANSWERS), note="sms_not_due"),
    FallbackRow((Phase.SENT, *_ENDED), (Symbol.SMS_SUBMITTING, *_ANSWERS), note="sms_already_answered"),
    FallbackRow((Phase.OFF, *_ARMED, *_WAITING), tuple(_REPORTS), note="sms_report_unexpected"),
    FallbackRow(_ENDED, tuple(_REPORTS), note="sms_report_repeated"),
)

JOINT: Final = (
    JointRow((_DELIVERED,), (Phase.ARMED_UNDELIVERED,), Phase.OFF, None, None, "delivered in time"),
    JointRow((_READ,), _ARMED, Phase.OFF, None, None, "read in time"),
    JointRow((_EXPIRED,), (Phase.ARMED_UNREAD,), Phase.OFF, None, None, "never delivered, so never unread"),
    JointRow(
        (_DELIVERED, _READ),
        (Phase.DUE_UNDELIVERED,),
        Phase.OFF,
        Command.DROP_SMS,
        "sms_dropped_delivered",
        "delivered before the SMS left",
    ),
    JointRow(
        (_READ,),
        (Phase.DUE_UNREAD,),
        Phase.OFF,
        Command.DROP_SMS,
        "sms_dropped_read",
        "read before the SMS left",
    ),
)

# In the order in which deadlines of the same instant take effect (law 7: `expired`, then `fallbackOnUndelivered`).
# `or 0` is for the type checker: the phases named guarantee the value.
DEADLINES: Final = (
    DeadlineRow(
        "expiry",
        (_ENQUEUED,),
        tuple(Phase),
        Symbol.EXPIRY,
        Symbol.EXPIRY,
        lambda state: state.expires_at,
        "the message's expiry",
    ),
    DeadlineRow(
        "undelivered",
        (_ENQUEUED, _EXPIRED),
        _AWAITS_UNDELIVERED,
        Symbol.UNDELIVERED_NOTIFY,
        Symbol.UNDELIVERED_SMS,
        lambda state: state.undelivered_at or 0,
        "not delivered by then: acceptance + onUndeliveredSeconds, at most the expiry",
    ),
    DeadlineRow(
        "unread",
        (_DELIVERED,),
        _AWAITS_UNREAD,
        Symbol.UNREAD_NOTIFY,
        Symbol.UNREAD_SMS,
        lambda state: (state.delivered_at or 0) + (state.unread_ms or 0),
        "not read by then: the delivered timestamp + onUnreadSeconds",
    ),
    DeadlineRow(
        "validity",
        (_ENQUEUED, _DELIVERED, _READ, _EXPIRED),
        (*_WAITING, Phase.SUBMITTED),
        Symbol.VALIDITY_END,
        Symbol.VALIDITY_END,
        lambda state: (state.fallback_at or 0) + SMS_VALIDITY_MS,
        "the SMS's own validity: 24 h from its fallbackOn…",
    ),
)

NOTES: Final[dict[str, str]] = {
    "unknown_recipient": "the recipient does not exist; nothing can happen to this message",
    "duplicate_received": "another delivered receipt, ignored",
    "received_after_expiry": "a delivered receipt came after the expiry, ignored",
    "duplicate_read": "another read receipt, ignored",
    "read_after_expiry": "a read receipt came after the expiry, ignored",
    "recall_conflict": "a recall was refused: the message had been delivered",
    "recall_repeated": "a recall of a message that had expired already",
    "push_repeated": "another push answer of the same kind, not reported again",
    "push_after_expiry": "a push answer came after the expiry, not reported",
    "web_push_refused": "a Web Push service refused the wake-up push; the contract has no status for it",
    "web_push_token_invalid": "a Web Push subscription is no longer valid; the contract has no status for it",
    "sms_submitted_again": "the SMS was submitted again, because the carrier's answer was lost",
    "sms_answer_was_lost": "a receipt came for an SMS whose acceptance had not been seen",
    "sms_validity_passed": "the SMS could not be submitted within its 24 hours",
    "sms_unanswered": "the carrier did not answer for the SMS within its 24 hours",
    "sms_dropped_delivered": "the SMS was dropped before it left: the message was delivered",
    "sms_dropped_read": "the SMS was dropped before it left: the message was read",
    "sms_dropped_recalled": "the SMS was dropped before it left: the message was recalled",
    "sms_not_due": "an SMS was not due, ignored",
    "sms_already_answered": "the SMS was settled already, ignored",
    "sms_report_unexpected": "a receipt for an SMS that was never submitted, ignored",
    "sms_report_repeated": "another receipt for the SMS, ignored",
}
