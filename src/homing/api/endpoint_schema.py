"""What requests about endpoints and their replays hold: as `schema`, for this one room of the API."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from homing.api.schema import NOT_YET, Description, Form, Instant, Page, Precision, Request, Statuses, Url
from homing.contract.status import Status

_TLS_LATER: Final = dict.fromkeys(("clientCert", "clientKey"), NOT_YET)


class Basic(Request, frozen=True):
    """A name and a password (RFC 7617)."""

    username: Annotated[str, Meta(min_length=1, max_length=255, extra_json_schema={"pattern": "^[!-9;-~]+$"})]
    password: Annotated[str, Meta(max_length=1024, extra_json_schema={"pattern": "^[!-~]*$"})]


class Auth(Request, frozen=True):
    """How the endpoint knows us: basic or bearer, not both."""

    basic: Basic | None = None
    bearer: (
        Annotated[str, Meta(min_length=1, max_length=4096, extra_json_schema={"pattern": "^[!-~]+$"})] | None
    ) = None


class Tls(Request, frozen=True):
    """Whom to trust at the endpoint."""

    REFUSED: ClassVar[Mapping[str, str]] = _TLS_LATER

    ca: Annotated[str, Meta(max_length=65_536, description="PEM, trusted instead of the system's")] | None = (
        None
    )
    dangerous_skip_verify: bool = False


# What the documentation says of headers is narrower than what is taken (`homing.callbacks.headers`).
_HEADERS_SHOWN: Final = {
    "propertyNames": {"pattern": "^[Xx]-[a-z]{1,32}$"},
    "maxProperties": 4,
    "additionalProperties": {"type": "string", "pattern": "^[!-~]{1,64}$"},
}
Headers = Annotated[
    dict[str, str],
    Meta(
        description="sent with every callback; their values are not shown again",
        extra_json_schema=_HEADERS_SHOWN,
    ),
]
InFlight = Annotated[int, Meta(ge=1, le=2_000, description="callbacks at a time")]
Rate = Annotated[float, Meta(ge=0.1, le=10_000, description="callbacks per second")]
Delays = Annotated[
    list[Annotated[float, Meta(ge=0.1, le=432_000)]],
    Meta(min_length=1, max_length=32, description="n delays are n + 1 tries"),
]
Timeout = Annotated[float, Meta(ge=1, le=15, description="seconds for a whole exchange")]


class EndpointCreate(Request, frozen=True):
    """Where an application's callbacks go; kind inbox: its incoming messages; operations: facts about endpoints."""

    url: Url
    form: Form
    kind: Literal["status", "inbox", "operations"] = "status"
    statuses: Statuses | None = None
    description: Description | None = None
    timestamp_precision: Precision = "s"
    headers: Headers | None = None
    auth: Auth | None = None
    ordered: Annotated[bool, Meta(description="false: no event waits for the one before it")] = True
    max_in_flight: InFlight | None = None
    rate_per_second: Rate | None = None
    retry_delays_seconds: Delays | None = None
    timeout_seconds: Timeout | None = None
    paused: bool = False
    tls: Tls | None = None


class EndpointPatch(Request, frozen=True):
    """Changes to an endpoint; null takes a value back. ``headers`` are merged one by one, ``auth`` and ``tls`` replaced."""

    REFUSED: ClassVar[Mapping[str, str]] = {"kind": "cannot be changed"}

    url: Url | UnsetType = UNSET
    form: Form | UnsetType = UNSET
    statuses: Statuses | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    timestamp_precision: Precision | UnsetType | None = UNSET
    headers: (
        Annotated[dict[str, str | None], Meta(description="null drops one", extra_json_schema=_HEADERS_SHOWN)]
        | UnsetType
        | None
    ) = UNSET
    auth: Auth | UnsetType | None = UNSET
    ordered: bool | UnsetType | None = UNSET
    max_in_flight: InFlight | UnsetType | None = UNSET
    rate_per_second: Rate | UnsetType | None = UNSET
    retry_delays_seconds: Delays | UnsetType | None = UNSET
    timeout_seconds: Timeout | UnsetType | None = UNSET
    paused: bool | UnsetType | None = UNSET
    tls: Tls | UnsetType | None = UNSET


class Rotate(Request, frozen=True):
    """A new secret. For so many seconds callbacks are signed with the old one too."""

    grace_seconds: Annotated[int, Meta(ge=0, le=604_800)] = 86_400


class Enable(Request, frozen=True):
    """Take callbacks again, and perhaps what was missed."""

    replay_missed: bool = False


class Replay(Request, frozen=True):
    """Which callbacks to tell again: what was given up, or all; of a time, of some statuses."""

    since: Annotated[Instant, Meta(description="happened (dead: given up) at or after")] | None = None
    until: Annotated[Instant, Meta(description="before")] | None = None
    statuses: Statuses | None = None
    which: Annotated[
        Literal["dead", "all", "missed"],
        Meta(
            description="dead: what was given up; all: also what was told; missed: what the endpoint was not told"
        ),
    ] = "dead"
    rate_per_second: Rate | None = None


class MessageReplay(Request, frozen=True):
    """Which of a message's callbacks to tell again; left out: all of them, to everybody."""

    endpoint_id: Annotated[str, Meta(max_length=64)] | None = None
    webhook_id: (
        Annotated[str, Meta(max_length=128, description="only the callback that came under this id")] | None
    ) = None


class Test(Request, frozen=True):
    """What the sample says."""

    status: Status = Status.ENQUEUED


class JobPatch(Request, frozen=True):
    """Pause a job, have it go on, end it, or change its pace."""

    state: Literal["running", "paused", "cancelled"] | None = None
    rate_per_second: Rate | None = None


class JobList(Page, frozen=True):
    """Which jobs; newest first."""

    mobile_app_id: Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9]+$"})] | None = None
