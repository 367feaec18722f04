"""Callbacks back into notifications: query, form, JSON and multipart. Bad input raises Undecodable and nothing else."""

import re
from hashlib import sha256
from typing import Final
from urllib.parse import unquote_plus, unquote_to_bytes

import msgspec

from homing.contract import multipart
from homing.contract.errors import Undecodable
from homing.contract.forms import FORM_TYPE, JSON_TYPE, MULTIPART_TYPE, Form
from homing.contract.notification import (
    ATTACHMENT_KEYS,
    CONTRACT_KEYS,
    FILE_KEY,
    INCOMING_MESSAGE,
    MESSAGE_STATUS,
    Attachment,
    IncomingNotification,
    Notification,
    Precision,
    StatusNotification,
    parse_utc,
)
from homing.contract.status import Status

_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_json: Final = msgspec.json.Decoder(dict[str, str])


class Decoded(msgspec.Struct, frozen=True):
    """A notification and how it came.

    `form` is None for multipart. `extra` holds what is not this kind's: the pairs of the URL's own query as they
    stand there, still escaped, and unknown keys of a body.
    """

    notification: Notification
    form: Form | None
    precision: Precision
    extra: tuple[tuple[str, str], ...]


def decode(method: str, raw_query: str, content_type: str | None, body: bytes) -> Notification:
    """Return the notification that a request carries; see `read`."""
    return read(method, raw_query, content_type, body).notification


def read(method: str, raw_query: str, content_type: str | None, body: bytes) -> Decoded:
    """Return the notification and what stood beside it.

    `raw_query` is without ``?``; a GET's body is ignored, and so is the query of a POST, but for `extra`. Of a key
    that stands twice the last counts; an empty value counts as none. Raises Undecodable, nothing else.
    """
    form, fields, extra, file = _take_apart(method.upper(), raw_query, content_type or "", body)
    given = {key: value for key, value in fields.items() if value and key in CONTRACT_KEYS}
    unused = [(key, value) for key, value in fields.items() if key not in CONTRACT_KEYS]
    kind = given.pop("type", None)
    notification: Notification
    if kind == MESSAGE_STATUS:
        precision, notification = _status(given)
    elif kind == INCOMING_MESSAGE:
        precision, notification = _incoming(given, file)
    else:
        raise Undecodable(f"type is {kind!r}, neither {MESSAGE_STATUS} nor {INCOMING_MESSAGE}"[:200])
    return Decoded(notification, form, precision, (*extra, *unused, *given.items()))


def split_urlencoded(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the contract's keys in ``a=1&b=2`` with their values, and the other pieces exactly as they stand.

    ``+`` and ``%20`` both are a space. Raises Undecodable when a contract key's value is badly escaped; what others
    put into their own URL is not judged.
    """
    fields: dict[str, str] = {}
    others: list[str] = []
    for piece in text.split("&"):
        escaped_name, _, value = piece.partition("=")
        name = escaped_name if escaped_name in CONTRACT_KEYS else unquote_plus(escaped_name)
        if name in CONTRACT_KEYS:
            fields[name] = _unescaped(name, value)
        elif piece:
            others.append(piece)
    return fields, others


def _unescaped(name: str, value: str) -> str:
    if "%" not in value and value.isascii():
        return value.replace("+", " ")
    if _BAD_ESCAPE.search(value):
        raise Undecodable(f"{name}: a percent sign without two hex digits")
    try:
        return unquote_to_bytes(value.replace("+", " ")).decode()
    except UnicodeError as fault:
        raise Undecodable(f"{name}: not UTF-8") from fault


def _halves(pieces: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (piece.partition("=") for piece in pieces)]


def _take_apart(
    method: str, raw_query: str, content_type: str, body: bytes
) -> tuple[Form | None, dict[str, str], list[tuple[str, str]], bytes | None]:
    """Return (form, key → value, the URL's own pairs, the file)."""
    if method == "GET":
        fields, others = split_urlencoded(raw_query)
        return Form.GET, fields, _halves(others), None
    if method != "POST":
        raise Undecodable(f"method {method[:20]!r} is neither GET nor POST")
    extra = _halves([piece for piece in raw_query.split("&") if piece])
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == JSON_TYPE:
        try:
            return Form.JSON, _json.decode(body), extra, None
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise Undecodable(f"body: {fault}"[:200]) from fault
    if media_type == FORM_TYPE:
        fields, others = split_urlencoded(_text("body", body))
        return Form.FORM, fields, extra + _halves(others), None
    if media_type == MULTIPART_TYPE:
        parts = multipart.parse(body, multipart.boundary_in(content_type))
        texts = {part.name: _text(part.name, part.content) for part in parts if not part.is_file}
        files = [part.content for part in parts if part.is_file and part.name == FILE_KEY]
        return None, texts, extra, files[-1] if files else None
    raise Undecodable(f"Content-Type {content_type[:80]!r} is none of the contract's")


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as fault:
        raise Undecodable(f"{name[:80]}: not UTF-8") from fault


def _take(given: dict[str, str], key: str) -> str:
    try:
        return given.pop(key)
    except KeyError:
        raise Undecodable(f"{key} is missing") from None


def _status(given: dict[str, str]) -> tuple[Precision, StatusNotification]:
    timestamp_ms, precision = parse_utc(_take(given, "timestamp"))
    word = _take(given, "status")
    try:
        status = Status(word)
    except ValueError as fault:
        raise Undecodable(f"status {word[:40]!r} is none of the 18") from fault
    return precision, StatusNotification(
        timestamp_ms=timestamp_ms,
        application_id=_take(given, "applicationId"),
        message_id=_take(given, "messageId"),
        recipient=_take(given, "recipient"),
        status=status,
        message_ref=given.pop("messageRef", None),
        recipient_ref=given.pop("recipientRef", None),
        fallback_ref=given.pop("fallbackRef", None),
    )


def _incoming(given: dict[str, str], file: bytes | None) -> tuple[Precision, IncomingNotification]:
    timestamp_ms, precision = parse_utc(_take(given, "timestamp"))
    return precision, IncomingNotification(
        sender=_take(given, "sender"),
        text=given.pop("text", ""),
        application_id=_take(given, "applicationId"),
        timestamp_ms=timestamp_ms,
        message_id=_take(given, "messageId"),
        channel=given.pop("channel", None),
        in_reply_to_message_id=given.pop("inReplyToMessageId", None),
        attachment=None if file is None else _attachment(given, file),
    )


def _attachment(given: dict[str, str], content: bytes) -> Attachment:
    name, media_type, size, digest = (_take(given, key) for key in ATTACHMENT_KEYS)
    if size != str(len(content)):
        raise Undecodable(f"attachmentSize is {size[:20]!r}, the file has {len(content)} bytes")
    if digest != sha256(content).hexdigest():
        raise Undecodable("attachmentSha256 is not the file's")
    return Attachment(name, media_type, len(content), digest, content)
