"""What answers about endpoints, their tries and their replays hold: as `answers`, for this one room of the API."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from homing.api.answers import Id, Reply, Time
from homing.api.schema import Form, Precision
from homing.contract.status import Status


class BasicReply(Reply, frozen=True, kw_only=True):
    """A log-in by name; the password is not shown again."""

    username: str
    password: str


class AuthReply(Reply, frozen=True, kw_only=True):
    """How the endpoint knows us, without what is secret."""

    basic: BasicReply | UnsetType = UNSET
    bearer: str | UnsetType = UNSET


class TlsReply(Reply, frozen=True, kw_only=True):
    """Whom callbacks trust at the endpoint."""

    ca: str | UnsetType = UNSET
    dangerous_skip_verify: bool


class SecretReply(Reply, frozen=True, kw_only=True):
    """A secret that was just made; told once."""

    secret: str | UnsetType = UNSET
    previous_valid_until: Time | None


class Missed(Reply, frozen=True, kw_only=True):
    """What an endpoint did not hear of while it was disabled."""

    since: Time
    dead: int


class EndpointReply(Reply, frozen=True, kw_only=True):
    """An endpoint. ``secret`` is told once, when it is made; ``warnings`` where something looks wrong already."""

    id: Id
    url: str
    form: Form
    kind: Literal["status", "inbox", "operations"]
    statuses: tuple[Status, ...] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    timestamp_precision: Precision
    state: Literal["active", "resting", "paused", "disabled"]
    state_reason: str | None
    secret: (
        Annotated[str, Meta(description="signs the callbacks (Standard Webhooks); told once")] | UnsetType
    ) = UNSET
    created_at: Time
    last_success_at: Time | None
    warnings: tuple[str, ...] | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    auth: AuthReply | UnsetType = UNSET
    ordered: bool
    max_in_flight: int | UnsetType = UNSET
    rate_per_second: float | UnsetType = UNSET
    retry_delays_seconds: tuple[float, ...] | UnsetType = UNSET
    timeout_seconds: float | UnsetType = UNSET
    paused: bool
    tls: TlsReply | UnsetType = UNSET
    failing_since: Time | UnsetType = UNSET
    disabled_at: Time | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET
    job_id: Id | UnsetType = UNSET


class EndpointItems(Reply, frozen=True, kw_only=True):
    """A page of endpoints, oldest first."""

    items: tuple[EndpointReply, ...]
    next_cursor: str | None


class AttemptRequest(Reply, frozen=True, kw_only=True):
    """What was sent, without what is secret and without the contract's own keys."""

    line: str
    headers: dict[str, str]


class AttemptReply(Reply, frozen=True, kw_only=True):
    """One try of one callback."""

    id: int
    message_id: Id
    seq: Annotated[int, Meta(description="the event's number; 1 for an incoming message")]
    event: Annotated[Status | None, Meta(description="the status it told; null for an incoming message")]
    attempt: Annotated[int, Meta(description="1 for the first try of this event")]
    started_at: Time
    duration_ms: int
    request: AttemptRequest
    status: Annotated[int | None, Meta(description="the HTTP status that came back, if one did")]
    answer: Annotated[str | None, Meta(description="the first 1 KiB of the answer")]
    address: Annotated[str | None, Meta(description="the address that was dialled")]
    error: str | None
    note: str | UnsetType = UNSET
    timings: dict[str, int]


class StepReply(Reply, frozen=True, kw_only=True):
    """One step of an exchange: name, address, connect, tls or answer (sent, where nothing could be)."""

    name: Literal["name", "address", "connect", "tls", "answer", "sent"]
    ok: bool
    detail: str
    took_ms: int | UnsetType = UNSET


class TestReply(Reply, frozen=True, kw_only=True):
    """A signed sample that was sent now, and what came of it step by step; ``verdict`` says it in words."""

    ok: bool
    verdict: str
    steps: tuple[StepReply, ...]
    webhook_id: str
    started_at: Time
    duration_ms: int
    request: AttemptRequest
    status: int | None
    answer: str | None
    address: str | None
    error: str | None
    timings: dict[str, int]
    better_url: Annotated[str, Meta(description="where a redirect says that the endpoint is")] | UnsetType = (
        UNSET
    )


class ReplayCount(Reply, frozen=True, kw_only=True):
    """How many callbacks a replay would tell again; ``isExact`` false: counting was given up there."""

    total: int
    is_exact: bool


class JobStarted(Reply, frozen=True, kw_only=True):
    """A durable job that has begun."""

    job_id: Id


class JobReply(Reply, frozen=True, kw_only=True):
    """A job. Counts are callbacks: ``done`` were taken, ``failed`` were given up once more."""

    id: Id
    kind: Literal["replay"]
    state: Literal["running", "paused", "done", "cancelled"]
    done: int
    failed: int
    total: Annotated[
        int, Meta(description="callbacks to tell again; what was found so far, until all were counted")
    ]
    rate_per_second: float | UnsetType = UNSET
    mobile_app_id: int
    created_at: Time
    ended_at: Time | UnsetType = UNSET


class JobItems(Reply, frozen=True, kw_only=True):
    """A page of jobs, newest first."""

    items: tuple[JobReply, ...]
    next_cursor: str | None


class DeadReply(Reply, frozen=True, kw_only=True):
    """One event that was given up at an endpoint."""

    message_id: Id
    recipient: str
    seq: int
    status: Status | None
    dead_at: Time
    reason: str


class DeadItems(Reply, frozen=True, kw_only=True):
    """A page of dead letters, of the newest message first."""

    items: tuple[DeadReply, ...]
    next_cursor: str | None


class DeadGroupReply(Reply, frozen=True, kw_only=True):
    """All that was given up for one reason and with one status."""

    reason: str
    status: Status | None
    count: int
    oldest: Time
    newest: Time


class DeadGroups(Reply, frozen=True, kw_only=True):
    """Dead letters in groups, the largest first."""

    items: tuple[DeadGroupReply, ...]


class AttemptItems(Reply, frozen=True, kw_only=True):
    """A page of an endpoint's attempt log, newest first."""

    items: tuple[AttemptReply, ...]
    next_cursor: str | None
