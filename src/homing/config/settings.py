"""Every key an operator may set, declared once: type, bounds, default, and the reason for the default."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Meta


class Role(StrEnum):
    """A part of the work; a node does those that it is given."""

    API = "api"
    """Answers back ends."""
    GATEWAY = "gateway"
    """Holds the devices' links."""
    CALLBACKS = "callbacks"
    """Tells customers."""
    CHANNELS = "channels"
    """Pushes, and sends SMS."""


ROLES: Final = tuple(role.value for role in Role)
ALL: Final = "all"
SQLITE: Final = "sqlite:///"
POSTGRESQL: Final = ("postgresql://", "postgres://")

MESSAGES_DAYS: Final = 14
"""Messages are kept for so long at the least: everything that is still to come of them has come by then."""

Seconds = Annotated[float, Meta(ge=0.1, le=432_000)]


class Secret:
    """A text that no log, traceback or ``config show`` shows; `reveal` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "[hidden]"

    def reveal(self) -> str:
        """Return the text, for the one place that needs it."""
        return self._text


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[server]``"""

    listen: Annotated[
        str, Meta(description="only this machine, until somebody decides otherwise; put TLS in front of it")
    ] = "127.0.0.1:8480"
    base_url: Annotated[str, Meta(description="empty: links lead to where the caller asked")] = ""
    roles: Annotated[
        tuple[str, ...], Meta(description="a node does everything, until somebody divides the work")
    ] = ROLES
    processes: Annotated[
        int, Meta(ge=1, le=64, description="more than one only where several nodes share a PostgreSQL")
    ] = 1
    metrics_listen: Annotated[
        str, Meta(description="empty: only at listen; needed where several processes share that")
    ] = ""

    def has(self, role: Role) -> bool:
        """Say whether this node has a role."""
        return role in self.roles or ALL in self.roles


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[store]``"""

    url: Annotated[
        str,
        Meta(
            description="the embedded store, in a directory of its own; postgresql://… is shared by several nodes"
        ),
    ] = "sqlite:///homing-data/homing.db"
    retention_messages_days: Annotated[
        int,
        Meta(
            ge=0,
            le=3_650,
            description="0: for ever; messages with their events are what nobody but their owner can call old",
        ),
    ] = 0
    retention_attempts_days: Annotated[
        int, Meta(ge=1, le=3_650, description="the log of callbacks that were taken: a week to look back")
    ] = 7
    retention_failures_days: Annotated[
        int, Meta(ge=1, le=3_650, description="the log of tries that failed: what somebody will ask about")
    ] = 30
    retention_dead_days: Annotated[
        int, Meta(ge=1, le=3_650, description="what was given up can be replayed for so long")
    ] = 90

    @property
    def is_shared(self) -> bool:
        """Whether the store is a PostgreSQL, which several nodes may share."""
        return self.url.startswith(POSTGRESQL)

    def path(self) -> str:
        """Return the path of the embedded store's file."""
        return self.url.removeprefix(SQLITE)


class Callbacks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[callbacks]``"""

    user_agent: Annotated[
        str, Meta(min_length=1, pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$",
                  description="what receivers of the callback contract know and may filter by")
    ] = "Catapush"  # fmt: skip
    retry_delays_seconds: Annotated[
        tuple[Seconds, ...],
        Meta(
            min_length=1,
            max_length=32,
            description="12 tries over 76 hours: a weekend's outage loses nothing",
        ),
    ] = (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    timeout_seconds: Annotated[
        float,
        Meta(ge=1, le=15, description="a whole exchange; no try may outlive its node's term of ownership"),
    ] = 15.0
    max_in_flight: Annotated[
        int, Meta(ge=1, le=2_000, description="per endpoint: a customer 50 ms away needs hundreds")
    ] = 256
    allow: Annotated[
        tuple[str, ...], Meta(description="hosts and CIDRs opened to callbacks; none: only public addresses")
    ] = ()
    dangerous_allow_private: Annotated[
        bool, Meta(description="a tenant's callback must not reach the operator's own network")
    ] = False


class Push(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[push]``: nothing yet"""


class Sms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[sms]``: nothing yet"""


class Security(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[security]``"""

    master_key_file: Annotated[
        str, Meta(description="beside the store; made with a new one, and to be backed up apart from it")
    ] = ""


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[telemetry]``"""

    log_format: Annotated[Literal["json", "text"], Meta(description="one object a line, for machines")] = (
        "json"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="facts, but not every single callback"),
    ] = "info"
    metrics: Annotated[bool, Meta(description="/metrics names no person and costs next to nothing")] = True


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything an operator decides; ``Settings()`` is all defaults."""

    server: Server = Server()
    store: Store = Store()
    callbacks: Callbacks = Callbacks()
    push: Push = Push()
    sms: Sms = Sms()
    security: Security = Security()
    telemetry: Telemetry = Telemetry()

    def data_path(self) -> Path:
        """Return the data directory: where the embedded store's file lies; with a shared store, the master key's."""
        if self.store.is_shared:
            return Path(self.security.master_key_file).parent
        return Path(self.store.path()).parent

    def master_key_path(self) -> Path:
        """Return the file of the master key."""
        named = self.security.master_key_file
        return Path(named) if named else self.data_path() / "master.key"


LATER: Final = {
    "server.limits": "limits of requests are fixed",
    "callbacks.proxy": "callbacks are sent directly",
    "push.apns_url": "pushes reach only the simulator",
    "push.fcm_url": "pushes reach only the simulator",
    "sms.carrier": "SMS reach only the simulator",
    "telemetry.otlp": "traces are not sent; metrics are at /metrics",
}
"""Keys that a later release brings, and what is so until then."""

Origin = Literal["default", "file", "environment", "flag"]


class Key(NamedTuple):
    """One key: its default, why that, and its type."""

    default: object
    reason: str
    type: object

    @property
    def is_text(self) -> bool:
        """Any text is of the right type."""
        return self.type is str

    @property
    def is_list(self) -> bool:
        """Several values, of the type `item`."""
        return get_origin(self.type) is tuple

    @property
    def item(self) -> object:
        """The type of a list's values."""
        return get_args(self.type)[0]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that are allowed, where only some are."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()


def _keys() -> dict[str, Key]:
    keys = {}
    for section in msgspec.structs.fields(Settings):
        for field in msgspec.structs.fields(section.type):
            plain, *marks = get_args(field.type)
            reason = next(mark.description for mark in marks if isinstance(mark, Meta))
            keys[f"{section.name}.{field.name}"] = Key(field.default, reason or "", plain)
    return keys


KEYS: Final = _keys()
"""Every key there is, in the order of its declaration."""
