"""Judges what was said about one dispatch against the laws of CONTRACT.md §4, from the sequence alone.

Written from the laws, not from the tables: it must not import the machine, so that it can find the machine wrong.
`homing demo` and the simulator judge callback sequences with it; tests judge the machine with it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from homing.contract.status import STATUSES

_PUSH: Final = frozenset(
    {"iOSError", "iOSErrorInvalidToken", "AndroidError", "AndroidErrorInvalidToken", "PushSent"}
)
_BECAME_NECESSARY: Final = frozenset({"fallbackOnUndelivered", "fallbackOnUnread"})
_OUTCOMES: Final = frozenset(
    {
        "fallbackDelivered",
        "fallbackExpired",
        "fallbackInvalidNumber",
        "fallbackPhoneError",
        "fallbackOperatorError",
    }
)
_ONLY_BY_RECEIPT: Final = frozenset({"fallbackDelivered", "fallbackExpired", "fallbackPhoneError"})
_VALIDITY_MS: Final = 24 * 3600 * 1000

Said = tuple[str, int]
"""A status and its timestamp in ms; whole seconds will do."""


def check(events: Sequence[Said]) -> list[str]:
    """The laws that the sequence breaks, each in words beginning with its number; empty when it is lawful.

    `events` is all that was said about one dispatch from its beginning, in order; any beginning of a lawful life is
    lawful. Only what a sequence can show is judged: what is silently lost cannot be seen here.
    """
    said = [status for status, _ in events]
    return [
        *_once(said),
        *_first(said),
        *_message(said),
        *_fallback(said),
        *_times(events),
        *(f"law 10: {status!r} is none of the 18 statuses" for status in said if status not in STATUSES),
    ]


def _once(said: Sequence[str]) -> Iterator[str]:
    for status, times in Counter(said).items():
        if times > 1:
            yield f"law 1: {status} was said {times} times"


def _first(said: Sequence[str]) -> Iterator[str]:
    if said and said[0] not in {"enqueued", "IdentifierNotFound"}:
        yield f"law 2: the first is {said[0]}, not enqueued or IdentifierNotFound"
    if "IdentifierNotFound" in said and len(said) > 1:
        yield "law 2: IdentifierNotFound is not alone"
    if "enqueued" in said[1:]:
        yield "law 2: enqueued is not the first"


def _message(said: Sequence[str]) -> Iterator[str]:
    for place, status in enumerate(said):
        before = said[:place]
        if status == "read" and "delivered" not in before:
            yield "law 3: read without delivered before it"
        if status == "expired" and "delivered" in before:
            yield "law 4: expired after delivered"
        if "expired" in before and (status in {"delivered", "read"} or status in _PUSH):
            yield f"law 4: {status} after expired"


def _fallback(said: Sequence[str]) -> Iterator[str]:
    for place, status in enumerate(said):
        before = set(said[:place])
        if status == "fallbackOnUndelivered" and "delivered" in before:
            yield "law 5: fallbackOnUndelivered after delivered"
        if status == "fallbackOnUnread" and ("delivered" not in before or "read" in before):
            yield "law 5: fallbackOnUnread while not delivered, or read already"
        if status in _BECAME_NECESSARY and before & (_BECAME_NECESSARY - {status}):
            yield "law 5: both fallbackOnUndelivered and fallbackOnUnread"
        if (status in _OUTCOMES or status == "fallbackSent") and not before & _BECAME_NECESSARY:
            yield f"law 5: {status} without a fallbackOn… before it"
        if status in _ONLY_BY_RECEIPT and "fallbackSent" not in before:
            yield f"law 6: {status} without fallbackSent before it"
        if status == "fallbackSent" and before & _OUTCOMES:
            yield "law 6: fallbackSent after an outcome"
        if status in _OUTCOMES and before & (_OUTCOMES - {status}):
            yield f"law 6: {status} is a second outcome"


def _times(events: Sequence[Said]) -> Iterator[str]:
    at = dict(reversed(events))  # of a status said twice, its first time
    necessary = [moment for status, moment in events if status in _BECAME_NECESSARY]
    said = [status for status, _ in events]
    after_expired = said[said.index("expired") :] if "expired" in said else []
    if "fallbackOnUndelivered" in after_expired and at["fallbackOnUndelivered"] != at["expired"]:
        yield "law 7: fallbackOnUndelivered later than the expiry"
    if necessary and at.get("fallbackSent", 0) > necessary[0] + _VALIDITY_MS:
        yield "law 7: fallbackSent after the SMS's own validity of 24 hours"
    for (status, moment), (following, later) in pairwise(events):
        if later < moment:
            yield f"law 9: {following} is stamped {moment - later} ms before {status}"
