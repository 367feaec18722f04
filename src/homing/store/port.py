"""The store's promises, which SQLite and PostgreSQL both keep (one contract suite runs on each).

Three small ports on one thing: `Ledger` is the hot path, `Registry` the configuration, `Archive` the questions.
Whatever a method returns after a write is on disk. No method holds a transaction across an ``await`` of its caller.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from homing.model import App, Credentials, Device, Endpoint, Job, Listener, Token, User
from homing.store.archive.port import Archive
from homing.store.batch import (
    Accepted,
    Batch,
    Changed,
    CommandWork,
    Committed,
    Idempotency,
    LaneWork,
    Outlook,
)
from homing.store.changes import Change

HearHint = Callable[[Sequence[int], Sequence[Changed]], None]
"""See `Hints.on_hint`."""


class Applied(msgspec.Struct, frozen=True):
    """A change that is on disk. ``value`` is what the change's docstring says (None where ``replayed``)."""

    value: object
    answer: bytes | None = None
    replayed: bool = False


class Share(NamedTuple):
    """Which of the nodes that tell callbacks this one is, from 0, and how many there are."""

    rank: int = 0
    of: int = 1


class Claimed(msgspec.Struct, frozen=True):
    """Lanes that this node now owns, and when the endpoint's next one falls due (maybe already)."""

    lanes: list[LaneWork]
    next_due_ms: int | None


class ReplayStep(msgspec.Struct, frozen=True):
    """One step of a replay: lanes this node now owns. ``is_walked``: the job opens no more."""

    lanes: list[LaneWork]
    is_walked: bool


class Retention(msgspec.Struct, frozen=True):
    """How long what is finished is kept, in ms; None keeps it for ever."""

    attempts_ms: int | None
    """The log of callbacks that were taken."""
    failures_ms: int | None
    """The log of tries that failed."""
    dead_ms: int | None
    messages_ms: int | None = None
    """Messages with everything that is known of them, see `Ledger.drop_messages`."""


class Dropped(msgspec.Struct, frozen=True):
    """What a step of deleting old messages came to."""

    count: int
    """How many went: messages, or whole weeks of them where they lie in weeks."""
    kept: int = 0
    """How many more of those have had their time and stay."""
    kept_by: str | None = None
    """What points at the first of them, or ``busy``: others were in the way, and it may be tried again in a moment."""
    is_end: bool = True
    """Nothing more can go now."""


class Ledger(Protocol):
    """The durable record of what happens to messages, and of what must still be done about it."""

    @property
    def epoch(self) -> int:
        """The number drawn at this process start, by which this node owns lanes and commands."""
        ...

    def now_ms(self) -> int:
        """The store's clock."""
        ...

    async def commit(self, batch: Batch) -> Committed:
        """Write the batch in ONE transaction and return once it is on disk.

        Order within: settles, commands done, accepts, incomings, occurrences, notes. A bad accept is answered by the
        error in its place and stores nothing. Raises `Unavailable` when nothing was stored, `CommitUnknown` when
        that cannot be known; any other exception means that an item of the batch cannot be stored, and nothing was.
        """
        ...

    async def claim_lanes(self, endpoint: int, limit: int, chance: float | None = None) -> Claimed:
        """Take up to ``limit`` lanes of an endpoint that are due and owned by nobody, the longest due first.

        With ``chance`` in [0, 1) one lane is taken wherever chance points among the due ones: a probe that always tried
        the same lane would never find out that only this one is bad.
        """
        ...

    async def replay_step(self, job: str, limit: int) -> ReplayStep:
        """Open replay lanes for up to ``limit`` dispatches of a running job (by its uid) and move the job on, in one commit.

        The lanes are born owned by this node. An event that is pending in a live lane is passed over; one that waits in
        another job's replay lane passes over to this job. A job that does not run opens nothing.
        """
        ...

    async def prune(self, retention: Retention, limit: int) -> int:
        """Delete up to ``limit`` rows whose time is over; return how many, 0 when there is nothing left to delete."""
        ...

    async def drop_messages(self, before_ms: int, limit: int) -> Dropped:
        """Look at ``limit`` messages accepted before an instant, or a week of them, and delete them with all that is known.

        Nothing that is to come loses what it is about: a message stays while a lane, command or timer points at it, a
        replay that is not through may, or the idempotency key it was sent with is remembered. Ask until the end; asked
        after that, it begins again with what stayed.
        """
        ...

    async def adopt_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """Take up to ``limit`` lanes held by nodes that are no more, in key order after (key, endpoint).

        Those are found in no index: walk on from the last one returned until the answer is empty.
        """
        ...

    async def held_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """Read up to ``limit`` lanes that this node's epoch owns, in key order (for the sweep that finds forgotten ones)."""
        ...

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        """Take up to ``limit`` commands that are due and owned by nobody alive, the longest due first."""
        ...

    async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
        """Read up to ``limit`` commands that this node's epoch owns, in order after (key, kind), as `held_lanes` does."""
        ...

    async def release(self, lanes: Sequence[tuple[bytes, int]]) -> None:
        """Give lanes back to the store, due at once, without spending a try."""
        ...

    async def due_dispatches(self, limit: int) -> list[bytes]:
        """Read the keys of dispatches whose deadline has passed, the earliest first."""
        ...

    async def outlook(self) -> Outlook:
        """Read what waits and from when on: the next deadline, command, and due lane of each endpoint."""
        ...

    def free_bytes(self) -> int | None:
        """How much room is left for the store; None where that is not ours to know."""
        ...


