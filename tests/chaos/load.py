"""Load from outside: back ends that repeat a request until its 201, and phones that acknowledge and read.

Both go on through every death of the server; nothing here looks into it.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import httpx
import msgspec
import websockets
from tests.chaos.journal import Accept
from tests.waiting import Growing
from websockets.asyncio.client import ClientConnection, connect

_GONE = (OSError, TimeoutError, websockets.WebSocketException)
_AFTER_A_CUT_S, _AFTER_A_REFUSAL_S = 0.01, 0.05
"""So long these back ends and phones wait before they try again: as everybody's, it is a part of the load."""


class Switch:
    """Whether the server is meant to be up; those who found it dead wait for it here."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.is_ending = False


class Poster(Protocol):
    """Whom a back end posts to: a node, or what stands before several."""

    async def post(self, url: str, *, content: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send a request; raises `httpx.TransportError`."""
        ...


class Senders:
    """Back ends that post, each one message at a time, under a new idempotency key each."""

    def __init__(
        self, http: Poster, app: int, names: Sequence[str], switch: Switch, rng: random.Random
    ) -> None:
        self.accepts = Growing[Accept]()
        self.repeats = 0
        """How many requests were sent again because their answer was not seen."""
        self._http = http
        self._app = app
        self._names = names
        self._switch = switch
        self._rng = rng

    async def run(self) -> None:
        """Post until the switch says that it ends; what was begun is finished."""
        while not self._switch.is_ending:
            await self.post()
            await asyncio.sleep(self._rng.uniform(0, 0.02))  # the pace of the load

    async def post(self) -> Accept:
        """Post one message until its 201 came; now and then once more, for the first answer again."""
        recipients = self._rng.sample(self._names, self._rng.randint(1, 3))
        body = msgspec.json.encode(
            {
                "mobileAppId": self._app,
                "text": f"text {self._rng.random()}",
                "messageRef": str(self._rng.randrange(1000)),
                "recipients": [{"identifier": name} for name in recipients],
            }
        )
        key = str(uuid.UUID(int=self._rng.getrandbits(128)))
        accept = await self._until_accepted(key, body)
        if self._rng.random() < 0.1:
            await self._until_accepted(key, body)
        return accept

    async def _until_accepted(self, key: str, body: bytes) -> Accept:
        headers = {"idempotency-key": key, "content-type": "application/json"}
        while True:
            await self._switch.up.wait()
            try:
                answer = await self._http.post("/1/messages", content=body, headers=headers)
            except httpx.TransportError:
                self.repeats += 1
                await asyncio.sleep(_AFTER_A_CUT_S)
                continue
            if answer.status_code == 503:
                self.repeats += 1
                await asyncio.sleep(_AFTER_A_REFUSAL_S)
                continue
            assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
            shown: dict[str, Any] = answer.json()
            told = {one["identifier"]: one["status"] for one in shown["recipients"]}
            accept = Accept(key, shown["messageId"], told)
            self.accepts.append(accept)
            return accept


class Phone:
    """One device: connects, stores, acknowledges, reads; loses its connection, and now and then its cursor."""

    def __init__(
        self, url: Callable[[], str], token: str, epoch: str, switch: Switch, rng: random.Random
    ) -> None:
        """``url()`` is where to connect now."""
        self.stored: dict[str, None] = {}
        """The ids of the messages on the device, in order of arrival."""
        self.connections = 0
        self._url = url
        self._token = token
        self._epoch = epoch
        self._cursor = 0
        self._switch = switch
        self._rng = rng

    async def run(self) -> None:
        """Connect again and again until cancelled."""
        while True:
            await self._switch.up.wait()
            try:
                async with connect(
                    self._url().replace("http:", "ws:") + "/device/1/connect",
                    subprotocols=[websockets.Subprotocol("homing.v1")],
                    compression=None,
                    proxy=None,
                ) as socket:
                    self.connections += 1
                    await self._talk(socket)
            except _GONE:
                await asyncio.sleep(_AFTER_A_CUT_S)

    async def _talk(self, socket: ClientConnection) -> None:
        cursor = 0 if self._rng.random() < 0.2 else self._cursor
        hello = {"type": "hello", "token": self._token, "epoch": self._epoch, "cursor": cursor}
        await self._say(socket, hello)
        is_calm = self._switch.is_ending
        if is_calm:
            # A receipt that died with the server is not asked for again: the device tells all it knows once more.
            stored = list(self.stored)
            for start in range(0, len(stored), 500):
                await self._say(socket, {"type": "read", "messageIds": stored[start : start + 500]})
        async for frame in socket:
            it = msgspec.json.decode(frame)
            assert it["type"] in {"welcome", "msg", "read", "gone", "bye"}, it
            if it["type"] != "msg":
                continue
            self.stored[it["messageId"]] = None
            self._cursor = max(self._cursor, it["seq"])
            await self._say(socket, {"type": "ack", "messageIds": [it["messageId"]]})
            await self._say(socket, {"type": "read", "messageIds": [it["messageId"]]})
            if not is_calm and (self._switch.is_ending or self._rng.random() < 0.01):
                socket.transport.abort()
                return

    async def _say(self, socket: ClientConnection, frame: object) -> None:
        await socket.send(msgspec.json.encode(frame).decode())
