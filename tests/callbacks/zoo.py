"""A receiver on loopback that does as it is told, and an outbox that sends to it and waits for what was told."""

import asyncio
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import parse_url
from homing.callbacks.job import Done, EndpointView, Job
from homing.callbacks.limits import Limits
from homing.callbacks.sender import Sender
from homing.contract.forms import Form
from homing.contract.signature import Signer

LOOPBACK = AddressPolicy(["127.0.0.0/8"])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMITS = Limits()


class Request(NamedTuple):
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""What is done to a request that was read, or to a connection; says whether the connection stays open."""


class Zoo:
    """A receiver that acts by the path's first part; counts what reaches it.

    ``act`` is for the path ``hook``. ``greeting`` is what happens to every connection instead of being read from.
    """

    def __init__(self, act: Act | None = None, greeting: Act | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.open_now = 0
        self.open_most = 0
        self.held: list[asyncio.StreamWriter] = []
        self.serving: dict[Any, asyncio.StreamWriter] = {}
        self.port = 0
        self._greeting = greeting
        self._acts = {**{name: says(data, hangs_up=name in HANG_UP) for name, data in FIXED.items()}, **ACTS}
        self._acts["hold"] = self._hold
        if act is not None:
            self._acts["hook"] = act

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.connections += 1
        self.serving[task] = writer
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            if self._greeting is not None:
                await self._greeting(reader, writer)
                return
            while await self._one(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            self.open_now -= 1
            del self.serving[task]
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(head[0], headers, body))
        return await self._acts[head[0].split(" ")[1].split("?")[0].strip("/").split("/")[0]](reader, writer)

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.held.append(writer)
        await reader.read()
        return False

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}/{path}"


def says(data: bytes, *, hangs_up: bool = False) -> Act:
    """Answer these bytes."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        return not hangs_up

    return act


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bool:
    """Say nothing, and wait until the other side has hung up."""
    await reader.read()
    return False


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Break the connection."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


ACTS: dict[str, Act] = {"slow": hang, "reset": reset}


def answer(line: str, headers: str = "", body: bytes = b"") -> bytes:
    """An answer whose length is told."""
    return f"HTTP/1.1 {line}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


FIXED = {
    "ok": OK,
    "empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "last": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "bye": OK,  # says nothing and hangs up behind its answer
    "cookie": answer("200 OK", "Set-Cookie: a=b; Path=/\r\n"),
    "moved": answer("301 Moved", "Location: /ok\r\n"),
    "elsewhere": answer("307 Elsewhere", "Location: file:///etc/passwd\r\n"),
    "bad": answer("400 Bad", body=b"no such thing"),
    "gone": answer("410 Gone"),
    "busy": answer("429 Busy", "RETRY-AFTER:  17 \r\n"),
    "broken": answer("500 Broken", body=b"oh"),
    "down": answer("503 Down", "Retry-After: Fri, 31 Dec 2027 23:59:59 GMT\r\n"),
    "gzip": answer("200 OK", "Content-Encoding: gzip\r\n", gzip.compress(b"z" * 100_000)),
    "informed": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 8 + OK,
    "hinted": b"HTTP/1.1 103 Early Hints\r\nRetry-After: 99\r\n\r\n" + OK,
    "until_close": b"HTTP/1.1 200 OK\r\n\r\nall of it",
}
HANG_UP = {"last", "bye", "until_close"}


@asynccontextmanager
async def zoo(
    tls: ssl.SSLContext | None = None, act: Act | None = None, greeting: Act | None = None
) -> AsyncIterator[Zoo]:
    """A receiver on 127.0.0.1."""
    receiver = Zoo(act, greeting)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls, backlog=4096)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        serving = dict(receiver.serving)
        for writer in serving.values():
            writer.transport.abort()
        await asyncio.gather(*serving)
        await server.wait_closed()


class Outbox:
    """A sender, and what it told; `send` gives the endings in the order of the jobs."""

    def __init__(self, policy: AddressPolicy = LOOPBACK, limits: Limits = LIMITS) -> None:
        self.calls: list[list[Done]] = []
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self.sender = Sender(asyncio.get_running_loop(), policy, limits, self._on_done)

    def _on_done(self, ended: list[Done]) -> None:
        self.calls.append(ended)
        for done in ended:
            self._waiting.pop(id(done.job)).set_result(done)

    async def send(self, *jobs: Job) -> list[Done]:
        futures = [asyncio.get_running_loop().create_future() for _ in jobs]
        self._waiting.update({id(job): future for job, future in zip(jobs, futures, strict=True)})
        self.sender.submit(jobs)
        return list(await asyncio.gather(*futures))


@asynccontextmanager
async def outbox(policy: AddressPolicy = LOOPBACK, limits: Limits = LIMITS) -> AsyncIterator[Outbox]:
    """An outbox that is closed at the end."""
    box = Outbox(policy, limits)
    try:
        yield box
    finally:
        box.sender.close()


class Lag:
    """How late the loop is at worst: a machine that stands still is not the sender's fault."""

    def __init__(self) -> None:
        self.worst_ms = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.02
            await asyncio.sleep(0.02)  # how late this ends is what is watched
            self.worst_ms = max(self.worst_ms, 1_000 * (loop.time() - due))


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    watched = Lag()
    watching = asyncio.create_task(watched.watch())
    try:
        yield watched
    finally:
        watching.cancel()


def endpoint(url: str, number: int = 1, timeout_s: float = 5.0, form: Form = Form.JSON) -> EndpointView:
    """An endpoint as the sender sees it."""
    return EndpointView(
        id=number, url=parse_url(url), form=form, signers=(Signer(bytes(32)),), timeout_s=timeout_s
    )


def post(view: EndpointView, body: bytes = b"{}") -> Job:
    """A POST to an endpoint's own URL."""
    return Job(view, ["content-type: application/json", "webhook-id: msg_1"], body)


Run = Callable[[Awaitable[Any]], Any]


def dialler_is(make_socket: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the open-socket callback, and nobody else, make its sockets so."""
    fake = SimpleNamespace(AF_INET=socket.AF_INET, AF_INET6=socket.AF_INET6, socket=make_socket)
    monkeypatch.setattr("homing.callbacks.transfer.socket", fake)


def open_descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))
