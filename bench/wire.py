"""A sink for callbacks and a generator of load, both raw protocols, so that neither is the bottleneck.

They run in one process on the second core and share its clock, which is how latency from POST to callback is measured.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import cast

import httptools

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
NOTHING = b""


class Sink:
    """Gives one answer to everything, at once or after ``delay_s``; counts, and hands bodies to ``seen``.

    With `NOTHING` for an answer it takes requests and leaves the caller waiting.
    """

    def __init__(
        self,
        delay_s: float = 0.0,
        seen: Callable[[bytes], None] | None = None,
        answer: bytes = NO_CONTENT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.count = 0
        self.delay_s = delay_s
        self.seen = seen
        self.answer = answer
        self.ports: list[int] = []
        self._tls = tls
        self._servers: list[asyncio.Server] = []

    async def listen(self, addresses: int = 1) -> None:
        """Listen on so many loopback addresses (127.0.0.1, .2, …), as so many customers would."""
        loop = asyncio.get_running_loop()
        port = 0
        for index in range(addresses):
            host = f"127.0.{index // 250}.{1 + index % 250}"
            server = await loop.create_server(
                lambda: _Answering(self), host, port, backlog=4096, ssl=self._tls
            )
            port = server.sockets[0].getsockname()[1]
            self._servers.append(server)
            self.ports.append(port)

    def url(self, index: int = 0) -> str:
        """Where the ``index``-th customer takes callbacks."""
        index %= len(self.ports)
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.{index // 250}.{1 + index % 250}:{self.ports[0]}/callbacks"

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()


class _Answering(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._ended = 0
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._ended:
            ended, self._ended = self._ended, 0
            if self._sink.delay_s:
                asyncio.get_running_loop().call_later(self._sink.delay_s, self._answer, ended)
            else:
                self._transport.write(self._sink.answer * ended)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._ended += 1
        self._sink.count += 1
        if self._sink.seen is not None:
            self._sink.seen(self._body)
        self._body = b""

    def _answer(self, ended: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._sink.answer * ended)


class Load:
    """Keep-alive connections that post one request after the other, or at a fixed rate in all."""

    def __init__(self, host: str, port: int, token: str, path: str = "/1/messages") -> None:
        self._host, self._port = host, port
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self.statuses: dict[int, int] = {}
        self.sent = 0
        self.answered = 0

    def request(self, body: bytes) -> bytes:
        """The bytes of one request."""
        return b"%s%d\r\n\r\n%s" % (self._head, len(body), body)

    async def flood(self, connections: int, seconds: float, body: Callable[[int], bytes]) -> float:
        """Post as fast as answers come, for so long; return requests answered per second."""
        loop = asyncio.get_running_loop()
        posting = [await self._connect() for _ in range(connections)]
        began = loop.time()
        stop_at = began + seconds

        async def one(connection: _Posting) -> None:
            while loop.time() < stop_at:
                self.sent += 1
                await connection.post(self.request(body(self.sent)))

        await asyncio.gather(*(one(connection) for connection in posting))
        took = loop.time() - began
        for connection in posting:
            connection.close()
        return self.answered / took

    async def pace(
        self,
        connections: int,
        per_s: int,
        seconds: float,
        body: Callable[[int], bytes],
        sent: Callable[[int], None],
    ) -> float:
        """Post at a fixed rate whatever the answers do; return the rate that was kept."""
        loop = asyncio.get_running_loop()
        free: asyncio.Queue[_Posting] = asyncio.Queue()
        for _ in range(connections):
            free.put_nowait(await self._connect())
        pending: set[asyncio.Task[None]] = set()

        async def one(connection: "_Posting", number: int) -> None:
            sent(number)
            await connection.post(self.request(body(number)))
            free.put_nowait(connection)

        total = int(per_s * seconds)
        began = loop.time()
        for number in range(total):
            ahead = began + number / per_s - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            connection = await free.get()
            task = asyncio.ensure_future(one(connection, number))
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.gather(*pending)
        took = loop.time() - began
        while not free.empty():
            free.get_nowait().close()
        return total / took

    async def _connect(self) -> "_Posting":
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Posting(self), self._host, self._port
        )
        return connection


class _Posting(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._waiter: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def post(self, request: bytes) -> "asyncio.Future[int]":
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        load, status = self._load, self._parser.get_status_code()
        load.answered += 1
        load.statuses[status] = load.statuses.get(status, 0) + 1
        # One parser serves one answer: httptools keeps no state that a new one would miss.
        self._parser = httptools.HttpResponseParser(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def close(self) -> None:
        self._transport.close()


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the sorted values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def now() -> float:
    """The clock both ends of a latency share, in seconds."""
    return time.perf_counter()
