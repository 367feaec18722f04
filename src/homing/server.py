"""One HTTP server for all doors: uvicorn on uvloop, with our own signals, our own logs and nothing it adds by itself.

It routes by the first part of the path and must not know what the doors do.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from homing.errors import AddressInUse, ConfigError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def bind(listen: str, *, is_shared: bool = False) -> socket.socket:
    """Take the address ``host:port`` (port 0: any); raises `AddressInUse` or `ConfigError`.

    ``is_shared``: other processes of this user may take it too; the kernel spreads connections over those that listen.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, int(port)))
    except (ValueError, socket.gaierror, OverflowError) as error:
        listener.close()
        raise ConfigError(f"[server] listen: {listen!r} is not host:port ({error})") from error
    except OSError as error:
        listener.close()
        raise AddressInUse(f"cannot listen on {listen}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def reserve(listen: str) -> tuple[socket.socket, str]:
    """Take an address for processes that will share it, and do not listen; return who holds it, and the address with its port.

    Raises as `bind` does, also where others share the address already: they would get a part of the connections.
    """
    with bind(listen) as alone:
        listen = _named(listen, alone.getsockname()[1])
    return bind(listen, is_shared=True), listen


def neighbour(listen: str, places: int) -> str:
    """Return the address so many ports further; port 0 stays any."""
    port = int(listen.rpartition(":")[2])
    return _named(listen, port + places) if port else listen


def _named(listen: str, port: int) -> str:
    return f"{listen.rpartition(':')[0]}:{port}"


class Doors:
    """The ASGI application: ``/first-part`` → door, everything else → the default door."""

    def __init__(self, default: Asgi, doors: Mapping[str, Asgi]) -> None:
        self._default = default
        self._doors = dict(doors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request or connection to its door."""
        path: str = scope["path"]
        end = path.find("/", 1)
        door = self._doors.get(path if end < 0 else path[:end], self._default)
        await door(scope, receive, send)


class _Uvicorn(uvicorn.Server):
    """uvicorn without its own signal handlers: the node decides what a signal means."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Corked:
    """A transport that joins an answer's head with what follows it: one system call for an answer instead of two.

    The head waits for its body until the loop's next turn at most, which is when a streaming answer sends it.
    """

    __slots__ = ("_call_soon", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._call_soon = asyncio.get_running_loop().call_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, or keep an answer's head for a moment."""
        if self._head:
            data = self._head + data
            self._head = b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what is kept, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


class _Http(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 on a corked transport."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", _Corked(cast("asyncio.Transport", transport))))


class HttpServer:
    """Serves an ASGI application on a socket that is already bound; ``sockets`` speaks on its WebSockets."""

    def __init__(self, app: Asgi, listener: socket.socket, sockets: type[asyncio.Protocol]) -> None:
        config = uvicorn.Config(
            app,
            http=_Http,
            ws=sockets,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
            ws_max_size=64 * 1024,
            ws_ping_interval=55.0,
            ws_ping_timeout=55.0,
            ws_per_message_deflate=False,
            backlog=2048,
        )
        config.load()
        self._server = _Uvicorn(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    async def start(self) -> None:
        """Serve in the background; returns when connections are taken."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="http")
        while not self._server.started:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.002)  # uvicorn tells by a flag only

    async def close(self) -> None:
        """Stop listening, let requests under way end (at most 5 s), and return."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        self._listener.close()
