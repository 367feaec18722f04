"""The words of one dispatch's life: its state, what can happen to it, and what a step answers. Data only.

Every time is milliseconds since 1970 UTC and comes in as a value; nothing here reads a clock.
"""

from enum import IntEnum, auto
from typing import ClassVar, Final, Literal, NamedTuple

import msgspec

from homing.contract.status import Status


class Message(IntEnum):
    """Where the message is on its way to the person. Stored as its number: never renumber."""

    UNKNOWN = 0
    ENQUEUED = 1
    DELIVERED = 2
    READ = 3
    EXPIRED = 4


class Fallback(IntEnum):
    """Where the SMS in the message's stead is. Stored as its number: never renumber."""

    OFF = 0
    ARMED = 1
    DUE = 2
    SENT = 3
    DELIVERED = 4
    EXPIRED = 5
    INVALID_NUMBER = 6
    PHONE_ERROR = 7
    OPERATOR_ERROR = 8


class FallbackMode(IntEnum):
    """Who acts when a fallback time is reached: nobody, the customer (told by a callback), or Homing (an SMS)."""

    OFF = 0
    NOTIFY = 1
    SMS = 2


class SmsRefusal(IntEnum):
    """Why an SMS was not taken at its submission (or could not be submitted at all)."""

    INVALID_NUMBER = 1
    OPERATOR_ERROR = 2


class SmsOutcome(IntEnum):
    """How an SMS ended, as a delivery receipt tells it."""

    DELIVERED = 1
    EXPIRED = 2
    INVALID_NUMBER = 3
    PHONE_ERROR = 4
    OPERATOR_ERROR = 5


class Command(IntEnum):
    """What the courier of SMS must do now: send the one SMS of this dispatch, or forget it (nothing more is to be
    submitted). A step never gives both: when they meet in one step they cancel out.
    """

    SUBMIT_SMS = 1
    DROP_SMS = 2


class Policy(NamedTuple):
    """The times of one dispatch, fixed at acceptance (`homing.lifecycle.policy.resolve` makes it)."""

    expires_at: int
    mode: int
    """A FallbackMode."""
    undelivered_at: int | None
    """When the fallback is necessary unless delivered; never later than `expires_at`."""
    unread_ms: int | None
    """How long after the `delivered` timestamp the fallback is necessary unless read."""


class State(NamedTuple):
    """All that decides what may still happen to one dispatch; plain numbers, so it is cheap to store and to copy."""

    message: int
    """A Message."""
    fallback: int
    """A Fallback."""
    emitted: int
    """The statuses said so far: bit NUMBER[status] of the contract."""
    events: int
    """How many were said; the number of the last event."""
    last_at: int
    """The timestamp of the last event: no later event is stamped earlier."""
    expires_at: int
    mode: int
    """A FallbackMode."""
    undelivered_at: int | None
    unread_ms: int | None
    delivered_at: int | None
    """The timestamp of `delivered`, where `unread_ms` counts from."""
    fallback_at: int | None
    """The timestamp of `fallbackOn…`, where the SMS's validity counts from."""
    sms_submitted_at: int | None
    """When the intent to submit the SMS was stored last; set and still DUE means the carrier's answer is open."""


class Symbol(IntEnum):
    """The alphabet of the tables: each input, and each deadline, is one of these columns."""

    CLOCK = 0
    RECEIVED = auto()
    READ = auto()
    RECALLED = auto()
    PUSH_ACCEPTED = auto()
    IOS_REFUSED = auto()
    IOS_TOKEN_INVALID = auto()
    ANDROID_REFUSED = auto()
    ANDROID_TOKEN_INVALID = auto()
    WEB_REFUSED = auto()
    WEB_TOKEN_INVALID = auto()
    SMS_SUBMITTING = auto()
    SMS_ACCEPTED = auto()
    SMS_REFUSED_NUMBER = auto()
    SMS_REFUSED_OPERATOR = auto()
    REPORT_DELIVERED = auto()
    REPORT_EXPIRED = auto()
    REPORT_NUMBER = auto()
    REPORT_PHONE = auto()
    REPORT_OPERATOR = auto()
    # Deadlines: no input has these; `step` draws them from the state when their time has come.
    EXPIRY = auto()
    UNDELIVERED_NOTIFY = auto()
    UNDELIVERED_SMS = auto()
    UNREAD_NOTIFY = auto()
    UNREAD_SMS = auto()
    VALIDITY_END = auto()


