"""The two kinds of callback, their keys in wire order, and their timestamps. Encoding is the business of `forms`."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import msgspec

from homing.contract.errors import Undecodable, Unencodable
from homing.contract.status import Status

Pairs: TypeAlias = list[tuple[str, str]]
Precision: TypeAlias = Literal["s", "ms"]

MESSAGE_STATUS: Final = "MessageStatus"
INCOMING_MESSAGE: Final = "IncomingMessage"

STATUS_KEYS: Final = (
    "type",
    "timestamp",
    "applicationId",
    "messageId",
    "recipient",
    "status",
    "messageRef",
    "recipientRef",
    "fallbackRef",
)
INCOMING_KEYS: Final = (
    "sender",
    "text",
    "applicationId",
    "timestamp",
    "messageId",
    "type",
    "channel",
    "inReplyToMessageId",
)
FILE_KEY: Final = "attachment"
ATTACHMENT_KEYS: Final = ("attachmentName", "attachmentType", "attachmentSize", "attachmentSha256")

CONTRACT_KEYS: Final = frozenset((*STATUS_KEYS, *INCOMING_KEYS, *ATTACHMENT_KEYS, FILE_KEY))
"""Every key a callback of either kind can hold; a configured URL may use none of them."""


class StatusNotification(msgspec.Struct, frozen=True, gc=False):
    """One lifecycle event of one dispatch (CONTRACT.md §2); `timestamp_ms` is when it happened, Unix epoch, UTC."""

    timestamp_ms: int
    application_id: str
    message_id: str
    recipient: str
    status: Status
    message_ref: str | None = None
    recipient_ref: str | None = None
    fallback_ref: str | None = None


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """A file that came with an incoming message; `sha256` is of `content`, in lower-case hex."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    content: bytes


class IncomingNotification(msgspec.Struct, frozen=True):
    """One message from a person to the application (CONTRACT.md §3); its text may be empty beside an attachment."""

    sender: str
    text: str
    application_id: str
    timestamp_ms: int
    message_id: str
    channel: str | None = None
    in_reply_to_message_id: str | None = None
    attachment: Attachment | None = None


Notification: TypeAlias = StatusNotification | IncomingNotification


def attachment_of(name: str, media_type: str, content: bytes) -> Attachment:
    """Return the attachment with its size and digest worked out."""
    return Attachment(name, media_type, len(content), sha256(content).hexdigest(), content)


def keys(notification: Notification, precision: Precision = "s") -> Pairs:
    """Return the (key, value) pairs in wire order, those without a value left out; an attachment is not among them.

    Raises Unencodable when a mandatory key has no value, or the time is outside the years 1 to 9999.
    """
    if isinstance(notification, StatusNotification):
        return _status_keys(notification, precision)
    return _incoming_keys(notification, precision)


def _status_keys(it: StatusNotification, precision: Precision) -> Pairs:
    if not (it.application_id and it.message_id and it.recipient):
        raise Unencodable("applicationId, messageId and recipient must not be empty")
    pairs = [
        ("type", MESSAGE_STATUS),
        ("timestamp", iso_utc(it.timestamp_ms, precision)),
        ("applicationId", it.application_id),
        ("messageId", it.message_id),
        ("recipient", it.recipient),
        ("status", it.status.value),
    ]
    if it.message_ref:
        pairs.append(("messageRef", it.message_ref))
    if it.recipient_ref:
        pairs.append(("recipientRef", it.recipient_ref))
    if it.fallback_ref:
        pairs.append(("fallbackRef", it.fallback_ref))
    return pairs


def _incoming_keys(it: IncomingNotification, precision: Precision) -> Pairs:
    if not (it.application_id and it.message_id and it.sender):
        raise Unencodable("applicationId, messageId and sender must not be empty")
    values = (
        it.sender,
        it.text,
        it.application_id,
        iso_utc(it.timestamp_ms, precision),
        it.message_id,
        INCOMING_MESSAGE,
        it.channel,
        it.in_reply_to_message_id,
    )
    return [(key, value) for key, value in zip(INCOMING_KEYS, values, strict=True) if value]


def attachment_keys(attachment: Attachment) -> Pairs:
    """Return the facts about a file as pairs in wire order; Unencodable when its name or type is empty."""
    if not (attachment.name and attachment.media_type):
        raise Unencodable("an attachment needs a name and a media type")
    values = (attachment.name, attachment.media_type, str(attachment.size_bytes), attachment.sha256)
    return list(zip(ATTACHMENT_KEYS, values, strict=True))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_UTC: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:?00)", re.ASCII
)


@lru_cache(maxsize=1024)  # events come in bursts of the same seconds
def _second(epoch_s: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=epoch_s)).isoformat()[:19]
    except OverflowError as fault:
        raise Unencodable(f"{epoch_s} s is outside the years 1 to 9999") from fault


def iso_utc(ms: int, precision: Precision = "s") -> str:
    """Return ``2016-05-24T13:57:07Z``, or with ``ms`` ``2016-05-24T13:57:07.042Z``; rounds down, never up."""
    if precision == "s":
        return _second(ms // 1000) + "Z"
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


def parse_utc(text: str) -> tuple[int, Precision]:
    """Return the instant in ms since the epoch, and how finely it was told; Undecodable unless ISO-8601 in UTC.

    One to nine decimals are taken and cut to ms; ``+00:00`` counts as ``Z``, any other zone is refused.
    """
    found = _ISO_UTC.fullmatch(text)
    if found is None:
        raise Undecodable(f"timestamp {text[:40]!r} is not ISO-8601 UTC")
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as fault:
        raise Undecodable(f"timestamp {text!r} does not exist") from fault
    decimals: str | None = found[7]
    whole_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    if decimals is None:
        return whole_ms, "s"
    return whole_ms + int((decimals + "00")[:3]), "ms"