class Registry(Protocol):
    """Applications, users, devices, endpoints and tokens."""

    async def apply(
        self,
        change: Change,
        idempotency: Idempotency | None = None,
        render: Callable[[object], bytes] | None = None,
    ) -> Applied:
        """Make one change durable, and tell everyone who `watch`es.

        With an idempotency key, ``render(value)`` is kept as the first answer; the same key again returns it
        (``replayed``) and changes nothing, or raises `IdempotencyConflict` if the digest differs.
        """
        ...

    def watch(self, changed: Callable[[Change, object], None]) -> None:
        """Have ``changed(change, value)`` called on the event loop after each change, before `apply` returns."""
        ...

    async def catch_up(self) -> None:
        """Return when whoever watches was told of every change that was made before, at whichever node."""
        ...

    async def recall_answer(self, idempotency: Idempotency) -> bytes | None:
        """Return the first answer kept for this key, None if the key is new; `IdempotencyConflict` as in `apply`."""
        ...

    async def keep_answer(self, idempotency: Idempotency, answer: bytes) -> None:
        """Keep the first answer of an action that is harmless to repeat and is no `Change`."""
        ...

    async def apps(self, after: int, limit: int) -> list[App]:
        """Applications by id, after the given one."""
        ...

    async def app(self, app: int) -> App | None:
        """One application."""
        ...

    async def users(self, app: int, after: str, limit: int) -> list[User]:
        """Users by folded identifier, after the given one."""
        ...

    async def user(self, app: int, folded: str) -> User | None:
        """One user."""
        ...

    async def credentials(self, app_key: str, folded: str) -> Credentials | None:
        """What a device's login is checked against."""
        ...

    async def endpoints(self, app: int | None) -> list[Endpoint]:
        """All endpoints of an application that its owner made, oldest first; for None of all, kind ``notify`` too."""
        ...

    async def endpoint(self, app: int, uid: str) -> Endpoint | None:
        """One endpoint."""
        ...

    async def jobs(self, app: int | None, before: int | None, limit: int) -> list[Job]:
        """Jobs, newest first, before the given number (`Job.id`); of all applications for None."""
        ...

    async def job(self, uid: str) -> Job | None:
        """One job."""
        ...

    async def listeners(self, reach: tuple[int, ...] | None, after: str, limit: int) -> list[Listener]:
        """Listeners that tokens of this reach share, by name after the given one."""
        ...

    async def listener(self, reach: tuple[int, ...] | None, name: str) -> Listener | None:
        """One listener."""
        ...

    async def tokens(self) -> list[Token]:
        """All tokens and clients, oldest first."""
        ...

    async def token(self, token: str) -> Token | None:
        """One token or client by its id."""
        ...

    async def device(self, digest: bytes) -> Device | None:
        """The device that has this token."""
        ...

    async def devices(self, recipient: int) -> list[Device]:
        """A user's devices."""
        ...


