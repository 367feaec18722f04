"""The last inch of the gateway's HTTP: a small JSON body in, an answer or a problem out.

The doors share no code, so this says again, for devices, what `homing.api` says for back ends; `errors` is the one tree.
"""

import asyncio
from typing import Final, TypeVar

import msgspec

from homing.errors import (
    HomingError,
    InvalidRequest,
    MethodNotAllowed,
    NotAcceptable,
    PayloadTooLarge,
    RateLimited,
    RequestError,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from homing.gateway.ports import Receive, Scope, Send
from homing.texts import FAULT, SAYS_NUL, nul_places

MAX_BODY_BYTES: Final = 64 * 1024
_MAX_DRAIN_BYTES: Final = 4 * 2**20
_BODY_S: Final = 10.0
"""How long a device may take to send its few bytes."""
_TITLES: Final = {
    400: "The request could not be understood",
    401: "A valid token is needed",
    404: "Not found",
    405: "Method not allowed",
    409: "It does not fit the present state",
    413: "The body is too large",
    415: "Unsupported media type",
    422: "A value is not allowed",
    429: "Too many requests",
    503: "Not available just now",
}
_INTERNAL: Final = "Something of ours broke"
_encode: Final = msgspec.json.Encoder().encode
Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")


class Disconnected(Exception):
    """The client went away before its request was complete."""


class _Fault(msgspec.Struct, frozen=True):
    path: str
    message: str


class _Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[_Fault, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """A finished answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


NO_CONTENT: Final = Answer(204)


def reply(status: int, value: object) -> Answer:
    """Return the answer that says ``value`` in JSON."""
    return Answer(status, _encode(value), ((b"content-type", b"application/json"),))


def problem(error: Exception) -> Answer:
    """Return the RFC 9457 answer for an error; whatever is no `HomingError` is ours and says nothing."""
    known = error if isinstance(error, HomingError) else HomingError(_INTERNAL)
    faults = known.errors if isinstance(known, RequestError) else ()
    body = _Problem(
        type=f"/docs#{known.code}",
        title=_TITLES.get(known.http_status, _INTERNAL),
        status=known.http_status,
        detail=known.detail,
        code=known.code,
        errors=tuple(_Fault(path, message) for path, message in faults),
    )
    headers: Headers = [(b"content-type", b"application/problem+json")]
    match known:
        case MethodNotAllowed():
            headers.append((b"allow", known.allow.encode()))
        case Unauthorized():
            headers.append((b"www-authenticate", b'Bearer realm="homing"'))
        case RateLimited() | Unavailable():
            headers.append((b"retry-after", str(known.retry_after_s).encode()))
        case _:
            pass
    return Answer(known.http_status, _encode(body), tuple(headers))


async def write(send: Send, answer: Answer) -> None:
    """Send one answer; nothing a device gets is for a cache."""
    headers = [*answer.headers, (b"cache-control", b"no-store")]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def refuse_upgrade(send: Send, answer: Answer) -> None:
    """Answer a WebSocket's opening request with plain HTTP."""
    await send(
        {"type": "websocket.http.response.start", "status": answer.status, "headers": list(answer.headers)}
    )
    await send({"type": "websocket.http.response.body", "body": answer.body})


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of this (lower-case) name."""
    return next((value for key, value in scope["headers"] if key == name), None)


def bearer(scope: Scope) -> str | None:
    """Return the token of the ``Authorization`` header, if there is one."""
    scheme, _, token = (header(scope, b"authorization") or b"").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


async def read_body(receive: Receive) -> bytes:
    """Return the whole body; `PayloadTooLarge` over `MAX_BODY_BYTES`, once the client had its say."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise Disconnected
                size += len(event.get("body", b""))
                if size <= MAX_BODY_BYTES:
                    parts.append(event.get("body", b""))
                if not event.get("more_body", False) or size > _MAX_DRAIN_BYTES:
                    break
    except TimeoutError:
        raise InvalidRequest("the body did not come in time") from None
    if size > MAX_BODY_BYTES:
        raise PayloadTooLarge(f"a body may have {MAX_BODY_BYTES} bytes")
    return b"".join(parts)


def decode(scope: Scope, body: bytes, shape: type[T]) -> T:
    """Return the body as this shape; `InvalidRequest`, or `NotAcceptable` for U+0000, with the JSON path of what is wrong."""
    media_type = (header(scope, b"content-type") or b"application/json").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise UnsupportedMediaType("the body must be application/json")
    try:
        value = msgspec.json.decode(body, type=shape)
    except RecursionError:
        raise InvalidRequest("the body is nested too deep") from None
    except msgspec.ValidationError as error:
        message, _, path = str(error).rpartition(" - at `")
        fault = (path.rstrip("`"), message) if message else ("$", path)
        raise InvalidRequest("the body has not the right shape", errors=(fault,)) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from None
    if SAYS_NUL in body and (faults := tuple((at, FAULT) for at in nul_places(msgspec.to_builtins(value)))):
        raise NotAcceptable(f"{faults[0][0]}: {FAULT}", errors=faults)
    return value
