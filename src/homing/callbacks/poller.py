"""libcurl's sockets and its one timer on the event loop: an epoll of our own, itself one reader of the loop.

Three habits make this fast and right (PROTOTYPE.md §2):

- One reader for all sockets: the loop wakes once and gets every ready socket in one call.
- A socket stays registered when a transfer ends (libcurl says "remove" after each one): the next transfer on the same
  connection then costs one system call instead of two.
- Nothing is trusted that was noted about what the kernel has registered. libcurl closes sockets without telling, the
  numbers are used again at once, also for sockets that are none of ours; who trusts "number 17" waits for ever.

Two guards live here because only here it is seen: bytes that libcurl reads and tells nobody about (chunk extensions),
and what a peer says while nobody asks, which libcurl would take for the answer to whatever is asked next.
"""

import asyncio
import os
import select
import socket
import sys
from collections.abc import Callable

import pycurl

_MAX_EVENTS = 1024
_LOOK_EVERY_TURNS = 16
_FLOOD_BYTES = 1_048_576
"""More than this within so few turns is beyond any answer we read: the connection is cut."""

_EPOLL_OF = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


def _curl_bits(events: int) -> int:
    hung_up = events & (select.EPOLLERR | select.EPOLLHUP)
    return (
        (pycurl.CSELECT_IN if events & select.EPOLLIN or hung_up else 0)
        | (pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0)
        | (pycurl.CSELECT_ERR if hung_up else 0)
    )


_CURL_OF = [_curl_bits(events) for events in range(32)]


def _received_bytes(one: socket.socket) -> int:
    """What a TCP connection has received since it began: tcpi_bytes_received of linux/tcp.h."""
    return int.from_bytes(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)[128:136], sys.byteorder)


def _hang_up(fd: int) -> None:
    with socket.socket(fileno=fd) as one:
        try:
            one.shutdown(socket.SHUT_RDWR)
        finally:
            one.detach()  # it stays libcurl's


class Poller:
    """Watches libcurl's sockets and deadline; idle, it costs nothing at all.

    ``on_ready`` gets every ready socket of a wake-up as (number, libcurl's bits); ``on_deadline`` is called when
    libcurl's next timeout has passed. Both run on the loop and end with `arm`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_ready: Callable[[list[tuple[int, int]]], None],
        on_deadline: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._on_ready = on_ready
        self._on_deadline = on_deadline
        self._epoll = select.epoll()
        self._turns: dict[int, int] = {}
        self._received_bytes: dict[int, int] = {}
        self._inodes: dict[int, int] = {}
        self._deadline: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        loop.add_reader(self._epoll.fileno(), self._ready)

    def socket_changed(self, what: int, fd: int, *_: object) -> None:
        """Take libcurl's wish about a socket (M_SOCKETFUNCTION)."""
        events = _EPOLL_OF.get(what)
        if events is None:
            self._turns.pop(fd, None)
            self._received_bytes.pop(fd, None)
            return
        self._turns.setdefault(fd, 0)
        try:
            self._epoll.modify(fd, events)
        except FileNotFoundError:
            self._epoll.register(fd, events)
            self._inodes[fd] = os.fstat(fd).st_ino

    def deadline_changed(self, wait_ms: int) -> None:
        """Take libcurl's next timeout, -1 for none (M_TIMERFUNCTION); it counts from the next `arm`."""
        self._deadline = None if wait_ms < 0 else self._loop.time() + (wait_ms + 1) / 1000

    def arm(self) -> None:
        """See to it that the loop wakes in time; an alarm that is too early is left to ring in vain."""
        if self._deadline is None or (self._alarm is not None and self._alarm_at <= self._deadline):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = (
            self._deadline
        )  # noted, for uvloop's handle of a deadline already passed does not tell
        self._alarm = self._loop.call_at(self._deadline, self._ring)

    def cut_talkers(self) -> None:
        """Hang up on idle connections whose peers have spoken or hung up, before one of them is used again."""
        for fd, events in self._epoll.poll(0, _MAX_EVENTS):
            if fd not in self._turns:
                self._cut_talker(fd, events)

    def close(self) -> None:
        """Stop watching; nothing is called any more."""
        self._deadline = None
        if self._alarm is not None:
            self._alarm.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _ready(self) -> None:
        ready = []
        for fd, events in self._epoll.poll(0, _MAX_EVENTS):
            turns = self._turns.get(fd)
            if turns is None:
                self._cut_talker(fd, events)
                continue
            ready.append((fd, _CURL_OF[events & 31]))
            self._turns[fd] = turns = turns + 1
            if turns % _LOOK_EVERY_TURNS == 0:
                self._cut_floods(fd)
        if ready:
            self._on_ready(ready)

    def _cut_talker(self, fd: int, events: int) -> None:
        """Hang up on an idle connection; libcurl then fails to write to it, and takes another one."""
        if events == select.EPOLLOUT:
            self._epoll.modify(fd, select.EPOLLIN)
            return
        try:
            self._epoll.unregister(fd)
            # A forked child may keep a socket of ours alive whose number is somebody else's here by now.
            if os.fstat(fd).st_ino == self._inodes[fd]:
                _hang_up(fd)
        except OSError:
            pass  # it is broken or gone already

    def _cut_floods(self, fd: int) -> None:
        """Hang up on a peer that pours; libcurl then sees an answer that broke off."""
        with socket.socket(fileno=fd) as one:
            try:
                received_bytes = _received_bytes(one)
                if received_bytes - self._received_bytes.setdefault(fd, received_bytes) > _FLOOD_BYTES:
                    one.shutdown(socket.SHUT_RDWR)
                self._received_bytes[fd] = received_bytes
            except OSError:
                pass  # no TCP socket (libcurl's own, for name look-ups), or already broken
            finally:
                one.detach()  # it stays libcurl's

    def _ring(self) -> None:
        self._alarm = None
        if self._deadline is not None and self._loop.time() >= self._deadline:
            self._deadline = None
            self._on_deadline()
        else:
            self.arm()
