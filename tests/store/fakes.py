"""What the store's contract suite works with: a clock that stands still, ids of an instant, ready changes."""

import itertools
from collections.abc import Callable

from homing.contract.status import NUMBER, Status
from homing.lifecycle.dispatch import Input
from homing.model import App, Body, DispatchKey, MessageId, User, dispatch_key
from homing.store.batch import Accept, Accepted, Addressee, Batch, Occurrence
from homing.store.changes import CreateApp, CreateEndpoint, CreateUser, SaveDevice
from homing.store.port import Store

NOON_MS = 1_700_000_000_000
"""Where a `StillClock` starts."""
DAY_MS = 24 * 3600 * 1000
_serial = itertools.count(1)


class Silence:
    """An alarm that never rings."""

    def cancel(self) -> None:
        pass


class StillClock:
    """A clock that moves only when a test sets ``ms``."""

    def __init__(self) -> None:
        self.ms = NOON_MS

    def now_ms(self) -> int:
        return self.ms

    def at(self, when_ms: int, ring: Callable[[], None]) -> Silence:
        return Silence()


def message_id(at_ms: int) -> MessageId:
    """Return a new UUIDv7 of an instant; those of one instant ascend."""
    return MessageId(at_ms.to_bytes(6, "big") + b"\x70\x00\x80\x00" + next(_serial).to_bytes(6, "big"))


async def add_app(store: Store, **given: object) -> App:
    """Create an application; ``given`` are fields of `CreateApp`."""
    fields: dict[str, object] = {"name": "bank", "app_key": f"key-{next(_serial)}", **given}
    app = (await store.apply(CreateApp(**fields))).value  # type: ignore[arg-type]
    assert isinstance(app, App)
    return app


async def add_user(store: Store, app: int, identifier: str, **given: object) -> User:
    """Create a user; ``given`` are fields of `CreateUser`."""
    fields: dict[str, object] = {"folded": identifier.casefold(), "password_hash": "hash", **given}
    user = (await store.apply(CreateUser(app=app, identifier=identifier, **fields))).value  # type: ignore[arg-type]
    assert isinstance(user, User)
    return user


def new_endpoint(app: int, **given: object) -> CreateEndpoint:
    """Return the change that makes an endpoint."""
    fields: dict[str, object] = {
        "uid": f"endpoint-{next(_serial)}", "kind": "status", "url": "http://127.0.0.1/", "form": "json",
        "secret": b"sealed", **given,
    }  # fmt: skip
    return CreateEndpoint(app=app, **fields)  # type: ignore[arg-type]


def login(user: User, device: str, **given: object) -> SaveDevice:
    """Return the change that a login on a device makes."""
    fields: dict[str, object] = {"platform": "ios", "token_digest": f"digest of {device}".encode(), **given}
    return SaveDevice(id=device, recipient=user.id, app=user.app, **fields)  # type: ignore[arg-type]


async def send(store: Store, app: int, *names: str, at_ms: int | None = None, **given: object) -> MessageId:
    """Accept one message to these recipients; ``given`` are fields of `Accept`."""
    fields: dict[str, object] = {
        "message_id": message_id(store.now_ms() if at_ms is None else at_ms),
        "ref": None, "body": Body("hello"),
        "addressees": tuple(Addressee(name, name.casefold()) for name in names), **given,
    }  # fmt: skip
    accept = Accept(app=app, **fields)  # type: ignore[arg-type]
    committed = await store.commit(Batch(accepts=[accept]))
    assert isinstance(committed.accepts[0], Accepted)
    return accept.message_id


async def happen(store: Store, message: bytes, what: Input, position: int = 0) -> DispatchKey:
    """Let something happen to one dispatch."""
    key = dispatch_key(message, position)
    await store.commit(Batch(occurrences=[Occurrence(key, what)]))
    return key


def number(status: Status) -> int:
    """Return how a store keeps a status."""
    return NUMBER[status]
