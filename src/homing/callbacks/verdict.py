"""What an answer to a callback means, as a table; pure, and without memory: `health` and the courier count.

CONTRACT.md §5: settled by a 2xx; a 3xx is a failure and never followed; 410 disables; everything else is retried.
Only what speaks about the endpoint counts against it; any other answer proves it alive and fails only its own event.
"""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

MAX_RETRY_AFTER_MS = 24 * 3_600_000
_MAX_RETRY_AFTER_CHARS = 64


class Outcome(StrEnum):
    """How one try ended; the value is what the attempt log shows."""

    SUCCESS = "2xx"
    REDIRECT = "3xx"
    GONE = "410"
    THROTTLED = "429"
    CLIENT_ERROR = "4xx"
    SERVER_ERROR = "5xx"
    TIMEOUT = "timeout"
    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    REFUSED_BY_GUARD = "refused_by_guard"
    MALFORMED = "malformed"
    """What came was no HTTP answer, broke off, or passed the limits for headers."""
    OURS = "ours"
    """Nothing could be sent from here (no file descriptor, no memory): it says nothing about the endpoint."""


class Verdict(StrEnum):
    """What follows for the event."""

    SETTLED = "settled"
    RETRY = "retry"
    DISABLE = "disable"
    """The endpoint takes no more callbacks; its events become dead letters."""


class Meaning(NamedTuple):
    """One row of the table."""

    verdict: Verdict
    counts_against_endpoint: bool
    """Ten of these in a row and the endpoint rests."""
    overloaded: bool
    """The endpoint wants fewer callbacks at a time."""


TABLE: Mapping[Outcome, Meaning] = {
    Outcome.SUCCESS: Meaning(Verdict.SETTLED, counts_against_endpoint=False, overloaded=False),
    Outcome.REDIRECT: Meaning(Verdict.RETRY, counts_against_endpoint=False, overloaded=False),
    Outcome.GONE: Meaning(Verdict.DISABLE, counts_against_endpoint=False, overloaded=False),
    Outcome.THROTTLED: Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=True),
    Outcome.CLIENT_ERROR: Meaning(Verdict.RETRY, counts_against_endpoint=False, overloaded=False),
    Outcome.SERVER_ERROR: Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=False),
    Outcome.TIMEOUT: Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=True),
    Outcome.CONNECT: Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=False),
    Outcome.DNS: Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=False),
    Outcome.TLS: Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=False),
    Outcome.REFUSED_BY_GUARD: Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=False),
    Outcome.MALFORMED: Meaning(Verdict.RETRY, counts_against_endpoint=True, overloaded=False),
    Outcome.OURS: Meaning(Verdict.RETRY, counts_against_endpoint=False, overloaded=False),
}

_MALFORMED = Outcome.MALFORMED
_SPECIAL = {410: Outcome.GONE, 429: Outcome.THROTTLED}
_FAMILIES = {2: Outcome.SUCCESS, 3: Outcome.REDIRECT, 4: Outcome.CLIENT_ERROR, 5: Outcome.SERVER_ERROR}


def outcome(status: int, error: Outcome | None = None) -> Outcome:
    """Return how a try ended: ``error`` when the exchange did not complete, else by its status (0: no answer)."""
    if error is not None:
        return error
    return _SPECIAL.get(status) or _FAMILIES.get(status // 100, _MALFORMED)


def verdict(ended: Outcome) -> Verdict:
    """Return what follows for the event."""
    return TABLE[ended].verdict


def counts_against_endpoint(ended: Outcome) -> bool:
    """True when this speaks against the endpoint; false when it proves it alive, and for what is `Outcome.OURS`."""
    return TABLE[ended].counts_against_endpoint


def overloaded(status: int, ended: Outcome) -> bool:
    """True when fewer callbacks at a time are wanted: a 429, a 503 or a timeout."""
    return status == 503 or TABLE[ended].overloaded


def pauses_endpoint(status: int) -> bool:
    """True for the two answers whose Retry-After is about the whole endpoint, not about one event."""
    return status in {429, 503}


def retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """Return how long a Retry-After asks to wait (RFC 9110 §10.2.3), 0 to 24 h; None for none or garbage.

    ``value`` is seconds or an HTTP date in any of its three forms, or several such lines: no try comes earlier than
    any of them asks. ``now_ms`` is real time.
    """
    waits_ms = [_wait_ms(line, now_ms) for line in (value or "").split("\n")]
    return max((wait_ms for wait_ms in waits_ms if wait_ms is not None), default=None)


def _wait_ms(value: str, now_ms: int) -> int | None:
    value = value.strip(" \t")
    if not value.isascii() or not 0 < len(value) <= _MAX_RETRY_AFTER_CHARS:
        return None
    if value.isdigit():
        return min(int(value) * 1000, MAX_RETRY_AFTER_MS)
    try:
        date = parsedate_to_datetime(value)
        at_ms = int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return min(max(at_ms - now_ms, 0), MAX_RETRY_AFTER_MS)
