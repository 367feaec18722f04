"""Short words for what the ledger's contract suite does and looks at, through the port alone."""

import msgspec
from tests.store.fakes import NOON_MS, add_app, add_user, new_endpoint, send

from homing.model import DispatchKey, Endpoint, dispatch_key
from homing.store.batch import Attempt, Batch, Committed, Incoming, LaneWork, Settle, Verdict
from homing.store.port import Store
from homing.store.views import CallbackView

ATTEMPT = Attempt(at_ms=1, took_ms=2, code=204)
SOON_MS = NOON_MS + 5_000


class Town(msgspec.Struct, frozen=True):
    """One application, one person, one endpoint."""

    app: int
    ann: int
    endpoint: Endpoint


async def build_town(store: Store, **endpoint: object) -> Town:
    """Create an application with the user Ann and one endpoint; ``endpoint`` are fields of `CreateEndpoint`."""
    app = await add_app(store)
    ann = await add_user(store, app.id, "Ann")
    return Town(app.id, ann.id, await add_endpoint(store, app.id, **endpoint))


async def add_endpoint(store: Store, app: int, **given: object) -> Endpoint:
    """Create an endpoint; ``given`` are fields of `CreateEndpoint`."""
    endpoint = (await store.apply(new_endpoint(app, **given))).value
    assert isinstance(endpoint, Endpoint)
    return endpoint


async def post(store: Store, app: int, *names: str, **given: object) -> DispatchKey:
    """Accept one message and return the key of its first dispatch."""
    return dispatch_key(await send(store, app, *names, **given), 0)  # type: ignore[arg-type]


def incoming(store: Store, town: Town, message: bytes, **given: object) -> Incoming:
    """Return a message from Ann's phone; ``given`` are fields of `Incoming`."""
    fields: dict[str, object] = {"identifier": "Ann", "device": "phone", "text": "hi", **given}
    return Incoming(message, town.app, town.ann, **fields)  # type: ignore[arg-type]


def settled(key: bytes, endpoint: int, n: int, verdict: Verdict = Verdict.DONE, **given: object) -> Settle:
    """Return what a courier says after a try; ``given`` are fields of `Settle`."""
    fields: dict[str, object] = {"tries": 0, "attempt": ATTEMPT, **given}
    return Settle(DispatchKey(key), endpoint, n, verdict=verdict, **fields)  # type: ignore[arg-type]


async def settle(store: Store, *settles: Settle) -> Committed:
    """Commit outcomes."""
    return await store.commit(Batch(settles=list(settles)))


async def told(store: Store, key: bytes) -> dict[str, CallbackView]:
    """Return what each endpoint was told, and must be, of one dispatch: endpoint's uid → view."""
    return {view.endpoint_uid: view for view in await store.callbacks(key[:16]) if view.key == key}


def numbers(works: list[LaneWork]) -> list[tuple[int, list[int], int, bool]]:
    """Return (endpoint, event numbers, tries, fresh) of each work."""
    return [(w.endpoint, [n for n, _status, _at_ms in w.events], w.tries, w.fresh) for w in works]
