"""What requests hold: the declarations that decode them, judge them and document them (OpenAPI is made from here).

A property that is missing here is unknown: ignored and named in ``Homing-Ignored``, unless its class refuses it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from homing.contract.status import Status

NOT_YET: Final = "not yet: a later release of Homing brings this"
MAX_ID: Final = 2**53 - 1
"""The largest application id: the largest integer that every JSON reader keeps exact."""

Scope = Literal["send", "read", "manage"]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Ref = Annotated[str, Meta(max_length=255)]
Identifier = Annotated[str, Meta(min_length=1, max_length=255)]
Text = Annotated[str, Meta(min_length=1, max_length=8192)]
Seconds = Annotated[int, Meta(ge=1, le=172_800)]
Ttl = Annotated[
    int, Meta(ge=60, le=172_800, description="seconds until the message expires if it was not delivered")
]
Mode = Annotated[
    Literal["off", "notify", "sms"],
    Meta(
        description="off: no fallback; notify: Homing reports that it is due, you send; sms: Homing sends an SMS"
    ),
]
Sender = Annotated[str, Meta(min_length=1, max_length=32, description="what an SMS names as its sender")]
Region = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=2,
        pattern="^[A-Z]{2}$",
        description="ISO 3166 country that numbers without a country code belong to",
    ),
]
MobileNumber = Annotated[str, Meta(min_length=1, max_length=255, description="where a fallback SMS goes")]
AppMode = Annotated[
    Literal["test", "guests", "live"],
    Meta(description="live reaches people; guests only those listed; test only simulated ones"),
]
Password = Annotated[str, Meta(min_length=1, max_length=255)]
# What the documentation says of a URL is narrower than what is taken: all of it passes the guard.
URL_PATTERN: Final = r"^https?://([a-z][a-z0-9]{0,30}\.){1,4}(com|net|org|example)(/[A-Za-z0-9._~-]{0,64}){0,8}(\?[a-z]_[a-z0-9]{0,9}=[0-9]{0,9})?$"
Url = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=2048,
        extra_json_schema={"format": "uri", "pattern": URL_PATTERN},
        description="http or https. Addresses and names inside your own network are refused with url_refused, and so "
        "is a query that holds one of the contract's own keys. Other spellings (an address as host, an international "
        "name, a port) are taken if the guard allows them.",
    ),
]
Form = Annotated[
    Literal["get", "form", "json"],
    Meta(description="how a callback travels: GET with a query, POST with a form, POST with a JSON object"),
]
Precision = Annotated[Literal["s", "ms"], Meta(description="how finely callbacks tell the time")]
Statuses = Annotated[
    list[Status], Meta(min_length=1, description="only these are told; left out or null: all")
]
Description = Annotated[str, Meta(max_length=1000)]
Cursor = Annotated[
    str,
    Meta(
        pattern="^([0-9a-f][0-9a-f])+$", max_length=8192, description="nextCursor of the page before; opaque"
    ),
]
Limit = Annotated[int, Meta(ge=1, le=200)]
Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, max_length=64)]
AppRef = Annotated[
    int | Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9]+$"})],
    Meta(description="the application's id, as a number or its digits"),
]


class Request(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """What every request is: unknown properties send it to the careful decoder, which ignores and names them."""

    REFUSED: ClassVar[Mapping[str, str]] = {}
    """Property → why it is refused (422)."""
    REFUSED_VALUES: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Property → value → why it is refused (422)."""


class Nothing(Request, frozen=True):
    """No parameters, no body."""


class Page(Request, frozen=True):
    """Which part of a list."""

    limit: Limit = 50
    cursor: Cursor | None = None


class MessageList(Page, frozen=True):
    """Which messages; what is left out does not matter. Newest first."""

    mobile_app_id: Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9]+$"})] | None = None
    recipient: Identifier | None = None
    message_ref: Ref | None = None
    status: Annotated[Status, Meta(description="the latest event of one of its recipients")] | None = None
    since: Annotated[Instant, Meta(description="accepted at or after")] | None = None
    until: Annotated[Instant, Meta(description="accepted before")] | None = None


class ClientCredentials(Request, frozen=True):
    """OAuth2 client credentials (RFC 6749 §4.4)."""

    client_id: str = msgspec.field(name="client_id")
    client_secret: str = msgspec.field(name="client_secret")
    grant_type: Annotated[Literal["client_credentials"], Meta(description="there is no other grant")] = (
        msgspec.field(name="grant_type")
    )


