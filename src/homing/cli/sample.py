"""A callback that is made up: lawful and plausible, about nothing that happened. Any of its keys may be set."""

from collections.abc import Mapping
from typing import Any, Final

import uuid_utils

from homing.cli.exits import usage
from homing.contract.errors import ContractError
from homing.contract.notification import (
    INCOMING_KEYS,
    STATUS_KEYS,
    IncomingNotification,
    Notification,
    StatusNotification,
    iso_utc,
    keys,
    parse_utc,
)
from homing.contract.status import FAMILY, Family, Status
from homing.simulator.lives import INCOMING

PERSON: Final = "homing-test"
"""Whom a made-up callback is about, as with the test of an endpoint."""
_NUMBER: Final = "+447700900000"
_FIXED: Final = frozenset({"type", "status"})
_OPTIONAL: Final = frozenset({"messageRef", "recipientRef", "fallbackRef", "channel", "inReplyToMessageId"})
_FIELDS: Final = {
    "applicationId": "application_id",
    "messageId": "message_id",
    "recipient": "recipient",
    "messageRef": "message_ref",
    "recipientRef": "recipient_ref",
    "fallbackRef": "fallback_ref",
    "sender": "sender",
    "text": "text",
    "channel": "channel",
    "inReplyToMessageId": "in_reply_to_message_id",
}
"""Key on the wire → field of the notification; the timestamp is read apart."""


def settable(what: str) -> tuple[str, ...]:
    """Return the keys that may be set of a status's callback, or of an incoming message's."""
    return tuple(key for key in (INCOMING_KEYS if what == INCOMING else STATUS_KEYS) if key not in _FIXED)


def sample(what: str, app: int, now_ms: int, given: Mapping[str, str]) -> Notification:
    """Return the callback of a status, or of an incoming message, with the keys that were given; an empty one is left out.

    Raises `CliError` for a key that it cannot have, and for a value that no callback can.
    """
    for key in given:
        if key not in settable(what):
            raise usage(f"--set: {key[:40]!r} is none of {', '.join(settable(what))}")
    values = {**_plausible(what, app, now_ms), **given}
    fields: dict[str, Any] = {
        _FIELDS[key]: value or (None if key in _OPTIONAL else "")
        for key, value in values.items()
        if key in _FIELDS
    }
    try:
        fields["timestamp_ms"], _ = parse_utc(values["timestamp"])
        made: Notification = (
            IncomingNotification(**fields)
            if what == INCOMING
            else StatusNotification(status=Status(what), **fields)
        )
        keys(made)
    except ContractError as fault:
        raise usage(f"--set: {fault}") from fault
    return made


def _plausible(what: str, app: int, now_ms: int) -> dict[str, str]:
    common = {
        "timestamp": iso_utc(now_ms),
        "applicationId": str(app),
        "messageId": str(uuid_utils.uuid7()),
    }
    if what == INCOMING:
        return {**common, "sender": PERSON, "text": "hello from homing trigger"}
    refs = {"recipient": PERSON, "messageRef": "test-message", "recipientRef": "test-recipient"}
    if FAMILY[Status(what)] is Family.FALLBACK:
        refs["fallbackRef"] = _NUMBER
    return {**common, **refs}
