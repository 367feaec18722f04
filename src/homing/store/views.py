"""What the store answers when it is asked: read models, data only."""

import msgspec

from homing.lifecycle.dispatch import State
from homing.model import Body, Device
from homing.store.batch import Attempt, Facts, IncomingFacts


class EventView(msgspec.Struct, frozen=True):
    """One event of a dispatch."""

    n: int
    status: int
    at_ms: int


class HistoryView(msgspec.Struct, frozen=True):
    """One line of a dispatch's history: what was ignored, refused or noteworthy, and why (``detail`` is JSON)."""

    at_ms: int
    code: str
    detail: str | None


class DispatchView(msgspec.Struct, frozen=True):
    """One message to one recipient, with its whole story."""

    key: bytes
    recipient: int | None
    facts: Facts
    text: str | None
    state: State
    events: tuple[EventView, ...]
    history: tuple[HistoryView, ...] = ()


class MessageView(msgspec.Struct, frozen=True):
    """A message and its dispatches, in the sender's order."""

    id: bytes
    app: int
    ref: str | None
    body: Body
    created_at_ms: int
    expires_at_ms: int
    dispatches: tuple[DispatchView, ...]


class CallbackView(msgspec.Struct, frozen=True):
    """What one endpoint was told, and must still be told, about one dispatch.

    The sets are bitsets of event numbers (bit 0 = event 1); ``owned`` says a node is at it now.
    """

    key: bytes
    identifier: str
    endpoint_uid: str
    pending: int
    settled: int
    dead: int
    tries: int
    due_ms: int | None
    owned: bool


class AttemptView(msgspec.Struct, frozen=True):
    """One line of an endpoint's attempt log."""

    id: int
    key: bytes
    n: int
    status: int | None
    tries: int
    attempt: Attempt


class AttemptDetail(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What is kept of a failed try beside the line of the log: the request as it went out, without secrets.

    ``phases`` are milliseconds from the start to the end of name look-up, connection, TLS and first byte.
    """

    line: str
    headers: dict[str, str]
    phases: tuple[int, int, int, int]
    note: str | None = None
    """What the failure most likely means, in words (``callbacks.diagnosis``)."""


class FeedItem(msgspec.Struct, frozen=True):
    """One event, or one incoming message (``facts`` tell which), in the order of commits."""

    position: int
    key: bytes
    app: int
    n: int
    status: int
    at_ms: int
    facts: Facts | IncomingFacts


class FeedPage(msgspec.Struct, frozen=True):
    """What lies behind a position. ``last`` is where to go on, also when nothing was found up to there."""

    items: tuple[FeedItem, ...]
    last: int
    is_end: bool
    """Nothing was behind ``last`` when this was read."""


class DeadView(msgspec.Struct, frozen=True):
    """One event that was given up at an endpoint."""

    key: bytes
    identifier: str
    n: int
    status: int | None
    at_ms: int
    """When it was given up."""
    reason: str


class DeadGroup(msgspec.Struct, frozen=True):
    """All that was given up at an endpoint for one reason and with one status."""

    reason: str
    status: int | None
    count: int
    oldest_ms: int
    newest_ms: int


class InboxItem(msgspec.Struct, frozen=True):
    """A message waiting for a recipient's devices."""

    seq: int
    key: bytes
    message: int
    """The `lifecycle.dispatch.Message` state as a number."""
    text: str
    body: Body
    sent_at_ms: int
    expires_at_ms: int


class PushJob(msgspec.Struct, frozen=True):
    """All that is needed to wake a recipient's devices for one dispatch. ``message`` as in `InboxItem`."""

    key: bytes
    app: int
    app_mode: str
    recipient: int
    message: int
    text: str
    body: Body
    expires_at_ms: int
    devices: tuple[Device, ...]


class SmsJob(msgspec.Struct, frozen=True):
    """All that is needed to send one dispatch's fallback SMS."""

    key: bytes
    app: int
    app_mode: str
    state: State
    number: str | None
    text: str
    sender: str | None
    default_region: str | None


class MessageQuery(msgspec.Struct, frozen=True):
    """A filter over messages, newest first; None means: any. ``before`` is the last id of the page before."""

    apps: tuple[int, ...] | None = None
    recipient_folded: str | None = None
    ref: str | None = None
    status: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    before: bytes | None = None
    limit: int = 50
