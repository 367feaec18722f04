"""The nouns: what an application, a user, a device, an endpoint, a message and their ids are. Data only, no behaviour.

Times are milliseconds since the Unix epoch (``_ms``); ids inside are small and fixed-width, outside they are UUIDs.
"""

import uuid
from enum import IntEnum, StrEnum
from typing import NewType

import msgspec

AppId = NewType("AppId", int)
RecipientId = NewType("RecipientId", int)
"""A user within the store; never reused, so that a deleted and re-created user is somebody else."""
EndpointId = NewType("EndpointId", int)
MessageId = NewType("MessageId", bytes)
"""The 16 bytes of a UUIDv7."""
DispatchKey = NewType("DispatchKey", bytes)
"""18 bytes: the message's id, then the recipient's position in it (big-endian); sorts by time of acceptance."""

INCOMING_POSITION = 0xFFFF
"""The position that marks the key of an incoming message, which has no recipients."""


def dispatch_key(message_id: bytes, position: int) -> DispatchKey:
    """Return the key of the recipient at ``position`` (0–999, or `INCOMING_POSITION`) of a message."""
    return DispatchKey(message_id + position.to_bytes(2, "big"))


def message_of(key: bytes) -> MessageId:
    """Return the id of the message a dispatch key belongs to."""
    return MessageId(key[:16])


def is_incoming(key: bytes) -> bool:
    """Say whether a key names an incoming message rather than a dispatch."""
    return key[16:] == b"\xff\xff"


def uuid_text(raw: bytes) -> str:
    """Return 16 bytes as the usual text form of a UUID."""
    digits = raw[:16].hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid_bytes(text: str) -> bytes | None:
    """Return the 16 bytes of a UUID's canonical text form in any case, or None if it is not one."""
    if len(text) != 36:
        return None
    try:
        raw = uuid.UUID(text)
    except ValueError:
        return None
    return raw.bytes if str(raw) == text.lower() else None


class AppMode(StrEnum):
    """How far an application's messages may travel."""

    TEST = "test"
    GUESTS = "guests"
    LIVE = "live"


class EndpointKind(StrEnum):
    """What an endpoint takes: callbacks about outgoing messages, or incoming messages."""

    STATUS = "status"
    INBOX = "inbox"


class EndpointState(StrEnum):
    """Whether callbacks flow to an endpoint."""

    ACTIVE = "active"
    RESTING = "resting"
    PAUSED = "paused"
    DISABLED = "disabled"


class FallbackSettings(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """When and how a message falls back to SMS; None means: not said here."""

    mode: str | None = None
    on_undelivered_seconds: int | None = None
    on_unread_seconds: int | None = None
    text: str | None = None
    sender: str | None = None
    default_region: str | None = None


class App(msgspec.Struct, frozen=True):
    """An application: whose users, messages and endpoints are its own."""

    id: int
    name: str
    mode: str
    ttl_s: int | None
    fallback: FallbackSettings
    app_key: str
    created_at_ms: int


class User(msgspec.Struct, frozen=True):
    """A person's account within an application; ``identifier`` as registered."""

    id: int
    app: int
    identifier: str
    mobile_number: str | None
    attributes: dict[str, object] | None
    created_at_ms: int


class Credentials(msgspec.Struct, frozen=True):
    """What a login is checked against."""

    app: int
    recipient: int
    identifier: str
    password_hash: str


class Endpoint(msgspec.Struct, frozen=True):
    """Where callbacks of an application go. ``secret`` is sealed; ``statuses`` is a bitset of status numbers."""

    id: int
    uid: str
    app: int
    kind: str
    url: str
    form: str
    statuses: int | None
    precision: str
    description: str | None
    state: str
    state_reason: str | None
    secret: bytes
    created_at_ms: int
    last_success_at_ms: int | None


class Token(msgspec.Struct, frozen=True):
    """A back end's credential; ``digest`` is the SHA-256 of the secret part, ``apps`` None means all."""

    id: str
    name: str
    kind: str
    digest: bytes
    scopes: tuple[str, ...]
    apps: tuple[int, ...] | None
    created_at_ms: int
    expires_at_ms: int | None


class Device(msgspec.Struct, frozen=True):
    """One phone, tablet or browser of a user; ``token_digest`` is the SHA-256 of its long-lived token."""

    id: str
    recipient: int
    app: int
    identifier: str
    name: str | None
    platform: str
    token_digest: bytes
    push_platform: str | None
    push_token: str | None
    push_environment: str | None
    cursor: int
    created_at_ms: int
    last_seen_at_ms: int


class Body(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a message says to its recipients, as given by the sender."""

    text: str
    notification_text: str | None = None
    channel: str | None = None
    optional_data: dict[str, object] | None = None
    devices_data: dict[str, object] | None = None
    sms_text: str | None = None
    sms_sender: str | None = None


class CommandKind(IntEnum):
    """What a courier to people has to do."""

    PUSH = 1
    SMS = 2
