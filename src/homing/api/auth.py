"""Who is asking: tokens, what they may do, and the OAuth2 clients that get tokens. It decides nothing about objects.

A token's text is ``hom_`` + kind + ``_`` + 48 characters of base64url: the 16 bytes of its id and 160 random bits.
The store keeps the SHA-256 of the whole text; texts are told once and never logged.
"""

import asyncio
import base64
import hmac
import secrets
from hashlib import sha256
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote_plus

import uuid_utils

from homing.clock import Clock
from homing.errors import Forbidden, Unauthorized
from homing.model import Token, uuid_text
from homing.store.changes import Change, DeleteToken
from homing.store.port import Registry

TTL_S: Final = 1.0
"""How long a token is believed without asking the store again (another node may have revoked it)."""
ADMIN_ID: Final = "admin"
ALL_SCOPES: Final = frozenset({"send", "read", "manage"})
_CACHED: Final = 10_000
_PREFIX_CHARS: Final = 6
_BODY_CHARS: Final = 48
_LETTERS: Final = {"token": "t", "client": "s", "access": "a"}

Kind = Literal["token", "client", "access"]


class Principal(NamedTuple):
    """Who is asking. ``apps`` None means all."""

    id: str
    scopes: frozenset[str]
    apps: frozenset[int] | None
    expires_at_ms: int | None = None

    def may_touch(self, app: int) -> bool:
        """Say whether an application is within its reach; whether it exists is another question."""
        return self.apps is None or app in self.apps

    def require(self, any_of: tuple[str, ...]) -> None:
        """Raise `Forbidden` unless it has one of these scopes."""
        if any_of and self.scopes.isdisjoint(any_of):
            raise Forbidden(f"this needs a token with the scope {' or '.join(any_of)}")


class Minted(NamedTuple):
    """A new token: its id, the text to tell once, and the digest to keep."""

    id: str
    text: str
    digest: bytes


def mint(kind: Kind) -> Minted:
    """Draw a new token."""
    raw = uuid_utils.uuid7().bytes
    body = base64.urlsafe_b64encode(raw + secrets.token_bytes(20)).decode("ascii")
    text = f"hom_{_LETTERS[kind]}_{body}"
    return Minted(uuid_text(raw), text, sha256(text.encode()).digest())


def id_in(text: str) -> str | None:
    """Return the id that a token's text names, None if it is no such text."""
    if len(text) != _PREFIX_CHARS + _BODY_CHARS or not text.startswith("hom_"):
        return None
    try:
        raw = base64.b64decode(text[_PREFIX_CHARS:], altchars=b"-_", validate=True)
    except ValueError:
        return None
    return uuid_text(raw)


def parameter_in(query: bytes) -> str | None:
    """Return the ``access_token`` parameter of a query; the header goes before it."""
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"access_token":
            return unquote_plus(value.decode("latin-1"))
    return None


class Gatekeeper:
    """Turns a token's text into a `Principal`: from memory where it was asked for within the last second."""

    def __init__(self, registry: Registry, clock: Clock, admin_digest: bytes) -> None:
        self._registry = registry
        self._clock = clock
        self._admin_digest = admin_digest
        self._admin = Principal(ADMIN_ID, ALL_SCOPES, None)
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._generation = 0
        registry.watch(self._changed)

    def remembered(self, authorization: bytes | None) -> Principal | None:
        """Return who shows this ``Authorization`` header, if that is known just now; never waits."""
        if authorization is None or authorization[:7].lower() != b"bearer ":
            return None
        known = self._known.get(sha256(authorization[7:].strip()).digest())
        if known is None or known[1] < asyncio.get_running_loop().time():
            return None
        return self._unless_expired(known[0])

    async def admit(self, authorization: bytes | None, parameter: str | None) -> Principal:
        """Return who shows this header or, without one, this ``access_token`` parameter; else `Unauthorized`."""
        if (principal := self.remembered(authorization)) is not None:
            return principal
        if authorization is not None:
            scheme, _, shown = authorization.partition(b" ")
            if scheme.lower() != b"bearer":
                raise Unauthorized("the header must be: Authorization: Bearer TOKEN")
            text = shown.strip().decode("latin-1")
        elif parameter is not None:
            text = parameter
        else:
            raise Unauthorized("send a token: Authorization: Bearer TOKEN")
        principal = await self._look_up(text)
        if principal is None:
            raise Unauthorized("this token is unknown, expired or revoked")
        return principal

    async def client(self, client_id: str, client_secret: str) -> Token:
        """Return the OAuth2 client with these credentials; `Unauthorized` if there is none."""
        token = await self._registry.token(client_id)
        digest = sha256(client_secret.encode("utf-8", "replace")).digest()
        if token is None or token.kind != "client" or not hmac.compare_digest(token.digest, digest):
            raise Unauthorized("the client is unknown, or its secret is wrong")
        if token.expires_at_ms is not None and token.expires_at_ms <= self._clock.now_ms():
            raise Unauthorized("the client has expired")
        return token

    async def _look_up(self, text: str) -> Principal | None:
        digest = sha256(text.encode("utf-8", "replace")).digest()
        if hmac.compare_digest(digest, self._admin_digest):
            return self._remember(digest, self._admin, self._generation)
        generation, token_id = self._generation, id_in(text)
        token = None if token_id is None else await self._registry.token(token_id)
        if token is None or token.kind == "client" or not hmac.compare_digest(token.digest, digest):
            return None
        if token.kind == "access" and await self._registry.token(token.name) is None:
            return None  # its client was revoked; a token from OAuth2 is named after its client
        apps = None if token.apps is None else frozenset(token.apps)
        principal = Principal(token.id, frozenset(token.scopes), apps, token.expires_at_ms)
        return self._unless_expired(self._remember(digest, principal, generation))

    def _remember(self, digest: bytes, principal: Principal, generation: int) -> Principal:
        if generation == self._generation:  # else a token changed while this one was looked up
            if len(self._known) >= _CACHED:
                self._known.clear()
            self._known[digest] = (principal, asyncio.get_running_loop().time() + TTL_S)
        return principal

    def _unless_expired(self, principal: Principal) -> Principal | None:
        expires_at_ms = principal.expires_at_ms
        if expires_at_ms is not None and expires_at_ms <= self._clock.now_ms():
            return None
        return principal

    def _changed(self, change: Change, _value: object) -> None:
        """Forget what was believed about tokens when one is revoked here."""
        if isinstance(change, DeleteToken):
            self._generation += 1
            self._known.clear()
