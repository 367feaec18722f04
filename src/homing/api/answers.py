"""What answers hold: the declarations that encode and document them. Times are ISO-8601 UTC with milliseconds."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from homing.api.schema import AppMode, Mode, Scope
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
