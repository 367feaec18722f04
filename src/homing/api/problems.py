"""Errors as RFC 9457 ``application/problem+json``: one table from a class of `errors` to what the wire says.

An answer never shows a traceback, a value of the request, or which application something belongs to.
"""

from typing import Final, Literal

import msgspec

from homing.errors import (
    Conflict,
    Forbidden,
    HomingError,
    IdempotencyConflict,
    InvalidRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    RequestError,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    UrlNotAllowed,
)

PROBLEM_TYPE: Final = b"application/problem+json"
Headers = list[tuple[bytes, bytes]]

TITLES: Final[dict[type[HomingError], str]] = {
    InvalidRequest: "The request could not be understood",
    NotAcceptable: "A value is not allowed",
    UrlNotAllowed: "The URL is refused",
    Unauthorized: "A valid token is needed",
    Forbidden: "The token does not allow this",
    NotFound: "Not found",
    MethodNotAllowed: "Method not allowed",
    Conflict: "It does not fit the present state",
    IdempotencyConflict: "The Idempotency-Key was used for another request",
    PayloadTooLarge: "The body is too large",
    UnsupportedMediaType: "Unsupported media type",
    RateLimited: "Too many requests",
    Unavailable: "Not available just now",
}
"""What every answer of one class is called; the documentation is made from it too."""
_INTERNAL: Final = "Something of ours broke"

Code = Literal[
    "invalid_request", "unauthorized", "forbidden", "not_found", "method_not_allowed", "conflict",
    "idempotency_conflict", "payload_too_large", "unsupported_media_type", "rate_limited", "url_refused",
    "unavailable", "internal",
]  # fmt: skip
OAuthError = Literal["invalid_request", "invalid_client", "unsupported_grant_type"]


class Fault(msgspec.Struct, frozen=True):
    """One of several things wrong with a request; ``path`` is a JSON path, ``$`` being the body."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong. ``code`` is stable and leads to its page; the texts are for people and may change."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    errors: tuple[Fault, ...] = ()
    error: OAuthError | None = None
    """Only from the OAuth2 endpoint: the same in the words of RFC 6749 §5.2."""


_encode: Final = msgspec.json.Encoder().encode


def problem_of(error: Exception, *, oauth: OAuthError | None = None) -> tuple[int, Headers, bytes]:
    """Return status, headers and body for an error; whatever is no `HomingError` is ours and says nothing."""
    known = error if isinstance(error, HomingError) else HomingError(_INTERNAL)
    faults: tuple[Fault, ...] = ()
    if isinstance(known, RequestError):
        faults = tuple(Fault(path, message) for path, message in known.errors)
    problem = Problem(
        type=f"/docs#{known.code}",
        title=_title(type(known)),
        status=known.http_status,
        detail=known.detail,
        code=known.code,  # type: ignore[arg-type] # a test holds the tree's codes and `Code` equal
        errors=faults,
        error=oauth,
    )
    body = _encode(problem)
    headers: Headers = [
        (b"content-type", PROBLEM_TYPE),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if isinstance(known, MethodNotAllowed):
        headers.append((b"allow", known.allow.encode()))
    elif isinstance(known, Unauthorized):
        headers.append((b"www-authenticate", b'Bearer realm="homing"'))
    elif isinstance(known, Forbidden):
        headers.append((b"www-authenticate", b'Bearer realm="homing", error="insufficient_scope"'))
    elif isinstance(known, RateLimited | Unavailable):
        headers.append((b"retry-after", str(known.retry_after_s).encode()))
    return known.http_status, headers, body


def _title(kind: type[HomingError]) -> str:
    """The title of the nearest class that has one."""
    return next((TITLES[cls] for cls in kind.__mro__ if cls in TITLES), _INTERNAL)
