"""The 18 lifecycle statuses: their wire names, numbers, families and meanings. There are no others (CONTRACT.md §4.10)."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from homing.contract.errors import ContractError


class Status(StrEnum):
    """What a callback may say about a dispatch; the value is the wire's spelling, byte for byte."""

    ENQUEUED = "enqueued"
    DELIVERED = "delivered"
    READ = "read"
    EXPIRED = "expired"
    FALLBACK_ON_UNDELIVERED = "fallbackOnUndelivered"
    FALLBACK_ON_UNREAD = "fallbackOnUnread"
    FALLBACK_SENT = "fallbackSent"
    FALLBACK_DELIVERED = "fallbackDelivered"
    FALLBACK_EXPIRED = "fallbackExpired"
    FALLBACK_INVALID_NUMBER = "fallbackInvalidNumber"
    FALLBACK_PHONE_ERROR = "fallbackPhoneError"
    FALLBACK_OPERATOR_ERROR = "fallbackOperatorError"
    IOS_ERROR = "iOSError"
    IOS_ERROR_INVALID_TOKEN = "iOSErrorInvalidToken"  # noqa: S105 - a status
    ANDROID_ERROR = "AndroidError"
    ANDROID_ERROR_INVALID_TOKEN = "AndroidErrorInvalidToken"  # noqa: S105 - a status
    PUSH_SENT = "PushSent"
    IDENTIFIER_NOT_FOUND = "IdentifierNotFound"


class Family(StrEnum):
    """Which of the three stories a status belongs to."""

    MESSAGE = "message"
    PUSH = "push"
    FALLBACK = "fallback"


_TABLE: Final[tuple[tuple[Status, Family, str], ...]] = (
    (Status.ENQUEUED, Family.MESSAGE, "stored for the recipient; no device has it yet, as far as is known"),
    (Status.DELIVERED, Family.MESSAGE, "on at least one of the recipient's devices"),
    (Status.READ, Family.MESSAGE, "opened by the recipient on one of the devices"),
    (Status.EXPIRED, Family.MESSAGE, "reached no device before its time ran out"),
    (Status.FALLBACK_ON_UNDELIVERED, Family.FALLBACK, "fallback is due: no device had it in time"),
    (Status.FALLBACK_ON_UNREAD, Family.FALLBACK, "fallback is due: it arrived, but was not opened in time"),
    (Status.FALLBACK_SENT, Family.FALLBACK, "the carrier took the SMS"),
    (Status.FALLBACK_DELIVERED, Family.FALLBACK, "the SMS is on the phone"),
    (Status.FALLBACK_EXPIRED, Family.FALLBACK, "the carrier ran out of time with the SMS"),
    (Status.FALLBACK_INVALID_NUMBER, Family.FALLBACK, "there is no such mobile number"),
    (Status.FALLBACK_PHONE_ERROR, Family.FALLBACK, "the phone cannot take an SMS, its memory may be full"),
    (Status.FALLBACK_OPERATOR_ERROR, Family.FALLBACK, "no carrier would or could carry the SMS"),
    (Status.IOS_ERROR, Family.PUSH, "Apple refused the push, most often because of the set-up"),
    (Status.IOS_ERROR_INVALID_TOKEN, Family.PUSH, "Apple no longer knows the device: the app may be gone"),
    (Status.ANDROID_ERROR, Family.PUSH, "Google refused the push, most often because of the set-up"),
    (
        Status.ANDROID_ERROR_INVALID_TOKEN,
        Family.PUSH,
        "Google no longer knows the device: the app may be gone",
    ),
    (Status.PUSH_SENT, Family.PUSH, "a push service accepted the wake-up"),
    (Status.IDENTIFIER_NOT_FOUND, Family.MESSAGE, "the application has no such user; nothing was sent"),
)

STATUSES: Final[tuple[Status, ...]] = tuple(status for status, _, _ in _TABLE)
"""All 18, in the order of CONTRACT.md §2."""

NUMBER: Final[dict[Status, int]] = {status: number for number, status in enumerate(STATUSES)}
"""The place of a status in STATUSES, 0 to 17: its bit in a mask, and how stores keep it. Never renumber."""

FAMILY: Final[dict[Status, Family]] = {status: family for status, family, _ in _TABLE}
MEANING: Final[dict[Status, str]] = {status: meaning for status, _, meaning in _TABLE}

ALL_MASK: Final = (1 << len(STATUSES)) - 1
"""The mask of all 18."""


def mask(statuses: Iterable[Status]) -> int:
    """Return the set as a bitset: bit `NUMBER[status]` is 1 for each of `statuses`."""
    bits = 0
    for status in statuses:
        bits |= 1 << NUMBER[status]
    return bits


def from_mask(bits: int) -> tuple[Status, ...]:
    """Return the statuses of a bitset in the order of STATUSES; ContractError for bits that mean nothing."""
    if bits & ~ALL_MASK:
        raise ContractError(f"{bits} has bits beyond the {len(STATUSES)} statuses")
    return tuple(status for number, status in enumerate(STATUSES) if bits >> number & 1)
