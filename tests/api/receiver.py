"""A receiver on loopback that keeps what came, byte for byte, and answers as its path's first part says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

_ANSWERS = {
    "ok": b"HTTP/1.1 204 No Content\r\n\r\n",
    "slash": b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /slash/\r\nContent-Length: 0\r\n\r\n",
    "login": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    "broken": b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n",
    "gone": b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
}


class Came(NamedTuple):
    """One request; ``query`` raw."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """What came, oldest first."""

    def __init__(self) -> None:
        self.requests: list[Came] = []
        self.port = 0

    def url(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.port}/{behaviour}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(": ") for line in head[1:] if line)
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, target, _ = head[0].split(" ")
                path, _, query = target.partition("?")
                self.requests.append(Came(method, path, query, headers, body))
                writer.write(_ANSWERS[path.strip("/").split("/")[0]])
        writer.close()


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Serve as long as the block lasts."""
    it = Receiver()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
