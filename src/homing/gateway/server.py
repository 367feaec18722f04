"""The gateway: everything under ``/device``, as one ASGI application, and the sink that brings devices what is new.

It admits, tends and ends connections; what a connection does is `connection`'s, what a call answers is `calls`'.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

from homing.clock import Clock
from homing.errors import HomingError, InvalidRequest, NotFound, Unavailable
from homing.gateway.calls import Calls
from homing.gateway.connection import Connection
from homing.gateway.exchange import bearer, problem, refuse_upgrade
from homing.gateway.frames import SUBPROTOCOL
from homing.gateway.hub import Holder, Hub
from homing.gateway.login import ADDRESS_BURST, NAME_BURST, Login
from homing.gateway.longpoll import LongPoll
from homing.gateway.parts import Parts
from homing.gateway.ports import Devices, Inbox, Receive, Recorder, Scope, Send
from homing.model import Device
from homing.store.batch import Changed, Committed
from homing.store.changes import Change, DeleteApp, DeleteUser, RemoveDevice, SaveDevice, TouchDevices
from homing.telemetry import LogEvent, logger

HELLO_S: Final = 10.0
BYE_SPREAD_S: Final = 60
"""Over how long devices come back after a restart."""
CLOSE_S: Final = 5.0
"""How long devices get to take their bye."""
TEND_S: Final = 5.0
"""How often cursors are written down; all of them at the heartbeat, before it only those of devices that left."""
HEARTBEAT_S: Final = 25.0
"""How often the store is asked for what nobody told us of: a hint was lost, a commit's outcome was unknown. With `TEND_S`: within 30 s."""
HEARTBEAT_DEVICES: Final = 500
HEARTBEAT_MESSAGES: Final = 2_000
"""How many messages are asked for at once whether they were read or are gone."""


