"""Changes of configuration, as data: what back ends, devices and operators may alter outside the hot path."""

import msgspec

from homing.model import EndpointOptions, FallbackSettings, ReplaySpec


class CreateApp(msgspec.Struct, frozen=True):
    """→ `App`. ``id`` None takes the next free one, from 1; a taken one is a `Conflict`."""

    name: str
    app_key: str
    id: int | None = None
    mode: str = "live"
    ttl_s: int | None = None
    fallback: FallbackSettings = FallbackSettings()
    callback_secret: bytes | None = None


class RotateAppSecret(msgspec.Struct, frozen=True):
    """→ `App`. A new callback secret; the old one signs as well until ``previous_until_ms`` (None: not any more)."""

    id: int
    secret: bytes
    previous_until_ms: int | None


class UpdateApp(msgspec.Struct, frozen=True):
    """→ `App`. Replaces all of these (the caller merged the patch)."""

    id: int
    name: str
    mode: str
    ttl_s: int | None
    fallback: FallbackSettings


class DeleteApp(msgspec.Struct, frozen=True):
    """→ None. Takes its users, devices and endpoints along; its messages' history stays."""

    id: int


class CreateUser(msgspec.Struct, frozen=True):
    """→ `User`; a taken identifier (``folded``) is a `Conflict`, an unknown application `NotFound`."""

    app: int
    identifier: str
    folded: str
    password_hash: str
    mobile_number: str | None = None
    attributes: dict[str, object] | None = None


class UpdateUser(msgspec.Struct, frozen=True):
    """→ `User`. ``password_hash`` None keeps the password; the rest is replaced."""

    app: int
    folded: str
    password_hash: str | None
    mobile_number: str | None
    attributes: dict[str, object] | None


class DeleteUser(msgspec.Struct, frozen=True):
    """→ the ids (list[str]) of the devices that went with the user."""

    app: int
    folded: str


class CreateEndpoint(msgspec.Struct, frozen=True):
    """→ `Endpoint`. ``secret`` is sealed, ``statuses`` a bitset or None for all."""

    app: int
    uid: str
    kind: str
    url: str
    form: str
    secret: bytes
    statuses: int | None = None
    precision: str = "s"
    description: str | None = None
    options: EndpointOptions = EndpointOptions()
    credentials: bytes | None = None
    paused: bool = False


class UpdateEndpoint(msgspec.Struct, frozen=True):
    """→ `Endpoint`. Replaces all of these (the caller merged the patch)."""

    app: int
    uid: str
    url: str
    form: str
    statuses: int | None
    precision: str
    description: str | None
    options: EndpointOptions = EndpointOptions()
    credentials: bytes | None = None
    paused: bool = False


class RotateEndpointSecret(msgspec.Struct, frozen=True):
    """→ `Endpoint`. A new secret; the old one signs as well until ``previous_until_ms`` (None: not any more)."""

    app: int
    uid: str
    secret: bytes
    previous_until_ms: int | None


class EnableEndpoint(msgspec.Struct, frozen=True):
    """→ `Endpoint`, active again; ``disabled_at_ms`` stays. Harmless if it was not disabled (a rest ends)."""

    app: int
    uid: str


class SetEndpointHealth(msgspec.Struct, frozen=True):
    """→ `Endpoint` | None if it is gone or disabled. ``state`` is "resting" or "active".

    Going to rest tells the application's endpoints of kind ``operations`` (``endpoint.resting``); a state it has
    already changes nothing and tells nobody.
    """

    id: int
    state: str
    reason: str | None = None
    failing_since_ms: int | None = None


class OpenNotify(msgspec.Struct, frozen=True):
    """→ `Endpoint` of kind ``notify``: the application's for this origin (``https://host:port``), made or enabled if need be."""

    app: int
    origin: str


class EndNotify(msgspec.Struct, frozen=True):
    """→ None. A message's own ``notifyCallback`` is gone (410): its dispatches open no more lanes, to nobody."""

    message_id: bytes


class CreateJob(msgspec.Struct, frozen=True):
    """→ `Job`, running; an unknown application is `NotFound`."""

    uid: str
    app: int
    spec: ReplaySpec
    rate: float | None = None


