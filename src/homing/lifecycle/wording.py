"""The sentences of `explain` and how they speak of time. Words only: which one is said is decided in `explain`."""

from datetime import UTC, datetime
from typing import Final

from homing.lifecycle.tables import NOTES

TEXTS: Final[dict[str, str]] = {
    # Where it is, and why.
    "unknown_recipient": (
        "Not sent: {who} is no user of this application. IdentifierNotFound was reported and nothing else "
        "will follow."
    ),
    "waiting": "Not delivered yet: no device of {who} has confirmed that it stored the message.",
    "waiting_for_device": "Not delivered yet. {who} has {devices}{seen}.",
    "waiting_without_device": (
        "Not delivered yet. {who} has no device; the message waits for the first one to log in."
    ),
    "delivered": (
        "Delivered{delivered_at}: a device of {who} has stored the message. It has not been read yet."
    ),
    "read": "Read{read_at}: {who} opened the message, so it was delivered too.",
    "expired": "Expired{expired_at}: no device of {who} had confirmed the message by then.",
    "recalled": "Recalled{expired_at}, before any device of {who} had confirmed it, so expired was reported.",
    # The wake-up push.
    "push_accepted": (
        "{service} accepted the wake-up push{push_at}, so PushSent was reported; a push only wakes, and "
        "no device has confirmed since."
    ),
    "push_token_invalid": (
        "{service} does not know the device any more{why}, so {push} was reported; the app must be opened "
        "once to register anew."
    ),
    "push_refused": (
        "{service} refused the wake-up push{why}, so {push} was reported; usually the push configuration "
        "is wrong."
    ),
    "push_unanswered": "No push service has answered for a wake-up push.",
    # The fallback, with what comes of it.
    "fallback_notified": (
        "The fallback became necessary{on_at} and {on} was reported; in fallback mode notify your own "
        "system sends what is to be sent."
    ),
    "fallback_not_needed": "The fallback is off: the message was {met} in time.",
    "fallback_impossible": (
        "The fallback is off: the message was never delivered, so it can no longer be left unread."
    ),
    "fallback_recalled": "The fallback is off: the message was recalled.",
    "sms_dropped": (
        "The fallback became necessary{on_at} and {on} was reported, but the SMS never left: the message "
        "was {met} before."
    ),
    "sms_waiting": (
        "The fallback became necessary{on_at} ({on}): an SMS{to} waits to be submitted; if no carrier "
        "takes it by {gives_up}, fallbackOperatorError is reported."
    ),
    "sms_without_carrier": (
        "The fallback became necessary{on_at} ({on}), but no carrier for SMS is configured; unless there "
        "is one by {gives_up}, fallbackOperatorError is reported."
    ),
    "sms_unanswered": (
        "The fallback became necessary{on_at} ({on}): an SMS{to} was handed to the carrier{submitted_at}, "
        "which has not answered; without an answer or a receipt by {gives_up}, fallbackOperatorError is "
        "reported."
    ),
    "sms_sent": (
        "The carrier accepted the SMS{to}{sent_at}; what became of it is reported when its receipt comes, "
        "and there is no deadline for that."
    ),
    "sms_delivered": "The SMS{to} was delivered{outcome_at}.",
    "sms_expired": (
        "The carrier could not deliver the SMS{to} in time, so fallbackExpired was reported{outcome_at}."
    ),
    "sms_invalid_number": (
        "The SMS could not be sent: the number is invalid or missing, so fallbackInvalidNumber was "
        "reported{outcome_at}."
    ),
    "sms_phone_error": (
        "The phone could not take the SMS{to}, perhaps its memory is full, so fallbackPhoneError was "
        "reported{outcome_at}."
    ),
    "sms_operator_error": (
        "No carrier could or would deliver the SMS{to}, so fallbackOperatorError was reported{outcome_at}."
    ),
    # What happens next, and when.
    "next_expiry": "If no device confirms it, it expires at {expires_at}.",
    "next_undelivered": (
        "If nothing comes by {undelivered_at}, {action}; the message expires at {expires_at}."
    ),
    "next_either": (
        "If nothing comes by {undelivered_at}, {action}; the same once delivered, if it is not read "
        "within {unread}. It expires at {expires_at}."
    ),
    "next_unread_after_delivery": (
        "Once delivered, if it is not read within {unread}, {action}; undelivered, it expires at "
        "{expires_at}."
    ),
    "next_unread": "If it is not read by {unread_at}, {action}.",
    "next_read": "The only thing to come is read, when a device says so; there is no deadline for that.",
    "settled": "Nothing more is due.",
    # What else is known.
    "history": "In its history: {history}.",
    "callbacks": "Your endpoint {callbacks}.",
    "no_endpoint": "No endpoint asked for its callbacks.",
}
"""Every sentence there is. The stable key is `explain.` and the name."""

REMARKS: Final[dict[str, str]] = {
    **NOTES,
    "push_not_configured": "no push service is set up for this application, so nobody was woken",
    "push_put_off": "a push service could not take the wake-up push just then; it is tried again",
    "sms_put_off": "the carrier could not take the SMS just then; it is tried again",
    "sms_answer_missing": "the carrier's answer to the SMS was lost; its receipt is waited for",
    "sms_given_up_unknown": "the carrier's answer to the SMS was lost, and it was not sent a second time",
}
"""What a code of the history means to people: the machine's notes, and what the couriers add."""


def span(milliseconds: int) -> str:
    """A length of time in its largest fitting unit, rounded down: 3 h, 15 min, 40 s."""
    seconds = milliseconds // 1000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def at(moment_ms: int | None, now_ms: int | None) -> str:
    """The same inside a sentence, with its preposition; empty when the time is not known."""
    return "" if moment_ms is None else f" at {moment(moment_ms, now_ms)}"


def moment(moment_ms: int | None, now_ms: int | None) -> str:
    """A time as people read it: without its date when that is today's. UTC, since nobody's zone is known."""
    if moment_ms is None:
        return ""
    then = datetime.fromtimestamp(moment_ms / 1000, UTC)
    is_today = now_ms is not None and datetime.fromtimestamp(now_ms / 1000, UTC).date() == then.date()
    return f"{then:%H:%M:%S} UTC" if is_today else f"{then:%Y-%m-%d %H:%M:%S} UTC"
