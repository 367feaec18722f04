"""The device: one person's phone, browser or bot.

::

    async with Device("http://127.0.0.1:8480", app_key) as phone:
        await phone.login("ann", "secret")
        async for message in phone.messages():  # stored and acknowledged before it is yielded
            await phone.read(message.id)

Two levels: `messages` keeps the link up by itself; `connect`, `events`, `ack`, `read`, `go_offline` leave every step to the
caller, which is what a simulated phone needs. It drops repeats but acknowledges them again.
"""

import asyncio
import json
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.protocol import State
from websockets.typing import Subprotocol

from homing.device.errors import Disconnected, LoginNeeded, NotConnected, Refused, Replaced
from homing.device.events import Bye, Event, Message, parse
from homing.device.http import call

REMEMBERED: Final = 1_000
"""Ids of messages that are known as repeats."""
BACKOFF_S: Final = (1.0, 60.0)
MAX_FRAME_BYTES: Final = 1 << 20
_UNHEARD: Final = 256
"""Frames that may wait for `events`: more than the server's window, so that an end is always heard."""
_CLOSE_S: Final = 2.0
_ENDS: Final = {4401: LoginNeeded, 4409: Replaced}


class Device:
    """One device of one person. ``backoff_s`` is the first and the longest pause before it connects again, and
    ``sleep`` how it waits that long.
    """

    def __init__(
        self,
        url: str,
        app_key: str,
        *,
        name: str | None = None,
        platform: str = "other",
        backoff_s: tuple[float, float] = BACKOFF_S,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.app_key = app_key
        self.name = name
        self.platform = platform
        self.token: str | None = None
        self.device_id: str | None = None
        self.epoch: str | None = None
        """The store's identity, as far as this device knows; ``cursor`` means nothing in another."""
        self.cursor = 0
        """All messages up to this number are stored here."""
        self.unacknowledged: set[str] = set()
        """Stored here, and the server may not know it."""
        self._backoff_s = backoff_s
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._known: OrderedDict[str, None] = OrderedDict()
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_offline()

    @property
    def is_connected(self) -> bool:
        """There is a live link."""
        return self._socket is not None and self._socket.state is State.OPEN

    async def login(self, identifier: str, password: str) -> None:
        """Log in and keep the device token; the password is not kept. Raises `Refused`."""
        facts: dict[str, Any] = {"platform": self.platform}
        if self.device_id is not None:
            facts["id"] = self.device_id
        if self.name is not None:
            facts["name"] = self.name
        body = {
            "appKey": self.app_key,
            "identifier": identifier,
            "password": password,
            "device": facts,
        }
        told = await call(self.url, "POST", "/device/1/sessions", body=body)
        self.token, self.device_id = told["token"], told["deviceId"]

    async def logout(self) -> None:
        """Log out, here even when the server cannot be told."""
        token, self.token = self.token, None
        await self.go_offline()
        if token is not None:
            try:
                await call(self.url, "DELETE", "/device/1/session", token=token)
            except (OSError, Refused):
                pass

    async def set_push_token(self, platform: str, token: str, environment: str | None = None) -> None:
        """Hand over the token by which a push service reaches this device."""
        body = {"platform": platform, "token": token}
        if environment is not None:
            body["environment"] = environment
        await call(self.url, "PUT", "/device/1/push-token", token=self._my_token(), body=body)

    async def connect(self) -> None:
        """Open the live link. Raises `LoginNeeded`, `Disconnected`, or OSError when the server cannot be reached."""
        if self._socket is not None:
            await self.go_offline()
        url = urlsplit(self.url)
        scheme = "wss" if url.scheme == "https" else "ws"
        try:
            socket = await connect(
                f"{scheme}://{url.netloc}{url.path}/device/1/connect",
                subprotocols=[Subprotocol("homing.v1")],
                compression=None,
                max_size=MAX_FRAME_BYTES,
                proxy=None,
                ping_interval=None,  # the server pings
                max_queue=_UNHEARD,
                close_timeout=_CLOSE_S,
            )
        except InvalidStatus as error:
            wait = error.response.headers.get("Retry-After", "")
            raise Disconnected(1006, str(error), int(wait) if wait.isdigit() else None) from error
        except (InvalidHandshake, InvalidMessage) as error:
            raise Disconnected(1006, str(error)) from error
        hello = {
            "type": "hello",
            "token": self._my_token(),
            "device": self.device_id,
            "epoch": self.epoch,
            "cursor": self.cursor,
        }
        try:
            await socket.send(json.dumps(hello))
            welcome = json.loads(await socket.recv())
        except ConnectionClosed as error:
            raise _ended(error, None) from None
        self.device_id, self.epoch, self.cursor = welcome["device"], welcome["epoch"], welcome["cursor"]
        self._socket = socket

    async def go_offline(self) -> None:
        """Close the link, if there is one."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    def drop(self) -> None:
        """Lose the link without a word to the server, as in a tunnel; to this device it looks just the same."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def events(self) -> AsyncIterator[Event]:
        """Yield what comes on the link until it ends, then raise `Disconnected`; return after `go_offline`.

        A message is stored (here: remembered) before it is yielded, and not yet acknowledged.
        """
        socket = self._live()
        bye: Bye | None = None
        try:
            async for text in socket:
                event = parse(text)
                match event:
                    case None:
                        continue
                    case Bye():
                        bye = event
                    case Message():
                        self._store(event)
                        yield event
                    case _:
                        yield event
        except ConnectionClosed:
            pass
        if self._socket is socket:
            self._socket = None
            raise _ended_with(socket.close_code or 1006, socket.close_reason or "", bye)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield each new message once, acknowledged; connects, and connects again, by itself.

        Raises `LoginNeeded` or `Replaced`, where trying again is of no use.
        """
        pause_s = self._backoff_s[0]
        while True:
            try:
                if self._socket is None:
                    await self.connect()
                    if self.unacknowledged:
                        await self.ack(*self.unacknowledged)
                pause_s = self._backoff_s[0]
                async for event in self.events():
                    if isinstance(event, Message):
                        await self.ack(event.id)
                        if not event.is_repeat:
                            yield event
                return
            except (LoginNeeded, Replaced):
                raise
            except (Disconnected, NotConnected, OSError) as error:
                asked_s = getattr(error, "retry_after_s", None)
                wait_s = self._rng.uniform(0, pause_s) if asked_s is None else float(asked_s)
                pause_s = min(2 * pause_s, self._backoff_s[1])
                await self._sleep(wait_s)

    async def ack(self, *message_ids: str, at: str | None = None) -> None:
        """Tell the server that these are stored here; ``at`` is when (ISO-8601 with a zone), if not just now."""
        await self._receipt("ack", message_ids, at)
        self.unacknowledged.difference_update(message_ids)

    async def read(self, *message_ids: str, at: str | None = None) -> None:
        """Tell the server that the person has read these; ``at`` as in `ack`."""
        await self._receipt("read", message_ids, at)
        self.unacknowledged.difference_update(message_ids)

    async def send(self, text: str, *, channel: str | None = None, client_ref: str | None = None) -> None:
        """Send a message to the application; `Sent` comes as an event. The same ``client_ref`` is the same message."""
        await self._say(type="send", text=text, channel=channel, clientRef=client_ref)

    async def poll(self, *, wait_s: int = 0, cursor: int | None = None) -> list[Event]:
        """Receive without a live link: what is there, or comes within ``wait_s`` (0–30). Acknowledge by `receipts`."""
        at = self.cursor if cursor is None else cursor
        path = f"/device/1/messages?cursor={at}&wait={wait_s}"
        if self.epoch is not None:
            path += f"&epoch={self.epoch}"
        told = await call(self.url, "GET", path, token=self._my_token())
        self.epoch = told["epoch"]
        heard: list[Event] = []
        for frame in told["frames"]:
            event = parse(json.dumps(frame))
            if isinstance(event, Message):
                self._store(event)
            if event is not None and not isinstance(event, Bye):
                heard.append(event)
        self.cursor = told["cursor"]
        return heard

    async def receipts(
        self, *, received: Iterable[str] = (), read: Iterable[str] = (), at: dict[str, str] | None = None
    ) -> None:
        """Acknowledge without a live link; it is on the server's disk when this returns."""
        body: dict[str, Any] = {"received": list(received), "read": list(read)}
        if at is not None:
            body["at"] = at
        await call(self.url, "POST", "/device/1/receipts", token=self._my_token(), body=body)
        self.unacknowledged.difference_update(body["received"], body["read"])

    async def post(self, text: str, *, channel: str | None = None, client_ref: str | None = None) -> str:
        """Send a message without a live link, and return its id."""
        body = _without_none(text=text, channel=channel, clientRef=client_ref)
        told = await call(self.url, "POST", "/device/1/messages", token=self._my_token(), body=body)
        return str(told["messageId"])

    def _store(self, message: Message) -> None:
        message.is_repeat = message.id in self._known
        self._known[message.id] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self.cursor = max(self.cursor, message.seq)
        self.unacknowledged.add(message.id)

    async def _receipt(self, kind: str, message_ids: tuple[str, ...], at: str | None) -> None:
        times = None if at is None else dict.fromkeys(message_ids, at)
        await self._say(type=kind, messageIds=list(message_ids), at=times)

    async def _say(self, **frame: object) -> None:
        socket = self._live()
        try:
            await socket.send(json.dumps(_without_none(**frame), ensure_ascii=False))
        except ConnectionClosed as error:
            raise _ended(error, None) from None

    def _live(self) -> ClientConnection:
        if self._socket is None:
            raise NotConnected("connect first")
        return self._socket

    def _my_token(self) -> str:
        if self.token is None:
            raise LoginNeeded(4401, "log in first")
        return self.token


def _without_none(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _ended(error: ConnectionClosed, bye: Bye | None) -> Disconnected:
    closed = error.rcvd
    return _ended_with(1006 if closed is None else closed.code, "" if closed is None else closed.reason, bye)


def _ended_with(code: int, reason: str, bye: Bye | None) -> Disconnected:
    kind: Callable[..., Disconnected] = _ENDS.get(code, Disconnected)
    return kind(code, reason, None if bye is None else bye.retry_after_s)
