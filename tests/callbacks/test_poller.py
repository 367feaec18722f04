"""libcurl's sockets on the loop: what is cut while nobody asks, and what is left alone."""

import asyncio
import os
import select
import socket
from collections.abc import Iterator

import pycurl
import pytest
from tests.callbacks.zoo import Run

from homing.callbacks.poller import Poller

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    with ours, theirs:
        theirs.settimeout(10)
        yield ours, theirs


def idle(poller: Poller, one: socket.socket, last_wish: int = pycurl.POLL_IN) -> None:
    """Use a connection and let it rest, as libcurl does."""
    poller.socket_changed(last_wish, one.fileno())
    poller.socket_changed(pycurl.POLL_REMOVE, one.fileno())


def with_poller(run: Run, story: object) -> None:
    async def main() -> None:
        poller = Poller(asyncio.get_running_loop(), lambda _: None, lambda: None)
        story(poller)  # type: ignore[operator]
        poller.close()

    run(main())


def says(theirs: socket.socket, words: bytes, ours: socket.socket | int) -> None:
    """Say something at the other end, and wait until it can be read at ours."""
    theirs.send(words)
    assert is_readable(ours)


def is_readable(one: socket.socket | int) -> bool:
    """Wait until there is something to read, if only an end; on loopback that is at once."""
    return bool(select.select([one], [], [], 10)[0])


def is_open(theirs: socket.socket) -> bool:
    """Say whether the other end has not hung up just now."""
    return not select.select([theirs], [], [], 0)[0]


def is_cut(theirs: socket.socket) -> bool:
    """Wait for the other end to say something, and say whether it has hung up."""
    return theirs.recv(1) == b""


def test_who_speaks_while_nobody_asks_is_cut(run: Run, pair: Pair) -> None:
    """An idle connection with something to read is hung up; a silent one is kept."""
    ours, theirs = pair

    def story(poller: Poller) -> None:
        idle(poller, ours)
        poller.cut_talkers()
        assert is_open(theirs)
        says(theirs, b"HTTP/1.1 410 Gone\r\n\r\n", ours)
        poller.cut_talkers()
        assert is_cut(theirs)

    with_poller(run, story)


def test_who_speaks_while_asked_is_left_to_libcurl(run: Run, pair: Pair) -> None:
    """A connection in use is nobody's business here."""
    ours, theirs = pair

    def story(poller: Poller) -> None:
        poller.socket_changed(pycurl.POLL_IN, ours.fileno())
        says(theirs, b"HTTP/1.1 200 OK\r\n\r\n", ours)
        poller.cut_talkers()
        assert is_open(theirs)

    with_poller(run, story)


@pytest.mark.parametrize("last_wish", [pycurl.POLL_OUT, pycurl.POLL_INOUT])
def test_an_idle_connection_that_could_be_written_to_is_kept(run: Run, pair: Pair, last_wish: int) -> None:
    """What libcurl wished last may have been to write; that it can is no word of the peer. Its words are heard still."""
    ours, theirs = pair

    def story(poller: Poller) -> None:
        idle(poller, ours, last_wish)
        poller.cut_talkers()
        assert is_open(theirs)
        assert not select.select([poller._epoll], [], [], 0)[0], "it would wake the loop for ever"
        says(theirs, b"x", ours)
        poller.cut_talkers()
        assert is_cut(theirs)

    with_poller(run, story)


def test_a_stranger_that_took_the_number_is_left_alone(run: Run, pair: Pair) -> None:
    """libcurl closed its socket, a forked child keeps it alive, and its number is another connection's by now."""
    ours, theirs = pair

    def story(poller: Poller) -> None:
        idle(poller, ours)
        number = ours.fileno()
        childs = os.dup(number)
        mine, stranger = socket.socketpair()
        with mine, stranger:
            os.dup2(mine.fileno(), number)
            says(theirs, b"x", childs)
            poller.cut_talkers()
            assert is_open(stranger)
        os.close(childs)

    with_poller(run, story)


def test_what_is_no_connection_any_more_is_no_error(run: Run, pair: Pair) -> None:
    """A peer that has reset, and a pipe of libcurl's own."""
    ours, theirs = pair
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    reads, writes = os.pipe()

    def story(poller: Poller) -> None:
        idle(poller, ours)
        theirs.close()
        assert is_readable(ours)
        poller.socket_changed(pycurl.POLL_IN, reads)
        poller.socket_changed(pycurl.POLL_REMOVE, reads)
        os.write(writes, b"x")
        for _ in range(2):
            poller.cut_talkers()
        assert os.read(reads, 2) == b"x"

    with_poller(run, story)
    os.close(reads)
    os.close(writes)
