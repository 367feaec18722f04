"""A real HTTP server that takes callbacks, remembers every one, and answers as it is told to.

Built on a bare protocol so that it is never the bottleneck of what it watches. Judging what came is `judge`'s work.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec

from homing.contract.decode import decode
from homing.contract.errors import ContractError, NotVerified
from homing.contract.notification import Notification
from homing.contract.signature import Signer, verify
from homing.simulator.answers import Answer, behaviour

KEEP: Final = 20_000
"""How many requests are remembered, the newest."""
_MOST_BODY_BYTES: Final = 32 * 2**20


class Caught(msgspec.Struct):
    """One request as it came. ``answered`` is the status given, 0 while it is pending, None for a cut connection.

    ``faults`` are what is wrong with this request by itself: its signature, its form.
    """

    at_s: float
    method: str
    path: str
    raw_query: str
    headers: dict[str, str]
    body: bytes
    notification: Notification | None = None
    faults: tuple[str, ...] = ()
    answered: int | None = 0

    @property
    def webhook_id(self) -> str:
        """The id that stays the same over retries, empty where there is none."""
        return self.headers.get("webhook-id", "")

    @property
    def payload(self) -> bytes:
        """What is signed: the exact body, for GET the exact raw query."""
        return self.raw_query.encode("ascii", "surrogateescape") if self.method == "GET" else self.body


class Receiver:
    """One receiver of callbacks on loopback. ``secret`` None: signatures are not checked."""

    def __init__(
        self,
        name: str,
        *,
        secret: str | None = None,
        is_told: str = "ok",
        seed: int = 0,
        keep: int = KEEP,
    ) -> None:
        self.name = name
        self.caught: deque[Caught] = deque(maxlen=keep)
        self.on_caught: list[Callable[[Caught], None]] = []
        """Called after each request was answered or cut off."""
        self.path = f"/{name}"
        self.port = 0
        self._signers: tuple[Signer, ...] = () if secret is None else (Signer(secret),)
        self._rng = random.Random(seed)
        self._behaviour = behaviour(is_told)
        self._asked = 0
        self._pending = 0
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    @property
    def url(self) -> str:
        """Where callbacks are to be sent."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def trust(self, *secrets: str) -> None:
        """Check signatures with these secrets from now on: one of them must fit."""
        self._signers = tuple(map(Signer, secrets))

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one."""
        self.port = port
        await self._listen()

    async def becomes(self, is_told: str) -> None:
        """Behave differently from now on; see `answers.behaviour`."""
        self._behaviour = behaviour(is_told)
        self._asked = 0
        if self._behaviour.is_listening:
            await self._listen()
        else:
            await self.close()

    def is_quiet(self) -> bool:
        """Say whether no request waits for its answer."""
        return self._pending == 0

    async def close(self) -> None:
        """Stop listening and cut all connections; harmless when repeated."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.cut()
        await asyncio.sleep(0)  # the loop tells the connections that they are lost

    async def _listen(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def _take(self, caught: Caught, connection: "_Connection") -> None:
        self._examine(caught)
        self.caught.append(caught)
        answer = self._behaviour.answer(self._asked, self._rng).at(caught.path)
        self._asked += 1
        self._pending += 1
        if answer.delay_s:
            loop = asyncio.get_running_loop()
            loop.call_later(answer.delay_s, self._answer, caught, connection, answer)
        else:
            self._answer(caught, connection, answer)

    def _answer(self, caught: Caught, connection: "_Connection", answer: Answer) -> None:
        self._pending -= 1
        caught.answered = answer.status if connection.send(answer) else None
        for listener in self.on_caught:
            listener(caught)

    def _examine(self, caught: Caught) -> None:
        faults: list[str] = []
        try:
            content_type = caught.headers.get("content-type")
            caught.notification = decode(caught.method, caught.raw_query, content_type, caught.body)
        except ContractError as fault:
            faults.append(f"not a callback: {fault}")
        if self._signers:
            try:
                verify(caught.headers, caught.payload, self._signers, time.time())
            except NotVerified as fault:
                faults.append(f"signature: {fault}")
        caught.faults = tuple(faults)


class _Connection(asyncio.Protocol):
    """One connection: httptools' hooks gather a request, then the receiver decides."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._is_last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._receiver._connections.add(self)  # noqa: SLF001 - the receiver's other half

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._receiver._connections.discard(self)  # noqa: SLF001

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.cut()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > _MOST_BODY_BYTES:
            self.cut()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, raw_query = self._target.decode("ascii", "surrogateescape").partition("?")
        caught = Caught(
            asyncio.get_running_loop().time(),
            self._parser.get_method().decode("ascii"),
            path,
            raw_query,
            self._headers,
            b"".join(self._body),
        )
        self._target, self._headers, self._body, self._body_bytes = b"", {}, [], 0
        self._is_last = not self._parser.should_keep_alive()
        self._receiver._take(caught, self)  # noqa: SLF001

    def send(self, answer: Answer) -> bool:
        """Write an answer; False when there is nobody to write it to, or it is to cut the connection."""
        if self._transport is None or self._transport.is_closing():
            return False
        if answer.is_cut:
            self.cut()
            return False
        self._transport.write(answer.wire)
        if self._is_last:
            self._transport.close()
        return True

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()
