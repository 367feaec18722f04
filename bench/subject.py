"""The process that is measured: a whole node on core 0, driven from inside where PERFORMANCE goals leave HTTP out.

``python -m bench.subject drain|life JSON`` prints one JSON line when it is ready, waits for a line, prints one with what it
measured, and waits again before it closes its store. The store is a real file, or database, with every commit synced; callbacks go to the sink the caller names.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uuid_utils
import uvloop

from homing.callbacks.directory import secret_context
from homing.channels.ports import Channels
from homing.channels.push import PushOutcome, PushRequest, PushVerdict
from homing.clock import RealClock
from homing.config import Settings, load
from homing.contract.signature import secret_from_bytes
from homing.engine import Engine
from homing.lifecycle.dispatch import Read, Received
from homing.model import Body, Endpoint, EndpointOptions, MessageId, User, dispatch_key
from homing.node import Ends, Node
from homing.store.batch import Accept, Addressee, Batch, Committed, Occurrence
from homing.store.changes import CreateApp, CreateEndpoint, CreateUser, SaveDevice, SetPushToken
from homing.store.port import Store
from homing.store.postgres import PostgresStore
from homing.store.sqlite import SqliteStore
from homing.vault import Vault

_ACCEPTED = PushOutcome(PushVerdict.ACCEPTED)
USERS = 1_000
_BODY = Body("Your parcel is here")


class AcceptingPush:
    """A push service that accepts at once: what waits for the real one's network is not ours to measure."""

    async def push(self, job: PushRequest) -> PushOutcome:
        """Accept."""
        del job
        return _ACCEPTED


def settings_in(data: Path, url: str = "") -> Settings:
    """Settings of a node that keeps its store in ``data``, or in the database at ``url``, and may call back to loopback."""
    return load(
        None,
        {
            "HOMING_STORE__URL": url or f"sqlite:///{data / 'homing.db'}",
            "HOMING_SECURITY__MASTER_KEY_FILE": str(data / "master.key"),
            "HOMING_CALLBACKS__ALLOW": '["127.0.0.0/8"]',
            "HOMING_TELEMETRY__LOG_LEVEL": "warning",
        },
    ).settings


async def fill(
    settings: Settings, urls: list[str], messages: int = 0, *, wakeable: bool = True, ca: str | None = None
) -> None:
    """Make an application, its users (each with a phone that can be woken), an endpoint per URL, and a backlog.

    In a store that holds these users already (`bench.stock`, `bench.database`), the rest.
    """
    async with unsynced(settings) as (vault, store):
        if await store.app(1) is None:
            await store.apply(CreateApp(name="bench", app_key="bench"))
        # Copies of a database have them all (`bench.database`).
        for number in range(0 if settings.store.is_shared else USERS):
            await add_phone(store, number, wakeable=wakeable)
        for url in urls:
            await add_endpoint(store, vault, 1, url, EndpointOptions(ca=ca))
        await _backlog(store, messages)


async def add_phone(store: Store, number: int, *, wakeable: bool) -> None:
    """A user, if there is none of this number, and a phone that can or cannot be woken."""
    user = f"user{number}"
    known = await store.user(1, user)
    if known is None:
        known = await add_user(store, 1, user)
    device = f"device{number}"
    await store.apply(SaveDevice(device, known.id, 1, "android", os.urandom(32)))
    if wakeable:
        await store.apply(SetPushToken(device, "android", f"token{number}"))


async def _backlog(store: Store, messages: int) -> None:
    """Record messages whose every lane is the store's."""
    engine = Engine(store, RealClock())
    everyone = frozenset(endpoint.id for endpoint in await store.endpoints(None))
    engine.born_free = lambda: everyone
    await engine.start()
    for start in range(0, messages, 500):
        await asyncio.gather(*(engine.accept(message(n)) for n in range(start, min(messages, start + 500))))
    await engine.close()


@asynccontextmanager
async def unsynced(settings: Settings) -> AsyncIterator[tuple[Vault, Store]]:
    """What seals secrets, and the store to fill before anything is measured: a file is synced once, at the end."""
    if settings.store.is_shared:
        vault = Vault.load_or_create(settings.master_key_path())
        shared = await PostgresStore.open(settings.store.url, key_id=vault.key_id)
        yield vault, shared
        await shared.close()
        return
    path = Path(settings.store.path())
    path.parent.mkdir(parents=True, exist_ok=True)
    vault = Vault.load_or_create(settings.master_key_path())
    store = await SqliteStore.open(str(path), clock=RealClock(), key_id=vault.key_id, synchronous="OFF")
    yield vault, store
    await store.close()
    sync(path)