class Ownership(Protocol):
    """What a node may still do with the lanes and commands it owns, and when there is more to take.

    Where one process has the store, its epoch never ends, and nothing is ever called.
    """

    @property
    def trouble(self) -> str | None:
        """Why this node's term was not renewed the last time; None when it was."""
        ...

    def nodes(self) -> Mapping[str, int]:
        """How many nodes live that have each role, as last seen."""
        ...

    def may_start_try(self) -> bool:
        """Say whether this node's term surely outlives a try that starts now (one that ends within 15 s)."""
        ...

    def on_lost(self, lost: Callable[[], None]) -> None:
        """Have ``lost()`` called when this node's epoch has ended and it has another one.

        What it held may be others' by now: whoever holds lanes or commands in memory must drop them, without a settle,
        and whoever keeps configuration in memory must read it again.
        """
        ...

    def on_rewound(self, rewound: Callable[[], None]) -> None:
        """Have ``rewound()`` called when the store may be an older state of itself, and has another ``store_id``.

        Numbers of messages that devices have seen may be given once more: each device must begin anew.
        """
        ...

    def on_orphaned(self, orphaned: Callable[[], None]) -> None:
        """Have ``orphaned()`` called when another node is no more: there may be lanes to adopt and commands to claim."""
        ...

    def on_share(self, hear: Callable[[Share], None]) -> None:
        """Have ``hear(share)`` called now, and whenever nodes come or go: what holds for all of them is shared."""
        ...


class Hints(Protocol):
    """Who is linked to which node, and word of what is new for them. A hint may be lost; heartbeats find what it told.

    Where one process has the store, its own commits tell it everything, and nothing is ever called.
    """

    def link(self, recipient: int, *, is_linked: bool) -> None:
        """Say that a recipient has a live link at this node, or has none any more."""
        ...

    def on_hint(self, hear: HearHint) -> None:
        """Have ``hear(recipients, changes)`` called when another node stored something for recipients linked here.

        These recipients have new messages; and those dispatches were read or are gone.
        """
        ...


class Handovers(Protocol):
    """Work that other nodes stored and have not the role for. A word of it may be lost; the sweeps find what it told.

    Where one process has the store, it has all roles, and nothing is ever called.
    """

    def on_lanes(self, hear: Callable[[Mapping[int, int]], None]) -> None:
        """Have ``hear({endpoint: when})`` called when there are lanes that nobody owns, and this node tells callbacks."""
        ...

    def on_command(self, hear: Callable[[int], None]) -> None:
        """Have ``hear(when)`` called when a command falls due then that nobody owns, and this node has channels."""
        ...

    def on_handed(self, hear: Callable[[str], None]) -> None:
        """Have ``hear(role)`` called for each word of another node's that there is work for a role, for the metrics."""
        ...


class Store(Ledger, Registry, Archive, Ownership, Hints, Handovers, Protocol):
    """The whole store; couriers and doors ask for the part they need."""

    schema: int
    """The version of its tables."""
    store_id: str
    """A UUID drawn when the store was created, and again when it has forgotten something (`Ownership.on_rewound`); devices
    know by it whether their cursor means anything here."""

    def size_bytes(self) -> int | None:
        """How large the store is; None where that is not known."""
        ...

    async def close(self) -> None:
        """Finish what was begun, let go of the files; harmless when repeated."""
        ...


__all__ = [
    "Accepted",
    "Applied",
    "Archive",
    "Claimed",
    "Dropped",
    "Handovers",
    "Hints",
    "Ledger",
    "Ownership",
    "Registry",
    "Share",
    "Store",
]