_PUSH_REFUSED: Final = {
    ("ios", False): Symbol.IOS_REFUSED,
    ("ios", True): Symbol.IOS_TOKEN_INVALID,
    ("android", False): Symbol.ANDROID_REFUSED,
    ("android", True): Symbol.ANDROID_TOKEN_INVALID,
    ("web", False): Symbol.WEB_REFUSED,
    ("web", True): Symbol.WEB_TOKEN_INVALID,
}
_SMS_REFUSED: Final = {
    SmsRefusal.INVALID_NUMBER: Symbol.SMS_REFUSED_NUMBER,
    SmsRefusal.OPERATOR_ERROR: Symbol.SMS_REFUSED_OPERATOR,
}
_SMS_REPORTED: Final = {
    SmsOutcome.DELIVERED: Symbol.REPORT_DELIVERED,
    SmsOutcome.EXPIRED: Symbol.REPORT_EXPIRED,
    SmsOutcome.INVALID_NUMBER: Symbol.REPORT_NUMBER,
    SmsOutcome.PHONE_ERROR: Symbol.REPORT_PHONE,
    SmsOutcome.OPERATOR_ERROR: Symbol.REPORT_OPERATOR,
}


class _Happening(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened. `at` is the device's own time of it, for the two inputs that have one."""


class Received(_Happening, frozen=True, gc=False):
    """A device has stored the message; `at` by its own clock, None: just now."""

    at: int | None = None
    symbol: ClassVar[Symbol] = Symbol.RECEIVED


class Read(_Happening, frozen=True, gc=False):
    """The person has read the message on a device; `at` by its own clock, None: just now."""

    at: int | None = None
    symbol: ClassVar[Symbol] = Symbol.READ


class Clock(_Happening, frozen=True, gc=False):
    """Nothing but time has passed."""

    at: ClassVar[None] = None
    symbol: ClassVar[Symbol] = Symbol.CLOCK


class PushAccepted(_Happening, frozen=True, gc=False):
    """A push service accepted a wake-up push for one of the person's devices."""

    at: ClassVar[None] = None
    symbol: ClassVar[Symbol] = Symbol.PUSH_ACCEPTED


class PushRefused(_Happening, frozen=True, gc=False):
    """A push service refused a wake-up push for good; `token_invalid`: the device's token is to blame."""

    platform: Literal["ios", "android", "web"]
    token_invalid: bool
    at: ClassVar[None] = None

    @property
    def symbol(self) -> Symbol:
        """The tables' column."""
        return _PUSH_REFUSED[self.platform, self.token_invalid]


class SmsSubmitting(_Happening, frozen=True, gc=False):
    """The intent to submit the SMS, stored before it is. The courier submits only when the note is None or
    `sms_submitted_again`.
    """

    at: ClassVar[None] = None
    symbol: ClassVar[Symbol] = Symbol.SMS_SUBMITTING


class SmsAccepted(_Happening, frozen=True, gc=False):
    """The carrier took the SMS."""

    at: ClassVar[None] = None
    symbol: ClassVar[Symbol] = Symbol.SMS_ACCEPTED


class SmsRefused(_Happening, frozen=True, gc=False):
    """The carrier refused the SMS, or it could not be sent at all (no usable number, a cost cap)."""

    kind: SmsRefusal
    at: ClassVar[None] = None

    @property
    def symbol(self) -> Symbol:
        """The tables' column."""
        return _SMS_REFUSED[self.kind]


class SmsReport(_Happening, frozen=True, gc=False):
    """A final delivery receipt of the SMS came. Carriers' dates have no zone, so it counts as of now."""

    outcome: SmsOutcome
    at: ClassVar[None] = None

    @property
    def symbol(self) -> Symbol:
        """The tables' column."""
        return _SMS_REPORTED[self.outcome]


class Recalled(_Happening, frozen=True, gc=False):
    """The sender wants the message back."""

    at: ClassVar[None] = None
    symbol: ClassVar[Symbol] = Symbol.RECALLED


Input = (
    Received
    | Read
    | Clock
    | PushAccepted
    | PushRefused
    | SmsSubmitting
    | SmsAccepted
    | SmsRefused
    | SmsReport
    | Recalled
)


class Transition(NamedTuple):
    """What one input did. Its events have the numbers `state.events - len(events) + 1` to `state.events`."""

    state: State
    events: tuple[tuple[Status, int], ...]
    """What is now to be said: (status, timestamp in ms), in order."""
    commands: tuple[Command, ...]
    note: str | None
    """Why the input changed nothing, or what is worth remembering: a code of `tables.NOTES`, for the history."""
