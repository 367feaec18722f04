"""Events of the feed as flags name them and as lines tell them."""

from collections.abc import Callable, Sequence
from typing import Final

from homing.cli.exits import usage
from homing.cli.feed import event_line
from homing.cli.render import Column, Item, field, harmless, moment
from homing.contract.notification import parse_utc
from homing.contract.status import Status
from homing.identifiers import fold_identifier

INCOMING: Final = "incoming"
"""As a status: a message from a device."""


def whom(event: Item) -> str:
    """Return the user an event is about."""
    return str(event["sender"] if event["kind"] == "incoming" else event["recipient"])


def status_of(event: Item) -> str:
    """Return an event's status, `INCOMING` for a message from a device."""
    return INCOMING if event["kind"] == "incoming" else str(event["status"])


def line_of(event: Item) -> str:
    """Return an event as a line for people."""
    text = f"writes: {event['text']}" if event["kind"] == "incoming" else status_of(event)
    at_ms, _ = parse_utc(event["timestamp"])
    return harmless(event_line(at_ms, event["messageId"], whom(event), text))


def wanted(statuses: str | None, to: str | None) -> Callable[[Item], bool]:
    """Return what says whether an event is wanted; an unknown status is wrong usage."""
    names = None if statuses is None else {one.strip() for one in statuses.split(",")}
    known = {status.value for status in Status} | {INCOMING}
    if names is not None and (unknown := sorted(names - known)):
        raise usage(f"{unknown[0]!r} is no status (homing help statuses)")
    person = None if to is None else fold_identifier(to)

    def wants(event: Item) -> bool:
        is_theirs = person is None or fold_identifier(whom(event)) == person
        return is_theirs and (names is None or status_of(event) in names)

    return wants


def app_ids(text: str | None) -> Sequence[int] | None:
    """Return the applications of ``--app``, None for all that the token reaches."""
    if text is None or text.strip() == "*":
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 17 for part in parts):
        raise usage(f"--app: {text[:40]!r} is not like 1, 1,2 or '*'")
    return [int(part) for part in parts]


COLUMNS: Final = (
    field("messageId"),
    moment("timestamp"),
    Column("recipient", whom),
    field("seq"),
    Column("status", status_of),
    field("messageRef"),
)