class UpdateJob(msgspec.Struct, frozen=True):
    """→ `Job`; `NotFound` if there is none, `Conflict` if it has ended. None leaves a value as it is.

    ``state`` is running, paused or cancelled; cancelling drops the lanes it opened that were not told yet.
    """

    uid: str
    state: str | None = None
    rate: float | None = None
    total: int | None = None


class OpenListener(msgspec.Struct, frozen=True):
    """→ `Listener`, held by ``lease`` until ``until_ms``; made with ``secret`` (sealed) if it is not there.

    `Conflict` naming the holder while another lease holds it, unless ``takes_over``. ``position`` None goes on where it
    stopped; a new one begins at the end of the feed. ``now_ms`` is real time. What nobody held for 90 days is forgotten.
    """

    reach: tuple[int, ...] | None
    name: str
    apps: tuple[int, ...] | None
    secret: bytes
    holder: str
    lease: str
    now_ms: int
    until_ms: int
    position: int | None = None
    takes_over: bool = False


class MoveListener(msgspec.Struct, frozen=True):
    """→ `Listener`; `NotFound` if there is none, `Conflict` if another lease holds it or was the last to.

    ``position`` only moves it on, never back and never beyond the end of the feed.
    """

    reach: tuple[int, ...] | None
    name: str
    lease: str
    position: int
    now_ms: int
    until_ms: int


class DeleteListener(msgspec.Struct, frozen=True):
    """→ None; `NotFound` if there is none."""

    reach: tuple[int, ...] | None
    name: str


class DeleteEndpoint(msgspec.Struct, frozen=True):
    """→ the `Endpoint` that was. Its lanes go with it, its attempts stay until their retention ends."""

    app: int
    uid: str


class DisableEndpoint(msgspec.Struct, frozen=True):
    """→ `Endpoint` | None if it is gone. It gets no new lanes; the couriers give up the ones it has.

    Tells the application's endpoints of kind ``operations`` (``endpoint.disabled``), unless it was disabled already.
    """

    id: int
    reason: str


class CreateToken(msgspec.Struct, frozen=True):
    """→ `Token`. ``kind`` is "token", "client" (for OAuth2) or "access" (made by OAuth2)."""

    id: str
    name: str
    kind: str
    digest: bytes
    scopes: tuple[str, ...]
    apps: tuple[int, ...] | None
    expires_at_ms: int | None = None


class DeleteToken(msgspec.Struct, frozen=True):
    """→ None; `NotFound` if there is none."""

    id: str


class SaveDevice(msgspec.Struct, frozen=True):
    """→ `Device`. A new device, or a new login of one the same user already has (its token is replaced)."""

    id: str
    recipient: int
    app: int
    platform: str
    token_digest: bytes
    name: str | None = None


class SetPushToken(msgspec.Struct, frozen=True):
    """→ `Device`. The same push token is taken away from any other device that had it."""

    device: str
    platform: str
    token: str
    environment: str | None = None


class RetirePushToken(msgspec.Struct, frozen=True):
    """→ None. Only if the device still has this very token: a late refusal must not kill a newer one."""

    device: str
    token: str


class RemoveDevice(msgspec.Struct, frozen=True):
    """→ None. Logs the device out and forgets its push token; harmless if it is gone."""

    device: str


class TouchDevices(msgspec.Struct, frozen=True):
    """→ None. ``seen`` are (device id, cursor, last seen ms); a cursor never moves back within an epoch."""

    seen: tuple[tuple[str, int, int], ...]


class TouchEndpoints(msgspec.Struct, frozen=True):
    """→ None. ``succeeded`` are (endpoint id, time of its last 2xx in ms)."""

    succeeded: tuple[tuple[int, int], ...]


Change = (
    CreateApp | UpdateApp | DeleteApp | RotateAppSecret
    | CreateUser | UpdateUser | DeleteUser
    | CreateEndpoint | UpdateEndpoint | DeleteEndpoint | DisableEndpoint | TouchEndpoints
    | RotateEndpointSecret | EnableEndpoint | SetEndpointHealth | OpenNotify | EndNotify
    | CreateJob | UpdateJob
    | OpenListener | MoveListener | DeleteListener
    | CreateToken | DeleteToken
    | SaveDevice | SetPushToken | RetirePushToken | RemoveDevice | TouchDevices
)  # fmt: skip
