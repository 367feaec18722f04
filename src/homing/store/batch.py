"""What one transaction of the hot path takes and gives back: data only.

A `Batch` is committed whole. Everything in `Committed` is on disk when the caller gets it.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final

import msgspec

from homing.errors import HomingError
from homing.lifecycle.dispatch import Input, Message, State
from homing.model import Body, CommandKind, DispatchKey, FallbackSettings, MessageId


class Idempotency(msgspec.Struct, frozen=True, gc=False):
    """A repeated request is recognised by (scope, key) and must have the same digest (SHA-256 of method, path, body)."""

    scope: str
    key: str
    digest: bytes


class Addressee(msgspec.Struct, frozen=True, gc=False):
    """One recipient of a message as the sender named it; ``folded`` is the identifier in NFC + casefold."""

    identifier: str
    folded: str
    recipient_ref: str | None = None
    text: str | None = None
    mobile_number: str | None = None


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A message is stored. ``recipients`` are (identifier as registered, status number) in the sender's order.

    ``answer`` is what the caller is to be told where an idempotency key was given: the first answer's bytes.
    """

    message_id: MessageId
    created_at_ms: int
    recipients: tuple[tuple[str, int], ...]
    answer: bytes | None = None
    replayed: bool = False


class Notify(msgspec.Struct, frozen=True, gc=False):
    """Where one message's own callbacks go: ``endpoint`` is that of its application and origin (`OpenNotify`)."""

    endpoint: int
    form: str
    url: str


class Accept(msgspec.Struct, frozen=True):
    """A message to store. ``render`` makes the answer that a repeated idempotency key gets again; it must be pure.

    With ``notify`` its callbacks go there instead of to the application's status endpoints.
    """

    message_id: MessageId
    app: int
    ref: str | None
    body: Body
    addressees: tuple[Addressee, ...]
    ttl_s: int | None = None
    fallback: FallbackSettings | None = None
    idempotency: Idempotency | None = None
    render: Callable[[Accepted], bytes] | None = None
    notify: Notify | None = None


class Incoming(msgspec.Struct, frozen=True):
    """A message from a device; the same ``client_ref`` from the same device again is the same message."""

    message_id: MessageId
    app: int
    recipient: int
    identifier: str
    device: str
    text: str
    channel: str | None = None
    in_reply_to: MessageId | None = None
    client_ref: str | None = None


class Occurrence(msgspec.Struct, frozen=True, gc=False):
    """Something happened to a dispatch. ``detail`` (one line of JSON) is kept in the history beside it.

    ``sms`` are (carrier, message id there) pairs by which receipts will find the dispatch again.
    """

    key: DispatchKey
    input: Input
    detail: str | None = None
    sms: tuple[tuple[str, str], ...] = ()


class Result(msgspec.Struct, frozen=True, gc=False):
    """What an occurrence came to: the dispatch's state afterwards, and why nothing happened if nothing did."""

    state: State | None
    note: str | None


class Verdict(IntEnum):
    """What one try of a callback settles."""

    DONE = 1
    RETRY = 2
    DEAD = 3
    WAIT = 4
    """The lane is let go until ``retry_at_ms`` and no try is spent: its endpoint rests, or is paused."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One HTTP try: when it began, how long it took, what came back. ``code`` 0 means no answer.

    Compact for a success: no answer, no detail. ``detail`` of a failure is JSON (`views.AttemptDetail`).
    """

    at_ms: int
    took_ms: int
    code: int
    error: str | None = None
    address: str | None = None
    answer: bytes | None = None
    detail: bytes | None = None


class Settle(msgspec.Struct, frozen=True, gc=False):
    """The outcome of trying event ``n`` of a lane that this node holds.

    ``tries`` is how many were spent on this event before this one. ``known`` is the bitset of the later events that
    the courier already holds. ``retry_at_ms`` goes with `Verdict.RETRY`; the lane is then let go to the store.
    """

    key: DispatchKey
    """The lane's, as its `LaneWork` had it."""
    endpoint: int
    n: int
    tries: int
    verdict: Verdict
    attempt: Attempt | None
    retry_at_ms: int = 0
    known: int = 0
    reason: str | None = None


class CommandDone(msgspec.Struct, frozen=True, gc=False):
    """A command was carried out, or is wanted no more: then it is over, whoever owns it by now.

    Or it is to be tried again at ``retry_at_ms``, or ``is_given_up``: only its owner may say so, and only from where it
    stood, which ``tries`` says as its work did.
    """

    key: DispatchKey
    kind: CommandKind
    retry_at_ms: int | None = None
    detail: str | None = None
    tries: int = 0
    is_given_up: bool = False


