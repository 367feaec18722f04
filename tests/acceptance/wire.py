"""A receiver that reads nothing into a request: its bytes as they came, split only where HTTP says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

_WITHIN_S = 10.0


class Raw(NamedTuple):
    """One request; the names of its headers are spelled as they were on the wire."""

    method: bytes
    path: str
    query: bytes
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def payload(self) -> bytes:
        """What is signed: the exact body, for GET the exact query."""
        return self.query if self.method == b"GET" else self.body

    def header(self, name: str) -> str:
        """The value of a header that must be there once, spelled like this."""
        (value,) = [value for known, value in self.headers if known == name]
        return value


class Wire:
    """Listens on loopback, keeps every request, and answers 200, or first what it is told to answer."""

    def __init__(self, *answers: int) -> None:
        self.caught: list[Raw] = []
        self._answers = list(answers)
        self._came = asyncio.Condition()
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def url(self, target: str) -> str:
        """The address of a path, with its query if it has one."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{target}"

    async def heard(self, count: int) -> list[Raw]:
        """Wait until this many requests came and return them all, in order of arrival."""
        async with asyncio.timeout(_WITHIN_S), self._came:
            await self._came.wait_for(lambda: len(self.caught) >= count)
        return list(self.caught)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*(task for task in self._open if task is not None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[asyncio.current_task()] = writer
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await self._one(reader, writer)
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n").split(b"\r\n")
        lines = [line.decode("latin-1").partition(": ") for line in head[1:]]
        headers = tuple((name, value) for name, _, value in lines)
        lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
        body = await reader.readexactly(sum(lengths))
        method, target, _version = head[0].split(b" ")
        path, _, query = target.partition(b"?")
        async with self._came:
            self.caught.append(Raw(method, path.decode().removeprefix("/"), query, headers, body))
            self._came.notify_all()
        status = self._answers.pop(0) if self._answers else 200
        writer.write(f"HTTP/1.1 {status} Heard\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()


@contextlib.asynccontextmanager
async def wire(*answers: int) -> AsyncIterator[Wire]:
    """A receiver for the time of a block."""
    receiver = Wire(*answers)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.close()
