"""The frames of ``homing.v1`` (API.md §2): one JSON object each, told apart by ``type``. Nothing is decided here.

A key without value is absent; an unknown key is ignored; an unknown ``type`` is a bad frame.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from homing.model import Body, uuid_text
from homing.texts import FAULT, NUL

SUBPROTOCOL: Final = "homing.v1"
MAX_FRAME_BYTES: Final = 64 * 1024
MAX_TEXT_CHARS: Final = 8_192
MAX_NAME_CHARS: Final = 255
"""Of a channel or a clientRef."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class BadFrame(Exception):
    """What came is no frame of this protocol; the text says why, for the one who writes the client."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first frame of a connection: who it is, and what it has."""

    token: str | None = None
    device: str | None = None
    epoch: str | None = None
    cursor: int = 0


class Ack(msgspec.Struct, frozen=True, tag="ack", rename="camel"):
    """These messages are stored on the device; ``at`` may say when."""

    message_ids: list[str]
    at: object = None


class ReadReceipt(msgspec.Struct, frozen=True, tag="read", rename="camel"):
    """These messages were read by the person; ``at`` may say when."""

    message_ids: list[str]
    at: object = None


class SendMessage(msgspec.Struct, frozen=True, tag="send", rename="camel"):
    """A message from the person to the application."""

    text: str
    client_ref: str | None = None
    channel: str | None = None
    in_reply_to: object = None
    attachment_id: object = None


FromDevice = Hello | Ack | ReadReceipt | SendMessage
_decoder: Final[msgspec.json.Decoder[FromDevice]] = msgspec.json.Decoder(FromDevice)
_encode: Final = msgspec.json.Encoder().encode


def decode(text: str) -> FromDevice:
    """Read one frame; raises `BadFrame`."""
    if 4 * len(text) > MAX_FRAME_BYTES and len(text.encode("utf-8", "replace")) > MAX_FRAME_BYTES:
        raise BadFrame("a frame may have 65536 bytes")
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise BadFrame("the frame is nested too deep") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadFrame(str(error)) from None


def refusal(message: SendMessage) -> str | None:
    """Say what is wrong with a message from a device, None if nothing is."""
    if message.in_reply_to is not None:
        return "inReplyTo: not yet"
    if message.attachment_id is not None:
        return "attachmentId: not yet"
    for name, text in (
        ("text", message.text), ("channel", message.channel), ("clientRef", message.client_ref),
    ):  # fmt: skip
        if text is not None and NUL in text:
            return f"{name} {FAULT}"
    if not 1 <= len(message.text) <= MAX_TEXT_CHARS:
        return f"text must have 1 to {MAX_TEXT_CHARS} characters"
    if message.channel is not None and not 1 <= len(message.channel) <= MAX_NAME_CHARS:
        return f"channel must have 1 to {MAX_NAME_CHARS} characters"
    if message.client_ref is not None and not 1 <= len(message.client_ref) <= MAX_NAME_CHARS:
        return f"clientRef must have 1 to {MAX_NAME_CHARS} characters"
    return None


class Welcome(msgspec.Struct, frozen=True, tag="welcome", rename="camel"):
    """The answer to hello; messages follow from after ``cursor``."""

    device: str
    epoch: str
    cursor: int
    server_time: str


class _Letter(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a msg frame says beside its type and number, which differ from one recipient to the other."""

    message_id: str
    text: str
    sent_at: str
    expires_at: str
    channel: str | None = None
    optional_data: dict[str, object] | None = None


class ReadElsewhere(msgspec.Struct, frozen=True, tag="read", rename="camel"):
    """The person read this message on another device."""

    message_id: str


class Gone(msgspec.Struct, frozen=True, tag="gone", rename="camel"):
    """This message has expired or was recalled."""

    message_id: str


class Sent(msgspec.Struct, frozen=True, tag="sent", rename="camel", omit_defaults=True):
    """The device's message is on disk."""

    message_id: str
    client_ref: str | None = None


class Bye(msgspec.Struct, frozen=True, tag="bye", rename="camel"):
    """The server goes away; come again in ``retry_after`` seconds."""

    code: int
    retry_after: int


ToDevice = Welcome | ReadElsewhere | Gone | Sent | Bye


def encode(frame: ToDevice) -> str:
    """Return a frame as it is sent."""
    return _encode(frame).decode()


def letter(message_id: bytes, text: str, body: Body, sent_at_ms: int, expires_at_ms: int) -> str:
    """Return the part of a msg frame that is the same for all who get this text."""
    inside = _Letter(
        uuid_text(message_id),
        text,
        iso_time(sent_at_ms),
        iso_time(expires_at_ms),
        body.channel,
        body.optional_data,
    )
    return _encode(inside)[1:].decode()


def msg(seq: int, inside: str) -> str:
    """Return a msg frame: the recipient's own number, then the `letter`."""
    return f'{{"type":"msg","seq":{seq},{inside}'


def iso_time(at_ms: int) -> str:
    """Return ISO-8601 UTC with milliseconds."""
    moment = _EPOCH + at_ms * _MILLISECOND
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def times(at: object, message_ids: list[str]) -> dict[str, int]:
    """Return message id → ms, for those that ``at`` gives a time with a zone; anything else in it counts for nothing."""
    if not isinstance(at, dict):
        return {}
    known = {}
    for name in message_ids:
        value = at.get(name)
        if isinstance(value, str) and (when_ms := _ms(value)) is not None:
            known[name] = when_ms
    return known


def _ms(value: str) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            return None
        return max(0, (moment - _EPOCH) // _MILLISECOND)
    except (ValueError, OverflowError):
        return None