class Gateway:
    """Devices' door. ``app`` serves ``/device/…``; plug `on_committed` into the engine; `close` says bye.

    ``online``, shared with the store, holds the recipients that have a live link. ``is_shared``: other nodes record too,
    and their word may be lost. All time limits here are real time; only messages' expiry follows ``clock``.
    """

    def __init__(
        self,
        *,
        engine: Recorder,
        registry: Devices,
        archive: Inbox,
        epoch: Callable[[], str],
        clock: Clock,
        online: set[int] | None = None,
        is_shared: bool = False,
        hello_s: float = HELLO_S,
        name_burst: int = NAME_BURST,
        address_burst: int = ADDRESS_BURST,
        rng: random.Random | None = None,
    ) -> None:
        self.online: set[int] = set() if online is None else online
        self._hub = Hub(self.online)
        self._parts = Parts(self._hub, engine, registry, archive, clock, epoch)
        self._polls = LongPoll(self._parts)
        login = Login(registry, epoch, name_burst=name_burst, address_burst=address_burst)
        self._calls = Calls(self._parts, login, self._polls)
        self._hello_s = hello_s
        self._rng = rng or random.Random()
        self._connections: set[Connection] = set()
        self._all_gone = asyncio.Event()
        self._seen: dict[str, tuple[int, int]] = {}
        self._is_closing = False
        self._tender: asyncio.Task[None] | None = None
        self._is_shared = is_shared
        self._hinted: set[int] = set()
        self._fetching: asyncio.Task[None] | None = None
        registry.watch(self._changed)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection (ASGI)."""
        if self._tender is None and not self._is_closing:
            self._tender = asyncio.create_task(self._tend(), name="gateway")
        if scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        elif scope["type"] == "http":
            await self._calls(scope, receive, send)

    def on_committed(self, committed: Committed) -> None:
        """Bring connected devices what was just committed; never waits."""
        self._hub.committed(committed)

    def on_hint(self, recipients: Sequence[int], changes: Sequence[Changed]) -> None:
        """Hear what another node stored (plug this into `Hints.on_hint`): what was read or is gone is told, messages fetched."""
        self._hub.changed(changes)
        self._hinted.update(recipients)
        if self._hinted and self._fetching is None and not self._is_closing:
            self._fetching = asyncio.create_task(self._fetch(), name="gateway-hints")

    def rewound(self) -> None:
        """Hear that the store may be an older state of itself (plug this into `Ownership.on_rewound`): devices begin anew.

        They are told to come back spread over a minute: it is no time for a storm.
        """
        self._seen.clear()
        self._polls.rewound()
        for connection in list(self._connections):
            connection.say_bye(self._rng.randint(0, BYE_SPREAD_S))

    async def recheck(self) -> None:
        """End the links of devices that were logged out unheard: changes may have been missed (after `Ownership.on_lost`)."""
        for link in self._hub:
            device = await self._parts.devices.device(link.token_digest)
            if device is None and self._hub.link_of(link.device) is link:
                self._log_out([link.device])

    @property
    def connected(self) -> int:
        """How many devices have a live connection."""
        return len(self._hub)

    def is_quiet(self) -> bool:
        """Say whether no frame or call is half-way, and nothing is to be sent just now. Devices need not have acked."""
        are_calls_resting = self._calls.in_flight == self._polls.count_resting()
        return are_calls_resting and all(connection.is_quiet() for connection in self._connections)

    async def close(self) -> None:
        """Say bye to all devices, each with its own time to come back, and return when they are gone (at most 5 s)."""
        self._is_closing = True
        self._polls.close()
        for connection in list(self._connections):
            connection.say_bye(self._rng.randint(0, BYE_SPREAD_S))
        if self._connections:
            self._all_gone.clear()
            try:
                await asyncio.wait_for(self._all_gone.wait(), CLOSE_S)
            except TimeoutError:
                pass
        if self._tender is not None:
            self._tender.cancel()
            await asyncio.gather(self._tender, return_exceptions=True)
            self._tender = None
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._write_down()

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        offered = scope.get("subprotocols") or []
        refused: HomingError | None = None
        if scope["path"] != "/device/1/connect":
            refused = NotFound("there is nothing at this path")
        elif offered and SUBPROTOCOL not in offered:
            refused = InvalidRequest(f"the subprotocol here is {SUBPROTOCOL}")
        elif self._is_closing:
            refused = Unavailable("this node is stopping", retry_after_s=self._rng.randint(1, BYE_SPREAD_S))
        if refused is not None:
            await refuse_upgrade(send, problem(refused))
            return
        connection = Connection(receive, send, self._parts)
        self._connections.add(connection)
        try:
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None})
            await connection.run(bearer(scope), self._hello_s)
        except OSError:
            pass  # the device left before it was let in
        finally:
            self._connections.discard(connection)
            if connection.device:
                self._note(connection)
            if not self._connections:
                self._all_gone.set()

    def _note(self, connection: Connection) -> None:
        self._seen[connection.device] = (connection.session.cursor, self._parts.clock.now_ms())

    def _changed(self, change: Change, value: object) -> None:
        """End the connections of devices whose token no longer holds."""
        match change:
            case RemoveDevice():
                self._log_out([change.device])
            case SaveDevice() if isinstance(value, Device):
                self._polls.forget(value.id)
                # Word of a login at another node may come after the link that was opened with it.
                link = self._hub.link_of(value.id)
                if link is not None and link.token_digest != value.token_digest:
                    self._hub.end_devices([value.id])
            case DeleteUser() if isinstance(value, list):
                self._log_out(value)
            case DeleteApp():
                self._hub.end_app(change.id)
            case _:
                pass

    def _log_out(self, devices: list[str]) -> None:
        self._hub.end_devices(devices)
        for device in devices:
            self._polls.forget(device)

    async def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        beat_s = loop.time() + HEARTBEAT_S
        while True:
            await asyncio.sleep(TEND_S)
            try:
                if loop.time() >= beat_s:
                    beat_s = loop.time() + HEARTBEAT_S
                    await self._heartbeat()
                    if self._is_shared:
                        await self._find_endings()
                await self._write_down()
            except HomingError as error:
                logger().warning(LogEvent.REQUEST_FAILED, what="heartbeat", error=repr(error))

    async def _fetch(self) -> None:
        try:
            while self._hinted:
                some = [self._hinted.pop() for _ in range(min(len(self._hinted), HEARTBEAT_DEVICES))]
                self._hub.stored(await self._parts.inbox.inbox_heads(some))
        except HomingError as error:  # the heartbeat finds what is new
            logger().warning(LogEvent.REQUEST_FAILED, what="hint", error=repr(error))
        finally:
            self._fetching = None

    async def _heartbeat(self) -> None:
        """Find messages that nobody told of, and note how far each device got."""
        links = list(self._connections)
        for at in range(0, len(links), HEARTBEAT_DEVICES):
            some = [link for link in links[at : at + HEARTBEAT_DEVICES] if link.device and not link.is_closed]
            heads = await self._parts.inbox.inbox_heads([link.recipient for link in some])
            for link in some:
                link.session.head = max(link.session.head, heads.get(link.recipient, 0))
                if link.session.has_more:
                    link.wake()
                if link.session.has_moved():
                    self._note(link)

    async def _find_endings(self) -> None:
        """Find out what was read elsewhere or is gone, of what devices were given and heard no more of."""
        holders = list(self._hub.holders())
        while holders:
            asked: dict[bytes, list[Holder]] = {}
            while holders and len(asked) < HEARTBEAT_MESSAGES:
                holder = holders.pop()
                for key in holder.open.values():
                    asked.setdefault(key, []).append(holder)
            for ended, what in (await self._parts.inbox.endings(list(asked))).items():
                for holder in asked[ended]:
                    if ended[:16] in holder.open:  # not heard meanwhile
                        holder.tell(ended[:16], what)

    async def _write_down(self) -> None:
        seen, self._seen = self._seen, {}
        while seen:
            some = tuple((device, *seen.pop(device)) for device in list(seen)[:HEARTBEAT_DEVICES])
            try:
                await self._parts.devices.apply(TouchDevices(some))
            except HomingError as error:
                logger().warning(LogEvent.REQUEST_FAILED, what="cursors", error=repr(error))
                return
