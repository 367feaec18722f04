"""Notifications to bytes in the three forms, byte-exact (CONTRACT.md §1), and what may stand in a configured URL's query.

Percent-encoding is our own because it must be this contract's to the byte, and because it is on the hot path.
"""

import re
from enum import StrEnum
from hashlib import sha256
from typing import Final, assert_never
from urllib.parse import unquote_plus

import msgspec

from homing.contract import multipart
from homing.contract.errors import Unencodable
from homing.contract.notification import (
    CONTRACT_KEYS,
    FILE_KEY,
    Attachment,
    IncomingNotification,
    Notification,
    Pairs,
    Precision,
    attachment_keys,
    keys,
)

__all__ = [
    "CONTRACT_KEYS",
    "Encoded",
    "Form",
    "append_query",
    "boundary_of",
    "encode",
    "encode_form",
    "encode_json",
    "encode_multipart",
    "encode_query",
    "holds_contract_key",
]

FORM_TYPE: Final = "application/x-www-form-urlencoded"
JSON_TYPE: Final = "application/json"
MULTIPART_TYPE: Final = "multipart/form-data"


class Form(StrEnum):
    """How an endpoint wants its callbacks."""

    GET = "get"
    FORM = "form"
    JSON = "json"


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """One callback, ready to be signed and sent.

    `query` is the whole raw query to send and is None unless the method is GET; then `content_type` and `body` are
    None. `payload` is what a signature covers: the exact body, or the exact raw query.
    """

    method: str
    query: str | None
    content_type: str | None
    body: bytes | None
    payload: bytes


_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_all_unreserved: Final = re.compile(r"[A-Za-z0-9\-._~]*", re.ASCII).fullmatch
_IN_QUERY: Final = [chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256)]
_IN_FORM: Final = [*_IN_QUERY[:0x20], "+", *_IN_QUERY[0x21:]]

_json: Final = msgspec.json.Encoder()


def _urlencoded(pairs: Pairs, table: list[str]) -> str:
    try:
        return "&".join(
            [
                f"{key}={value}"
                if _all_unreserved(value)
                else f"{key}={''.join([table[byte] for byte in value.encode()])}"
                for key, value in pairs
            ]
        )
    except UnicodeEncodeError as fault:
        raise _no_text(pairs) from fault


def _no_text(pairs: Pairs) -> Unencodable:
    key = next(key for key, value in pairs if any("\ud800" <= letter <= "\udfff" for letter in value))
    return Unencodable(f"{key}: a lone surrogate is no text and has no UTF-8")


def encode_query(pairs: Pairs) -> str:
    """Return the pairs as a query, a space as ``%20``; keys are the contract's and need no encoding."""
    return _urlencoded(pairs, _IN_QUERY)


def encode_form(pairs: Pairs) -> bytes:
    """Return the pairs as an ``application/x-www-form-urlencoded`` body, a space as ``+``."""
    return _urlencoded(pairs, _IN_FORM).encode("ascii")


def encode_json(pairs: Pairs) -> bytes:
    """Return the pairs as one flat compact JSON object: non-ASCII raw, ``/`` unescaped, all values strings."""
    try:
        return _json.encode(dict(pairs))
    except UnicodeEncodeError as fault:
        raise _no_text(pairs) from fault


def encode_multipart(pairs: Pairs, attachment: Attachment, boundary: str) -> tuple[str, bytes]:
    """Return (Content-Type, body): the pairs and the file's facts as parts, then the file; see `multipart.build`."""
    fields = pairs + attachment_keys(attachment)
    name, media_type, content = attachment.name, attachment.media_type, attachment.content
    body = multipart.build(fields, FILE_KEY, name, media_type, content, boundary)
    return f"{MULTIPART_TYPE}; boundary={boundary}", body


def boundary_of(pairs: Pairs, attachment: Attachment) -> str:
    """Return a boundary made from the content: the same at every try, and not for a sender to foresee or to place."""
    return "homing-" + sha256(encode_json(pairs) + attachment.sha256.encode()).hexdigest()[:40]


def encode(
    notification: Notification,
    form: Form,
    precision: Precision = "s",
    *,
    url_query: str = "",
    boundary: str | None = None,
) -> Encoded:
    """Return the notification in an endpoint's form, the same bytes for the same arguments.

    `url_query` is the query the configured URL already has: with GET it stands first in `query` and `payload`, with
    the others it is not looked at (it stays in the URL, unsigned). An attachment makes any form a multipart POST;
    its `boundary` is made from the content unless given. Raises Unencodable, nothing else.
    """
    pairs = keys(notification, precision)
    if isinstance(notification, IncomingNotification) and notification.attachment is not None:
        attachment = notification.attachment
        content_type, body = encode_multipart(pairs, attachment, boundary or boundary_of(pairs, attachment))
        return Encoded("POST", None, content_type, body, body)
    match form:
        case Form.JSON:
            body = encode_json(pairs)
            return Encoded("POST", None, JSON_TYPE, body, body)
        case Form.FORM:
            body = encode_form(pairs)
            return Encoded("POST", None, FORM_TYPE, body, body)
        case Form.GET:
            query = append_query(url_query, encode_query(pairs))
            return Encoded("GET", query, None, None, _utf8(query))
        case _:
            assert_never(form)


def _utf8(query: str) -> bytes:
    try:
        return query.encode()
    except UnicodeEncodeError as fault:
        raise Unencodable("the URL's own query holds a lone surrogate") from fault


def append_query(existing: str, new: str) -> str:
    """Return `existing` (a URL's own query without ``?``, kept byte for byte) followed by `new`."""
    if not existing or existing.endswith("&"):
        return existing + new
    return f"{existing}&{new}"


def holds_contract_key(query: str) -> str | None:
    """Return the first of the contract's keys that a query holds, however it is escaped; None when it holds none."""
    for piece in query.split("&"):
        name = unquote_plus(piece.partition("=")[0])
        if name in CONTRACT_KEYS:
            return name
    return None
