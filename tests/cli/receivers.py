"""A real receiver of callbacks in a thread of its own: each path answers as it was told to, and every request is kept."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

from homing.contract.decode import decode
from homing.contract.notification import Notification

START_S = 20.0
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def status(code: int, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def moved(to: str) -> bytes:
    return f"HTTP/1.1 307 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


class Came(NamedTuple):
    """One request, as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Notification:
        """The callback in it."""
        return decode(self.method, self.query, self.headers.get("content-type"), self.body)


class Receiver:
    """What came, oldest first. ``answers`` holds what a path answers; others answer 204."""

    def __init__(self) -> None:
        self.came: list[Came] = []
        self.answers: dict[str, bytes] = {}
        self.port = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Came]:
        return [one for one in self.came if one.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ends), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(": ") for line in head[1:] if line)
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, target, _ = head[0].split(" ")
                path, _, query = target.partition("?")
                self.came.append(Came(method, path, query, headers, body))
                writer.write(self.answers.get(path, OK))


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Serve on loopback as long as the block lasts."""
    it = Receiver()
    ready = threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
        it.port = server.sockets[0].getsockname()[1]
        ends.append((asyncio.get_running_loop(), stop))
        ready.set()
        await stop.wait()
        server.close()
        open_ones = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
        await asyncio.sleep(0)  # the loop tells the transports that they are closed

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="receiver", daemon=True)
    thread.start()
    assert ready.wait(START_S)
    try:
        yield it
    finally:
        loop, stop = ends[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_S)
        assert not thread.is_alive()
