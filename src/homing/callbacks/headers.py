"""Which headers, log-ins and certificates an owner may have sent or trusted with callbacks. Pure.

Whatever is taken here goes onto the wire as it is, so nothing passes that could end a line or take a header's meaning.
"""

import re
from collections.abc import Mapping
from typing import Final

from cryptography import x509

from homing.errors import NotAcceptable

MAX_HEADERS: Final = 20
MAX_VALUE_CHARS: Final = 4_096
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
RESERVED: Final = frozenset({
    "host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "keep-alive",
    "te", "trailer", "upgrade", "expect", "cookie", "accept-encoding", "user-agent",
})  # fmt: skip
_RESERVED_FAMILIES: Final = ("proxy-", "webhook-", "homing-")


def check_headers(headers: Mapping[str, str], *, has_auth: bool) -> None:
    """Raise `NotAcceptable` for a header that callbacks may not carry."""
    if len(headers) > MAX_HEADERS:
        raise _refused("headers", f"at most {MAX_HEADERS} headers")
    seen: set[str] = set()
    for name, value in headers.items():
        lower, path = name.lower(), f"headers.{name[:40]}"
        if _TOKEN.fullmatch(name) is None:
            raise _refused("headers", "a header's name is made of letters, digits and -_.!#$%&'*+^`|~")
        if lower in RESERVED or lower.startswith(_RESERVED_FAMILIES):
            raise _refused(path, "this header is set by Homing, or would change what the request means")
        if lower == "authorization" and has_auth:
            raise _refused(path, "auth sets this header already")
        if lower in seen:
            raise _refused(path, "this header stands there twice")
        seen.add(lower)
        check_value(path, value)


def check_value(path: str, value: str) -> None:
    """Raise `NotAcceptable` unless a value may stand in a header."""
    if len(value) > MAX_VALUE_CHARS or _VALUE.fullmatch(value) is None:
        raise _refused(
            path, f"must be 1 to {MAX_VALUE_CHARS} printable ASCII characters, no spaces at the ends"
        )


def check_user(username: str, password: str) -> None:
    """Raise `NotAcceptable` for a name and password that Basic authentication cannot carry (RFC 7617)."""
    if ":" in username:
        raise _refused("auth.basic.username", "must not hold a colon")
    if not (username + password).isprintable():
        raise _refused("auth.basic", "must not hold control characters")


def check_ca(pem: str) -> None:
    """Raise `NotAcceptable` unless this is one or more certificates in PEM."""
    try:
        if not pem.isascii() or not x509.load_pem_x509_certificates(pem.encode("ascii")):
            raise ValueError(pem)
    except ValueError:
        raise _refused("tls.ca", "must be one or more certificates in PEM") from None


def _refused(path: str, text: str) -> NotAcceptable:
    return NotAcceptable(f"$.{path}: {text}", errors=((f"$.{path}", text),))
