"""The last inch to ASGI: a request's body in, an answer out. It knows limits and headers, not what they are about."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from homing.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY_BYTES: Final = 2 * 2**20
MAX_DRAIN_BYTES: Final = 64 * 2**20
"""How much of a body that nobody wants is read, so that the client gets to see the answer."""
MAX_DRAIN_S: Final = 10.0

JSON_HEADER: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")
_JSON_TYPES: Final = frozenset({"application/json", "application/merge-patch+json"})
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
encode: Final = msgspec.json.Encoder().encode


class Disconnected(Exception):
    """The client went away before its request was complete; nobody is there to answer."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A finished answer; ``headers`` beside content-type and content-length."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: bytes = JSON_HEADER[1]


def reply(status: int, value: msgspec.Struct, *headers: tuple[bytes, bytes]) -> Answer:
    """Return the answer that says ``value`` in JSON."""
    return Answer(status, encode(value), headers)


NO_CONTENT: Final = Answer(204)


class Body:
    """A request's body on its way in. Every request is read or drained before it is answered."""

    def __init__(self, receive: Receive, headers: dict[bytes, bytes]) -> None:
        self._receive = receive
        self._headers = headers
        self._is_done = False

    async def read(self) -> bytes:
        """Return all of it; `PayloadTooLarge` over `MAX_BODY_BYTES`, at once if its length is announced."""
        length = self._headers.get(b"content-length")
        if length is not None and (not length.isdigit() or int(length) > MAX_BODY_BYTES):
            raise _too_large()
        message = await self._next()
        body: bytes = message.get("body", b"")
        if self._is_done and len(body) <= MAX_BODY_BYTES:
            return bytes(body)
        parts, size = [body], len(body)
        while not self._is_done:
            part: bytes = (await self._next()).get("body", b"")
            size += len(part)
            if size > MAX_BODY_BYTES:
                break
            parts.append(part)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        return b"".join(parts)

    async def drain(self) -> None:
        """Read on until the end, within limits, keeping nothing; not where the client waits to be told to send."""
        if self._is_done or self._headers.get(b"expect", b"").lower() == b"100-continue":
            return
        size = 0
        try:
            async with asyncio.timeout(MAX_DRAIN_S):
                while size <= MAX_DRAIN_BYTES:
                    message = await self._next()
                    size += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            self._is_done = True

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._is_done = True
            raise Disconnected
        self._is_done = not message.get("more_body", False)
        return message


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"a body may have {MAX_BODY_BYTES} bytes")


@lru_cache(maxsize=256)
def media_type(content_type: bytes | None) -> str:
    """Return the media type without parameters, in lower case; empty without one.

    Raises `UnsupportedMediaType` for any charset but UTF-8: nothing else is read here.
    """
    if content_type is None:
        return ""
    kind, *parameters = content_type.decode("latin-1").lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            raise UnsupportedMediaType("only the charset UTF-8 is read here")
    return kind.strip()


def require_json(headers: dict[bytes, bytes]) -> None:
    """Raise `UnsupportedMediaType` unless the body is announced as JSON (or not announced at all)."""
    kind = media_type(headers.get(b"content-type"))
    if kind and kind not in _JSON_TYPES:
        raise UnsupportedMediaType("the body must be application/json")
    require_plain(headers)


def is_form(headers: dict[bytes, bytes]) -> bool:
    """Say whether the body is announced as a form."""
    return media_type(headers.get(b"content-type")) == _FORM_TYPE


def require_plain(headers: dict[bytes, bytes]) -> None:
    """Raise `UnsupportedMediaType` for a compressed body."""
    if headers.get(b"content-encoding", b"identity").lower() not in {b"identity", b""}:
        raise UnsupportedMediaType("a compressed body is not read here")


def header_text(headers: dict[bytes, bytes], name: bytes, limit: int) -> str | None:
    """Return a header's value; `InvalidRequest` unless it is 1 to ``limit`` printable ASCII characters."""
    value = headers.get(name)
    if value is None:
        return None
    text = value.decode("latin-1")
    if not 1 <= len(text) <= limit or not text.isascii() or not text.isprintable():
        raise InvalidRequest(f"{name.decode()} must have 1 to {limit} printable ASCII characters")
    return text


class Sent(NamedTuple):
    """An answer as it goes onto the wire."""

    status: int
    headers: Headers
    body: bytes

    @classmethod
    def of(cls, answer: Answer) -> "Sent":
        """Add what every answer's headers say."""
        body = answer.body
        if answer.status == 204:
            return cls(204, [*answer.headers], b"")
        headers: Headers = [
            JSON_HEADER if answer.media_type is JSON_HEADER[1] else (b"content-type", answer.media_type),
            (b"content-length", b"%d" % len(body)),
            *answer.headers,
        ]
        return cls(answer.status, headers, body)

    async def write(self, send: Send, *, is_head: bool) -> None:
        """Send it; of an answer to HEAD only the headers."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"" if is_head else self.body})
