"""How a simulated phone speaks to the gateway: over WebSocket as the apps do, or by long-poll as older ones did.

Real clients on real sockets; what is said when is the phone's business.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import quote

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from homing.simulator.backend import Refused, request

Frame: TypeAlias = dict[str, Any]
OnFrame: TypeAlias = Callable[[Frame], None]
Kind: TypeAlias = Literal["ack", "read"]

SUBPROTOCOL: Final = "homing.v1"
_DEADLINE_S: Final = 20.0


class Account(msgspec.Struct, frozen=True):
    """What a person types into the app once, and where the app connects to."""

    host: str
    port: int
    app_key: str
    identifier: str
    password: str


class Link(Protocol):
    """A logged-in device's way to the gateway. Errors are `OSError`, `TimeoutError` or `Refused`."""

    @property
    def is_open(self) -> bool:
        """Whether frames can come just now."""
        ...

    async def open(self, on_frame: OnFrame) -> None:
        """Connect; every frame that comes is given to ``on_frame``."""
        ...

    async def receipt(self, kind: Kind, message_ids: list[str], at: Mapping[str, str]) -> None:
        """Say that these are stored, or read; ``at`` may give times of the device's own clock."""
        ...

    async def send(self, text: str, client_ref: str) -> None:
        """Send a message to the application."""
        ...

    async def close(self) -> None:
        """Disconnect; harmless when repeated."""
        ...


class Session(msgspec.Struct):
    """A log-in: the device's long-lived token, and how far it has got."""

    account: Account
    token: str
    device: str
    epoch: str
    cursor: int = 0

    async def ask(self, method: str, target: str, body: object = None) -> Any:
        """Make one request as this device; return the JSON answered, None where there is none."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        encoded = b"" if body is None else msgspec.json.encode(body)
        account = self.account
        reply = await request(account.host, account.port, method, target, headers=headers, body=encoded)
        if not 200 <= reply.status < 300:
            raise Refused(reply.status, reply.body)
        return msgspec.json.decode(reply.body) if reply.body else None

    async def register(self, platform: str, token: str) -> str:
        """Tell Homing this device's push token; return it as push services will be told it."""
        wish: dict[str, object] = {"platform": platform, "token": token}
        told = token
        if platform == "web":
            subscription = {"endpoint": f"https://push.simulated/{token}", "keys": {"auth": "", "p256dh": ""}}
            wish = {"platform": platform, "subscription": subscription}
            told = msgspec.json.encode(subscription).decode()
        await self.ask("PUT", "/device/1/push-token", wish)
        return told


async def log_in(account: Account, device_id: str, platform: str, name: str) -> Session:
    """Log in as a device of this person; `Refused` for a wrong password."""
    wish = {
        "appKey": account.app_key,
        "identifier": account.identifier,
        "password": account.password,
        "device": {"id": device_id, "name": name, "platform": platform},
    }
    headers = {"Content-Type": "application/json"}
    body = msgspec.json.encode(wish)
    reply = await request(
        account.host, account.port, "POST", "/device/1/sessions", headers=headers, body=body
    )
    if reply.status != 201:
        raise Refused(reply.status, reply.body)
    answer = msgspec.json.decode(reply.body)
    return Session(account, answer["token"], answer["deviceId"], answer["epoch"])


class SocketLink:
    """The WebSocket of `homing.v1`. Its cursor is the last message's number, its epoch the gateway's."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """See `Link.is_open`."""
        return self._reader is not None and not self._reader.done()

    async def open(self, on_frame: OnFrame) -> None:
        """See `Link.open`; returns once the gateway has said welcome."""
        session = self._session
        account = session.account
        self._socket = await connect(
            f"ws://{account.host}:{account.port}/device/1/connect",
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item] # a NewType of str
            compression=None,
            ping_interval=None,
            open_timeout=_DEADLINE_S,
            close_timeout=1.0,
        )
        hello = {
            "type": "hello",
            "token": session.token,
            "device": session.device,
            "epoch": session.epoch,
            "cursor": session.cursor,
        }
        try:
            await self._say(hello)
            async with asyncio.timeout(_DEADLINE_S):
                welcome = msgspec.json.decode(await self._socket.recv())
        except ConnectionClosed as error:
            raise ConnectionResetError(str(error)) from error
        session.epoch, session.cursor = welcome["epoch"], welcome["cursor"]
        self._reader = asyncio.create_task(self._read(self._socket, on_frame), name="phone-reader")

    async def receipt(self, kind: Kind, message_ids: list[str], at: Mapping[str, str]) -> None:
        """See `Link.receipt`."""
        frame: Frame = {"type": kind, "messageIds": message_ids}
        if at:
            frame["at"] = dict(at)
        await self._say(frame)

    async def send(self, text: str, client_ref: str) -> None:
        """See `Link.send`."""
        await self._say({"type": "send", "text": text, "clientRef": client_ref})

    async def close(self) -> None:
        """See `Link.close`."""
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        self._socket = self._reader = None

    async def _say(self, frame: Frame) -> None:
        if self._socket is None:
            raise ConnectionResetError("not connected")
        try:
            await self._socket.send(msgspec.json.encode(frame).decode())
        except ConnectionClosed as error:
            raise ConnectionResetError(str(error)) from error

    async def _read(self, socket: ClientConnection, on_frame: OnFrame) -> None:
        try:
            async for raw in socket:
                frame = msgspec.json.decode(raw)
                if frame["type"] == "msg":
                    self._session.cursor = max(self._session.cursor, frame["seq"])
                on_frame(frame)
        except ConnectionClosed:
            pass


class PollLink:
    """The same over plain HTTP: it asks once when it is opened, and is never open for longer."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def is_open(self) -> bool:
        """See `Link.is_open`."""
        return False

    async def open(self, on_frame: OnFrame) -> None:
        """See `Link.open`."""
        session = self._session
        answer = await session.ask(
            "GET", f"/device/1/messages?cursor={session.cursor}&epoch={quote(session.epoch)}&wait=0"
        )
        session.epoch, session.cursor = answer["epoch"], answer["cursor"]
        for frame in answer["frames"]:
            on_frame(frame)

    async def receipt(self, kind: Kind, message_ids: list[str], at: Mapping[str, str]) -> None:
        """See `Link.receipt`."""
        said: dict[str, object] = {"received" if kind == "ack" else "read": message_ids}
        if at:
            said["at"] = dict(at)
        await self._session.ask("POST", "/device/1/receipts", said)

    async def send(self, text: str, client_ref: str) -> None:
        """See `Link.send`."""
        await self._session.ask("POST", "/device/1/messages", {"text": text, "clientRef": client_ref})

    async def close(self) -> None:
        """See `Link.close`."""