class Batch(msgspec.Struct):
    """Everything one transaction writes, at most 500 dispatches or one message whole.

    ``born_free`` are the endpoints whose new lanes the couriers cannot take just now. A ``reason`` to note in the
    history without an input is a `Note`.
    """

    settles: list[Settle] = []
    accepts: list[Accept] = []
    incomings: list[Incoming] = []
    occurrences: list[Occurrence] = []
    commands_done: list[CommandDone] = []
    notes: list["Note"] = []
    born_free: frozenset[int] = frozenset()


class Note(msgspec.Struct, frozen=True, gc=False):
    """A line for a dispatch's history that is no input: ``code`` is stable, ``detail`` is JSON."""

    key: DispatchKey
    code: str
    detail: str | None = None


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What every callback of one dispatch says, beside the event itself."""

    app: int
    identifier: str
    message_ref: str | None
    recipient_ref: str | None
    fallback_ref: str | None
    notify: str | None = None
    """The message's own form and URL, with a space between them; None: the endpoint's."""


class IncomingFacts(msgspec.Struct, frozen=True, gc=False):
    """What the callback of one incoming message says."""

    app: int
    identifier: str
    text: str
    channel: str | None
    in_reply_to: MessageId | None


class OperationFacts(msgspec.Struct, frozen=True, gc=False):
    """What one callback to an endpoint of kind ``operations`` says: about another endpoint, at ``at_ms``."""

    app: int
    type: str
    """endpoint.resting, endpoint.disabled or callback.dead."""
    endpoint_uid: str
    reason: str
    at_ms: int


class LaneWork(msgspec.Struct, frozen=True, gc=False):
    """A lane this node now owns, or further events of one it owns already (``fresh`` False).

    ``key`` is the dispatch's (18 bytes), or 20 bytes for a lane beside it (`model.replay_lane`, `model.single_lane`).
    ``job`` is the uid of the job that a replay belongs to.

    ``events`` are (n, status number, at_ms), ascending; ``tries`` were spent on the first of them. ``pending`` says of further
    events what the lane's row holds with them (bit n - 1): another node may have recorded one before them. 0: none has.
    """

    key: DispatchKey
    endpoint: int
    facts: Facts | IncomingFacts | OperationFacts
    events: tuple[tuple[int, int, int], ...]
    tries: int = 0
    fresh: bool = True
    job: str | None = None
    pending: int = 0


class CommandWork(msgspec.Struct, frozen=True, gc=False):
    """A push or an SMS this node is to do; what it needs to know it asks the store when it does it."""

    key: DispatchKey
    kind: CommandKind
    tries: int = 0
    detail: str | None = None


class NewMessage(msgspec.Struct, frozen=True, gc=False):
    """A recipient has a new message, number ``seq`` of theirs."""

    recipient: int
    seq: int
    key: DispatchKey
    text: str
    body: Body
    sent_at_ms: int
    expires_at_ms: int


ENDINGS: Final[dict[int, str]] = {Message.READ: "read", Message.EXPIRED: "gone"}
"""Where a message is → `Changed.what`: after these a device has nothing more to do with it."""


class Changed(msgspec.Struct, frozen=True, gc=False):
    """A dispatch of a known recipient was read (by whichever device) or is gone (expired)."""

    recipient: int
    key: DispatchKey
    what: str


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One event that is now on disk, for live views."""

    key: DispatchKey
    app: int
    identifier: str
    n: int
    status: int
    at_ms: int


class Committed(msgspec.Struct):
    """What a batch came to. Lists named like the batch's are aligned with them."""

    now_ms: int
    accepts: list[Accepted | HomingError] = []
    incomings: list[MessageId] = []
    occurrences: list[Result] = []
    lanes: list[LaneWork] = []
    commands: list[CommandWork] = []
    messages: list[NewMessage] = []
    changes: list[Changed] = []
    recorded: list[Recorded] = []
    next_timer_ms: int | None = None
    next_command_ms: int | None = None
    settled: list[Settle] = []
    """The batch's own settles, now on disk."""
    lanes_due: dict[int, int] = {}
    """Endpoint → earliest instant at which a lane this batch let go, or bore free, falls due."""


class Outlook(msgspec.Struct, frozen=True):
    """What waits in the store: asked at start, and by the sweeps."""

    next_timer_ms: int | None
    next_command_ms: int | None
    lanes_due: dict[int, int]
