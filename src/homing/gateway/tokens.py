"""Device tokens: ``hom_d_`` and 48 characters of base64url (16 bytes of an id, 160 random bits).

The store keeps the SHA-256 of the whole text; the text is told once, at the login, and never logged.
"""

import base64
import secrets
from hashlib import sha256
from typing import Final

import uuid_utils

PREFIX: Final = "hom_d_"
_CHARS: Final = len(PREFIX) + 48


def mint() -> str:
    """Draw a new token."""
    raw = uuid_utils.uuid7().bytes + secrets.token_bytes(20)
    return PREFIX + base64.urlsafe_b64encode(raw).decode("ascii")


def digest(token: str) -> bytes:
    """Return what the store knows a token by."""
    return sha256(token.encode("utf-8", "replace")).digest()


def looks_right(token: str) -> bool:
    """Say whether this can be a device token at all: nothing else needs to be looked up."""
    return len(token) == _CHARS and token.startswith(PREFIX) and token.isascii()
