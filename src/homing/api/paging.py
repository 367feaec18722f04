"""Pages of a list: cursors that say nothing to a client and take nothing amiss, and the times that filters name."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from homing.errors import NotAcceptable

T = TypeVar("T")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_INT: Final = 2**63 - 1


def cursor_of(position: str | int | bytes) -> str:
    """Return the cursor that stands for a place in a list."""
    if isinstance(position, int):
        position = position.to_bytes(8, "big")
    return (position.encode() if isinstance(position, str) else position).hex()


def text_in(cursor: str | None) -> str:
    """Return the place as text; empty for the beginning."""
    return "" if cursor is None else bytes.fromhex(cursor).decode("utf-8", "replace")


def number_in(cursor: str | None) -> int | None:
    """Return the place as a number; None for the beginning."""
    return None if cursor is None else min(int.from_bytes(bytes.fromhex(cursor), "big"), _MAX_INT)


def id_in(cursor: str | None) -> bytes | None:
    """Return the place as the 16 bytes of an id; None for the beginning."""
    return None if cursor is None else bytes.fromhex(cursor)[:16].ljust(16, b"\0")


def dead_in(cursor: str | None) -> tuple[bytes, int] | None:
    """Return the place as a dispatch's key and an event's number; None for the beginning."""
    if cursor is None:
        return None
    raw = bytes.fromhex(cursor)[:19].ljust(19, b"\0")
    return raw[:18], raw[18]


def page(items: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """Cut one more than a page to a page; the last of it is where the next one begins, None at the end.

    Ask the store for ``limit + 1``, so that the last page is known to be the last.
    """
    if len(items) <= limit:
        return items, None
    return items[:limit], items[limit - 1]


def instant_ms(text: str | None, name: str) -> int | None:
    """Return an RFC 3339 time in ms since the epoch; `NotAcceptable` for anything else."""
    if text is None:
        return None
    try:
        # A leap second counts as the last one before it, as everywhere in POSIX time.
        moment = datetime.fromisoformat(
            text.upper().replace(":60", ":59", 1) if ":60" in text[16:] else text.upper()
        )
        if moment.tzinfo is None or "T" not in text.upper():
            raise ValueError(text)
        # Subtracting the offset last cannot leave the range of years.
        since_epoch = moment.replace(tzinfo=UTC) - _EPOCH - (moment.utcoffset() or timedelta())
        return since_epoch // timedelta(milliseconds=1)
    except ValueError:
        path = f"$.{name}"
        message = "must be an ISO-8601 time with its zone, such as 2026-03-01T12:00:00Z"
        raise NotAcceptable(f"{path}: {message}", errors=((path, message),)) from None
