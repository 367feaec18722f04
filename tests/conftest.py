"""What holds for every test: no internet (loopback and unix sockets only), and one way to run a coroutine.

The guard sees Python's sockets and uvloop's connections. libcurl dials by itself: there, the sender's own address
table is what tests rely on.
"""

import asyncio
import io
import ipaddress
import signal
import socket
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from homing.telemetry import configure

pytest_plugins = ["tests.postgres.fixtures"]

LOCAL_NAMES = frozenset({"", "localhost"})


class InternetRefusedError(RuntimeError):
    """A test tried to leave this machine; it must use loopback or a fake instead."""


def is_local(host: object) -> bool:
    """True for loopback, the unspecified address (which dials loopback) and names that mean this machine."""
    if host is None:
        return True
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if name in LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def refuse_unless_local(host: object) -> None:
    """Raise InternetRefusedError when `host` (a name or an address) is not this machine."""
    if not is_local(host):
        message = f"tests have no internet: {host!r}"
        raise InternetRefusedError(message)


def _refuse_address(family: int, address: Any) -> None:
    if family in {socket.AF_INET, socket.AF_INET6}:
        refuse_unless_local(address[0])


@pytest.fixture(autouse=True, scope="session")
def _no_internet() -> Iterator[None]:
    """Refuse every connection and every name look-up that would leave this machine."""
    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    getaddrinfo = socket.getaddrinfo
    loop_connect, loop_getaddrinfo = uvloop.Loop.create_connection, uvloop.Loop.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_address(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_address(self.family, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        _refuse_address(self.family, rest[-1])
        return sendto(self, data, *rest)

    def guarded_getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        refuse_unless_local(host)
        return getaddrinfo(host, *rest, **named)

    async def guarded_loop_connect(
        self: Any, factory: Any, host: Any = None, *rest: Any, **named: Any
    ) -> Any:
        refuse_unless_local(host)
        return await loop_connect(self, factory, host, *rest, **named)

    async def guarded_loop_getaddrinfo(self: Any, host: Any, *rest: Any, **named: Any) -> Any:
        refuse_unless_local(host)
        return await loop_getaddrinfo(self, host, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        patch.setattr(uvloop.Loop, "create_connection", guarded_loop_connect)
        patch.setattr(uvloop.Loop, "getaddrinfo", guarded_loop_getaddrinfo)
        yield


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell has what it starts with ``&`` ignore Ctrl-C, and a process hands that on to those it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run one coroutine to its end on a fresh uvloop, as production does, and give its result.

    A connection that it leaves open is an error, like every warning.
    """

    def to_its_end(work: Coroutine[Any, Any, Any]) -> Any:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        try:
            result = runner.run(work)
        except BaseException:
            _close(runner)
            raise
        for left_open in _close(runner):
            raise left_open
        return result

    return to_its_end


def _close(runner: asyncio.Runner) -> list[Warning]:
    """Close the loop and return what was left open; a warning raised inside would have uvloop wait for ever."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        runner.close()
    return [it.message for it in told if isinstance(it.message, Warning)]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged at warning and above, as text; whatever another test left behind."""
    stream = io.StringIO()
    configure("text", "warning", stream=stream)
    yield stream
    configure(
        "text", "error"
    )  # a warning of a later test's node must not get among what a verb says on stderr
