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
OPERATION_POSITION = 0xFFFE
"""The position that marks the key of what is told about endpoints themselves (kind ``operations``)."""


def dispatch_key(message_id: bytes, position: int) -> DispatchKey:
    """Return the key of the recipient at ``position`` (0–999, or `INCOMING_POSITION`) of a message."""
    return DispatchKey(message_id + position.to_bytes(2, "big"))


def message_of(key: bytes) -> MessageId:
    """Return the id of the message a dispatch key belongs to."""
    return MessageId(key[:16])


def first_id(at_ms: int) -> bytes:
    """Return the least UUIDv7 of an instant: its first 48 bits are the ms (RFC 9562 §5.7)."""
    return min(max(at_ms, 0), 2**48 - 1).to_bytes(6, "big") + bytes(10)


def is_incoming(key: bytes) -> bool:
    """Say whether a key names an incoming message rather than a dispatch."""
    return key[16:18] == b"\xff\xff"


def is_operation(key: bytes) -> bool:
    """Say whether a key names a fact about an endpoint rather than a dispatch."""
    return key[16:18] == b"\xff\xfe"


def replay_lane(key: bytes) -> DispatchKey:
    """Return the key of the lane in which a dispatch's events are told again, beside its own (ADR 0006)."""
    return DispatchKey(key[:18] + b"\x01\x00")


def single_lane(key: bytes, n: int) -> DispatchKey:
    """Return the key of the lane of one event alone, at an endpoint that wants no order (ADR 0006)."""
    return DispatchKey(key[:18] + bytes((0, n)))


def is_replay(lane: bytes) -> bool:
    """Say whether a lane tells events again."""
    return len(lane) > 18 and lane[18] == 1


def dispatch_of(lane: bytes) -> DispatchKey:
    """Return the key of the dispatch that a lane is about: its first 18 bytes."""
    return DispatchKey(lane[:18])


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
    """What an endpoint takes: callbacks about outgoing messages, incoming messages, or facts about endpoints.

    NOTIFY is nobody's to create: one row for each application and origin that messages name in ``notifyCallback``.
    """

    STATUS = "status"
    INBOX = "inbox"
    OPERATIONS = "operations"
    NOTIFY = "notify"


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
    callback_secret: bytes | None = None
    """Signs callbacks to a message's own ``notifyCallback``; sealed for the context ``app-callback:{id}``."""
    previous_secret: bytes | None = None
    previous_until_ms: int | None = None


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


class EndpointOptions(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How callbacks travel to one endpoint, beside URL and form; None: as the operator set it for all."""

    ordered: bool = True
    max_in_flight: int | None = None
    rate_per_second: float | None = None
    retry_delays_seconds: tuple[float, ...] | None = None
    timeout_seconds: float | None = None
    ca: str | None = None
    """Certificate authorities in PEM, trusted for this endpoint instead of the system's."""
    dangerous_skip_verify: bool = False


class EndpointCredentials(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What is sent along with each callback to one endpoint and may be secret; sealed where it is stored."""

    headers: dict[str, str] = {}
    username: str | None = None
    password: str | None = None
    bearer: str | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """Where callbacks of an application go. ``statuses`` is a bitset of status numbers.

    ``state`` is active, resting or disabled; ``paused`` is the owner's word and goes before the first two when shown.
    Sealed: ``secret`` and ``previous_secret`` for ``endpoint:{uid}``, ``credentials`` (JSON of `EndpointCredentials`)
    for ``endpoint-credentials:{uid}``.
    """

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
    options: EndpointOptions = EndpointOptions()
    credentials: bytes | None = None
    paused: bool = False
    previous_secret: bytes | None = None
    previous_until_ms: int | None = None
    failing_since_ms: int | None = None
    """When the first of the failures came that made it rest; None while it does not."""
    disabled_at_ms: int | None = None
    """Since when it last heard of nothing, also after it was enabled again: where a replay of what it missed begins."""


class ReplaySpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which callbacks a replay tells again; None means: any.

    ``which`` is "dead" (what was given up), "all" (also what was told, and what was never owed), or "missed" (what the
    endpoint was not told: never owed since ``since_ms``, or given up then or in the days before). ``statuses`` is a bitset. ``since_ms`` and ``until_ms`` bound when the event happened (dead: when it was given up). With ``message`` the
    replay is that message's own (``n`` only that event's, ``position`` only that recipient's).
    """

    which: str
    until_ms: int
    since_ms: int | None = None
    endpoint: int | None = None
    statuses: int | None = None
    message: bytes | None = None
    position: int | None = None
    n: int | None = None


class Job(msgspec.Struct, frozen=True):
    """A durable piece of bulk work. ``kind`` is "replay"; ``state`` is running, paused, done or cancelled.

    Counts are callbacks: ``total`` wanted (None until they were counted), ``opened`` so far handed to the couriers,
    of those ``done`` answered and ``failed`` given up. ``is_walked``: nothing more will be opened.
    """

    id: int
    uid: str
    app: int
    kind: str
    state: str
    spec: ReplaySpec
    rate: float | None
    """At most so many callbacks per second; None: as fast as the endpoint takes them."""
    total: int | None
    opened: int
    done: int
    failed: int
    is_walked: bool
    created_at_ms: int
    ended_at_ms: int | None


class Listener(msgspec.Struct, frozen=True):
    """Who follows the feed under a name, and how far. ``reach`` are the applications of the tokens that share the name.

    ``apps`` are those it wants of them; None means all, in both. ``position`` is its cursor; ``secret`` (sealed for
    `listener_context`) signs what it forwards. Whoever shows ``lease`` holds it, until ``held_until_ms`` at the least.
    """

    reach: tuple[int, ...] | None
    name: str
    apps: tuple[int, ...] | None
    secret: bytes
    position: int
    holder: str
    lease: str
    held_until_ms: int
    """Real time, as ``seen_at_ms`` and ``created_at_ms`` are: a clock that was pushed says nothing about who is alive."""
    seen_at_ms: int
    created_at_ms: int


def listener_context(reach: tuple[int, ...] | None, name: str) -> str:
    """Return what a listener's secret is sealed for."""
    return f"listener:{'all' if reach is None else ','.join(map(str, reach))}:{name}"


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