def sync(path: Path) -> None:
    """Have all of a file on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


async def add_user(store: Store, app: int, name: str) -> User:
    """A user without a device."""
    user = (await store.apply(CreateUser(app, name, name, "no password"))).value
    assert isinstance(user, User)
    return user


async def add_endpoint(store: Store, vault: Vault, app: int, url: str, options: EndpointOptions) -> int:
    """An endpoint for statuses, signed, in JSON; its id."""
    uid = str(uuid_utils.uuid7())
    secret = vault.seal(secret_from_bytes(os.urandom(32)).encode(), secret_context(uid))
    endpoint = (
        await store.apply(CreateEndpoint(app, uid, "status", url, "json", secret, options=options))
    ).value
    assert isinstance(endpoint, Endpoint)
    return endpoint.id


async def open_node(settings: Settings) -> Node:
    """A node whose pushes are accepted at once."""
    channels = Channels(push={"android": AcceptingPush()})
    return await Node.open(settings, ends=Ends(channels_for=lambda _mode: channels))


def message(number: int) -> Accept:
    """One message to one user."""
    user = f"user{number % USERS}"
    return Accept(MessageId(uuid_utils.uuid7().bytes), 1, f"ref{number}", _BODY, (Addressee(user, user),))


def cpu_s() -> float:
    """User and system time of this process so far."""
    times = os.times()
    return times.user + times.system


async def tell(measured: dict[str, float]) -> None:
    """Say what was measured, and wait until whoever reads a server's counters has done so."""
    print(json.dumps(measured), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def quiet(node: Node) -> None:
    """Wait until every callback is settled on disk."""
    while not node.is_quiet():  # noqa: ASYNC110 - quiet is a state of many parts, no event of one
        await asyncio.sleep(0.005)


async def let_go() -> None:
    """Say that this process is ready, and wait until it is let go."""
    print("{}", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def drain(order: dict[str, Any], settings: Settings) -> None:
    """P1: callbacks per second from events that are recorded already, every lane in the store, start included."""
    urls = order["urls"]
    messages = max(1, order["events"] // len(urls))
    await fill(settings, urls, messages, wakeable=False, ca=order.get("ca"))
    await let_go()
    began, cpu = time.perf_counter(), cpu_s()
    node = await open_node(settings)
    await quiet(node)
    took, spent = time.perf_counter() - began, cpu_s() - cpu
    told = messages * len(urls)
    await tell({"per_s": told / took, "cpu_us": spent / told * 1e6, "callbacks": told, "took_s": took})
    await node.close()


async def life(order: dict[str, Any], settings: Settings) -> None:
    """P3: whole lives, so many open at a time; push and receipts arrive in the process, callbacks go out by HTTP.

    Each of several nodes (``order["nodes"]``) has users of its own.
    """
    nth, nodes = order.get("nth", 0), order.get("nodes", 1)
    if nth == 0:
        await fill(settings, order["urls"])
    node = await open_node(settings)
    waiting: dict[bytes, asyncio.Future[None]] = {}

    def pushed(_batch: Batch, committed: Committed) -> None:
        for event in committed.recorded:
            if event.n == 2 and (future := waiting.pop(event.key, None)) is not None:
                future.set_result(None)

    node.engine.on_committed.append(pushed)
    await let_go()
    loop = asyncio.get_running_loop()
    stop_at = loop.time() + order["seconds"]
    lives = 0

    async def one(number: int) -> None:
        nonlocal lives
        while loop.time() < stop_at:
            accept = message(number * nodes + nth)
            key = dispatch_key(accept.message_id, 0)
            waiting[key] = future = loop.create_future()
            await node.engine.accept(accept)
            await future
            await node.engine.record([Occurrence(key, Received())])
            await node.engine.record([Occurrence(key, Read())])
            lives += 1
            number += order["open"]

    began, cpu = time.perf_counter(), cpu_s()
    await asyncio.gather(*(one(number) for number in range(order["open"])))
    await quiet(node)
    took, spent = time.perf_counter() - began, cpu_s() - cpu
    await tell(
        {"per_s": lives / took, "cpu_us": spent / lives / 4 * 1e6, "callbacks": 4 * lives, "cpu_s": spent}
    )
    await node.close()


_PARTS = {"drain": drain, "life": life}


def main() -> None:
    """Run the part that is named, pinned to core 0, in the home that it is given."""
    part, order = sys.argv[1], json.loads(sys.argv[2])
    os.sched_setaffinity(0, {0})
    uvloop.run(_PARTS[part](order, settings_in(Path(order["data"]), order["url"])))


if __name__ == "__main__":
    main()
