"""What answers hold: the declarations that encode and document them. Times are ISO-8601 UTC with milliseconds."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from homing.api.schema import AppMode, Form, Mode, Precision, Scope
from homing.contract.status import Status

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]


class Reply(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """What every answer is; a property without value is absent where it may be."""


class AccessToken(Reply, frozen=True, kw_only=True):
    """A short-lived token (RFC 6749 §5.1)."""

    access_token: str = msgspec.field(name="access_token")
    token_type: Literal["Bearer"] = msgspec.field(name="token_type")
    expires_in: Annotated[int, Meta(description="seconds")] = msgspec.field(name="expires_in")
    scope: Annotated[str, Meta(description="the scopes, separated by spaces")]


class TokenReply(Reply, frozen=True, kw_only=True):
    """A back end's credential. What is secret is told once, when it is made."""

    id: Id
    name: str
    kind: Literal["token", "client"]
    scopes: tuple[Scope, ...]
    apps: Literal["all"] | tuple[int, ...]
    created_at: Time
    expires_at: Time | None
    token: Annotated[str, Meta(description="told once")] | UnsetType = UNSET
    client_id: Id | UnsetType = UNSET
    client_secret: Annotated[str, Meta(description="told once")] | UnsetType = UNSET


class TokenItems(Reply, frozen=True, kw_only=True):
    """A page of credentials, oldest first."""

    items: tuple[TokenReply, ...]
    next_cursor: str | None


class FallbackReply(Reply, frozen=True, kw_only=True):
    """An application's fallback."""

    mode: Mode
    on_undelivered_seconds: int | UnsetType = UNSET
    on_unread_seconds: int | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    default_region: str | UnsetType = UNSET


class AppReply(Reply, frozen=True, kw_only=True):
    """An application."""

    id: int
    name: str
    mode: AppMode
    ttl_seconds: int | UnsetType = UNSET
    fallback: FallbackReply
    app_key: Annotated[str, Meta(description="by which devices name the application when they log in")]
    created_at: Time


class AppItems(Reply, frozen=True, kw_only=True):
    """A page of applications, by id."""

    items: tuple[AppReply, ...]
    next_cursor: str | None


class UserReply(Reply, frozen=True, kw_only=True):
    """A person's account; identifiers are shown as they were registered."""

    identifier: str
    mobile_number: str | UnsetType = UNSET
    attributes: dict[str, Any] | UnsetType = UNSET
    created_at: Time


class UserItems(Reply, frozen=True, kw_only=True):
    """A page of users, by identifier."""

    items: tuple[UserReply, ...]
    next_cursor: str | None


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


class SentRecipient(Reply, frozen=True, kw_only=True):
    """What became of one recipient at once."""

    identifier: str
    status: Annotated[Status, Meta(description="enqueued or IdentifierNotFound")]


class SentReply(Reply, frozen=True, kw_only=True):
    """A message that is on disk."""

    message_id: Id
    created_at: Time
    mobile_app_id: int
    text: str
    recipients: tuple[SentRecipient, ...]


class EventReply(Reply, frozen=True, kw_only=True):
    """One event in the life of a message to one recipient."""

    seq: int
    status: Status
    timestamp: Time


class RecipientReply(Reply, frozen=True, kw_only=True):
    """One recipient's part of a message; ``status`` is the latest event's."""

    identifier: str
    recipient_ref: str | UnsetType = UNSET
    status: Status
    message: Literal["unknown", "enqueued", "delivered", "read", "expired"]
    fallback: Literal[
        "off",
        "armed",
        "due",
        "sent",
        "delivered",
        "expired",
        "invalid_number",
        "phone_error",
        "operator_error",
    ]
    events: tuple[EventReply, ...]


class MessageReply(Reply, frozen=True, kw_only=True):
    """A message and everything that happened to it."""

    message_id: Id
    created_at: Time
    expires_at: Time
    mobile_app_id: int
    text: str
    message_ref: str | UnsetType = UNSET
    recipients: tuple[RecipientReply, ...]


class MessageItems(Reply, frozen=True, kw_only=True):
    """A page of messages, newest first."""

    items: tuple[MessageReply, ...]
    next_cursor: str | None


class CallbackReply(Reply, frozen=True, kw_only=True):
    """What one endpoint was told, and must still be told, about one recipient's part of a message."""

    identifier: str
    endpoint_id: Id
    state: Literal["waiting", "in_flight", "retrying", "done", "dead"]
    pending: tuple[Status, ...]
    settled: tuple[Status, ...]
    dead: tuple[Status, ...]
    next_try_at: Time | None
    tries: int


class CallbackItems(Reply, frozen=True, kw_only=True):
    """All callbacks of one message."""

    items: tuple[CallbackReply, ...]


class SentenceReply(Reply, frozen=True, kw_only=True):
    """One sentence for people; its key is stable, its text may be reworded."""

    key: str
    text: str


class ExplainedRecipient(Reply, frozen=True, kw_only=True):
    """Why one recipient's part of a message is where it is, and what happens next."""

    identifier: str
    explanation: tuple[SentenceReply, ...]


class ExplainReply(Reply, frozen=True, kw_only=True):
    """Why a message is where it is, and what happens next."""

    message_id: Id
    recipients: tuple[ExplainedRecipient, ...]


class HealthReply(Reply, frozen=True, kw_only=True):
    """The process is alive."""

    status: Literal["ok"]


class ReadyReply(Reply, frozen=True, kw_only=True):
    """Whether work can be taken, and if not, why."""

    ready: bool
    reasons: tuple[str, ...]
