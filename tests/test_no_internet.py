"""The guard of conftest.py: it refuses the world and lets this machine through."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

# TEST-NET-1 and the documentation prefix: nothing answers there, should the guard ever fail.
ELSEWHERE = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "example.com"]


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_name_or_address_elsewhere_is_refused(host: str) -> None:
    """Neither a connection nor a look-up may leave this machine."""
    with pytest.raises(RuntimeError, match="no internet"):
        socket.create_connection((host, 80), timeout=1)


def test_a_datagram_elsewhere_is_refused() -> None:
    """UDP needs no connection, so sending is guarded too."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(RuntimeError, match="no internet"),
    ):
        sock.sendto(b"x", ("192.0.2.1", 9))


@pytest.mark.parametrize("runner", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("host", ELSEWHERE)
def test_an_event_loop_cannot_connect_elsewhere(runner: Callable[..., Any], host: str) -> None:
    """uvloop dials without Python's sockets; it is guarded as well as asyncio's own loop."""
    with pytest.raises(RuntimeError, match="no internet"):
        runner(asyncio.open_connection(host, 80))


def test_loopback_is_let_through(run: Callable[..., Any]) -> None:
    """A server on 127.0.0.1 and its client talk as ever."""

    async def talk() -> bytes:
        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"coo")
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            heard = await reader.read()
            writer.close()
            await writer.wait_closed()
            return heard

    assert run(talk()) == b"coo"


def test_unix_sockets_are_let_through(tmp_path: Path) -> None:
    """A unix socket never leaves the machine."""
    with (
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX) as client,
    ):
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"coo")
            assert client.recv(8) == b"coo"
