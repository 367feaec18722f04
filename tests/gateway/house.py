"""A whole house around the gateway: real store in memory, real engine, real uvicorn on loopback, real devices."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uuid_utils
import uvicorn
from tests.serving import Serving
from tests.waiting import again
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from homing.contract.status import NUMBER, Status
from homing.device import Device, Disconnected, Event, Message
from homing.engine import Engine
from homing.gateway import Gateway
from homing.gateway.hub import Online
from homing.gateway.protocol import DeviceSocketProtocol
from homing.identifiers import fold_identifier
from homing.model import Body, MessageId, uuid_bytes, uuid_text
from homing.passwords import hash_password
from homing.simulator.clock import VirtualClock
from homing.store.batch import Accept, Addressee, Batch, Committed
from homing.store.changes import CreateApp, CreateUser
from homing.store.port import Store
from homing.store.postgres import PostgresStore
from homing.store.sqlite import SqliteStore

APP_KEY = "app-key-1"
PASSWORD = "secret"
_hashes: list[str] = []
_BY_NUMBER = {number: status for status, number in NUMBER.items()}


class House:
    """What a test works with."""

    def __init__(self, store: Store, engine: Engine, gateway: Gateway, clock: VirtualClock) -> None:
        self.store = store
        self.engine = engine
        self.gateway = gateway
        self.clock = clock
        self.url = ""
        self.inboxes: list[bytes] = []
        self.was_quiet = True
        """Whether the gateway had nothing to do after it heard of the last commit."""
        engine.on_committed.append(self._committed)

    def _committed(self, batch: Batch, committed: Committed) -> None:
        self.inboxes += committed.incomings
        self.gateway.on_committed(committed)
        self.was_quiet = self.gateway.is_quiet()

    async def add_app(self, app: int = 1, app_key: str = APP_KEY) -> None:
        """Create an application."""
        await self.store.apply(CreateApp("app", app_key, id=app))

    async def add_user(self, identifier: str, *, app: int = 1) -> None:
        """Create a user with the one password."""
        folded = fold_identifier(identifier)
        if not _hashes:
            _hashes.append(await hash_password(PASSWORD))
        await self.store.apply(CreateUser(app, identifier, folded, _hashes[0]))

    async def post(
        self, text: str, *recipients: str, app: int = 1, ttl_s: int | None = None, body: Body | None = None
    ) -> str:
        """Accept a message, as the API does, and return its id."""
        addressees = tuple(Addressee(name, fold_identifier(name)) for name in recipients)
        message_id = MessageId(uuid_utils.uuid7().bytes)
        await self.engine.accept(Accept(message_id, app, None, body or Body(text), addressees, ttl_s))
        return uuid_text(message_id)

    async def statuses(self, message_id: str) -> list[list[Status]]:
        """Return what was said about each of a message's dispatches so far."""
        view = await self.store.message(uuid_bytes(message_id) or b"")
        assert view is not None
        return [[_BY_NUMBER[event.status] for event in dispatch.events] for dispatch in view.dispatches]

    async def until(self, fact: Callable[[], Awaitable[bool] | bool]) -> None:
        """Wait for a fact."""

        async def ask() -> bool:
            holds = fact()
            return holds if isinstance(holds, bool) else await holds

        await again(ask, bool, "what becomes of a frame is asked of the store")

    async def until_said(self, message_id: str, *expected: Status) -> None:
        """Wait until the first dispatch of a message has said just this."""

        async def said() -> bool:
            return (await self.statuses(message_id))[0] == list(expected)

        await self.until(said)

    async def device(self, identifier: str = "ann", app_key: str = APP_KEY) -> Device:
        """Return a device that is logged in."""
        device = Device(self.url, app_key, backoff_s=(0.001, 0.01))
        await device.login(identifier, PASSWORD)
        return device

    @asynccontextmanager
    async def socket(
        self,
        *,
        subprotocol: str | None = "homing.v1",
        path: str = "connect",
        headers: dict[str, str] | None = None,
    ) -> AsyncIterator[ClientConnection]:
        """Open a raw connection, to say whatever one likes."""
        async with connect(
            f"{self.url.replace('http', 'ws')}/device/1/{path}",
            subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
            additional_headers=headers,
            compression=None,
            proxy=None,
            ping_interval=None,
        ) as link:
            yield link


async def closed_with(link: ClientConnection) -> int | None:
    """Wait until the server closes, and return its code."""
    try:
        while True:
            await link.recv()
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


@asynccontextmanager
async def house(*, ping_s: float = 55.0, shared: str = "", **options: Any) -> AsyncIterator[House]:
    """Open a house with application 1 and the users ann and bob; ``options`` are the gateway's.

    ``shared`` is the address of a PostgreSQL's database: the house is one node on it, and the first one builds those.
    """
    clock = VirtualClock()
    online = Online()
    store: Store
    if shared:
        store = await PostgresStore.open(shared, clock=clock, online=online)
        online.said = lambda recipient, is_linked: store.link(recipient, is_linked=is_linked)
    else:
        store = await SqliteStore.open(":memory:", clock=clock, online=online)
    engine = Engine(store, clock)
    await engine.start()
    gateway = Gateway(
        engine=engine,
        registry=store,
        archive=store,
        epoch=lambda: store.store_id,
        clock=clock,
        online=online,
        is_shared=bool(shared),
        **options,
    )
    store.on_hint(gateway.on_hint)
    home = House(store, engine, gateway, clock)
    if not await store.apps(0, 1):
        await home.add_app()
        for name in ("ann", "bob"):
            await home.add_user(name)
    async with _serving(home, ping_s):
        yield home
    await gateway.close()
    await engine.close()
    await store.close()


@asynccontextmanager
async def _serving(home: House, ping_s: float) -> AsyncIterator[None]:
    """Serve the house's gateway on a loopback port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        home.gateway.app,
        ws=DeviceSocketProtocol,
        ws_max_size=64 * 1024,
        ws_ping_interval=ping_s,
        ws_ping_timeout=ping_s,
        ws_per_message_deflate=False,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    server = Serving(config)
    task = asyncio.create_task(server._serve(sockets=[listener]))
    await server.is_up.wait()
    home.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield
    finally:
        await home.gateway.close()
        server.should_exit = True
        await task
        listener.close()


async def first(device: Device) -> Event:
    """Return the next thing a device hears."""
    async for event in device.events():
        return event
    raise AssertionError("the link ended")


async def take(device: Device, count: int) -> list[Message]:
    """Return so many messages, without acknowledging them."""
    got: list[Message] = []
    async for event in device.events():
        assert isinstance(event, Message)
        got.append(event)
        if len(got) == count:
            return got
    raise AssertionError("the link ended")


async def ended(device: Device) -> Disconnected:
    """Wait until the server ends a device's link, and return how."""
    with pytest.raises(Disconnected) as caught:
        async for _ in device.events():
            pass
    return caught.value


async def online(home: House, identifier: str = "ann") -> Device:
    """Return a device with a live link."""
    device = await home.device(identifier)
    await device.connect()
    return device