class TokenCreate(Request, frozen=True):
    """A credential for a back end: a token, or an OAuth2 client that gets itself short-lived tokens."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=10)]
    apps: Annotated[
        Literal["all"]
        | Annotated[list[Annotated[int, Meta(ge=1, le=MAX_ID)]], Meta(min_length=1, max_length=1000)],
        Meta(description='the applications it may touch: their ids, or "all"'),
    ]
    expires_in_seconds: Annotated[int, Meta(ge=1, le=315_360_000)] | None = None
    kind: Annotated[
        Literal["token", "client"], Meta(description="client: gives clientId and clientSecret for OAuth2")
    ] = "token"


class AppFallback(Request, frozen=True):
    """When and how a message falls back to SMS, unless the message says otherwise."""

    mode: Mode = "off"
    on_undelivered_seconds: Seconds | None = None
    on_unread_seconds: Seconds | None = None
    sender: Sender | None = None
    default_region: Region | None = None


class AppCreate(Request, frozen=True):
    """A new application."""

    name: Name
    id: (
        Annotated[int, Meta(ge=1, le=MAX_ID, description="chosen by you, or left out: the next free one")]
        | None
    ) = None
    mode: AppMode = "live"
    ttl_seconds: Ttl | None = None
    fallback: AppFallback | None = None


class AppFallbackPatch(Request, frozen=True):
    """Changes to an application's fallback; null takes a value back."""

    mode: Mode | UnsetType | None = UNSET
    on_undelivered_seconds: Seconds | UnsetType | None = UNSET
    on_unread_seconds: Seconds | UnsetType | None = UNSET
    sender: Sender | UnsetType | None = UNSET
    default_region: Region | UnsetType | None = UNSET


class AppPatch(Request, frozen=True):
    """Changes to an application; null takes a value back."""

    REFUSED: ClassVar[Mapping[str, str]] = {"id": "cannot be changed", "appKey": "cannot be changed"}

    name: Name | UnsetType = UNSET
    mode: AppMode | UnsetType | None = UNSET
    ttl_seconds: Ttl | UnsetType | None = UNSET
    fallback: AppFallbackPatch | UnsetType | None = UNSET


class UserCreate(Request, frozen=True):
    """A person's account: with identifier and password the person's devices log in."""

    identifier: Identifier
    password: Password
    mobile_number: MobileNumber | None = None
    attributes: dict[str, Any] | None = None


class UserPatch(Request, frozen=True):
    """Changes to a user; null takes a value back."""

    REFUSED: ClassVar[Mapping[str, str]] = {"identifier": "cannot be changed"}

    password: Password | UnsetType = UNSET
    mobile_number: MobileNumber | UnsetType | None = UNSET
    attributes: dict[str, Any] | UnsetType | None = UNSET


class NotifyCallback(Request, frozen=True):
    """Where this message's callbacks go, instead of to the application's endpoints; POST is the form."""

    method: Literal["GET", "POST", "JSON"]
    url: Url


class Override(Request, frozen=True):
    """What is different for this recipient."""

    text: Text | None = None
    mobile_number: MobileNumber | None = None


class Recipient(Request, frozen=True):
    """Whom a message is for."""

    identifier: Identifier
    recipient_ref: (
        Annotated[Ref, Meta(description="your own id of the recipient, echoed in callbacks")] | None
    ) = None
    override: Override | None = None


class SendFallback(Request, frozen=True):
    """This message's fallback, over the application's: what is left out is as the application has it."""

    mode: Mode | None = None
    on_undelivered_seconds: Seconds | None = None
    on_unread_seconds: Seconds | None = None
    text: Annotated[str, Meta(min_length=1, max_length=1600, description="the SMS's text")] | None = None
    sender: Sender | None = None


class SendRequest(Request, frozen=True):
    """A message for one or more people. The same recipient twice is refused."""

    REFUSED: ClassVar[Mapping[str, str]] = dict.fromkeys(("inReplyTo", "attachmentId"), NOT_YET)

    mobile_app_id: AppRef
    text: Text
    recipients: Annotated[
        list[Recipient], Meta(min_length=1, max_length=1000, extra_json_schema={"uniqueItems": True})
    ]
    notification_text: (
        Annotated[str, Meta(max_length=8192, description="what a native notification says")] | None
    ) = None
    message_ref: (
        Annotated[Ref, Meta(description="your own id of the message, echoed in callbacks")] | None
    ) = None
    channel: Annotated[Ref, Meta(description="the conversation it belongs to")] | None = None
    optional_data: Annotated[dict[str, Any], Meta(description="anything, for your app")] | None = None
    devices_data: (
        Annotated[
            dict[str, dict[str, Any]],
            Meta(description="for the native notifications: objects ios and android"),
        ]
        | None
    ) = None
    ttl_seconds: Ttl | None = None
    notify_callback: NotifyCallback | None = None
    fallback: Annotated[
        SendFallback | UnsetType | None, Meta(description="null: none, whatever the application has")
    ] = UNSET
