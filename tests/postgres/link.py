"""One connection through the proxy: two sockets, what is carried between them, and how it ends before its time."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from enum import Enum

import msgspec
from tests.postgres.wire import DISMISSAL, Conversation, Message

CHUNK_BYTES = 1 << 16


class Way(Enum):
    """A direction."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class How(Enum):
    """What a cut does to a connection."""

    RESET = "reset"
    """Both ends hear of it at once, as from a machine that started anew."""
    CLOSE = "close"
    """Both ends read what came before and then the end, as from a proxy that is shut down."""
    HALF_CLOSE = "half close"
    """The cut way ends as by `CLOSE`; the other one goes on."""
    FREEZE = "freeze"
    """Nothing passes any more, either way, and nobody is told, as when a cable is pulled; `Proxy.thaw` ends it."""
    DISMISS = "dismiss"
    """The client reads, together with what came before, that its session is ended, but not yet the connection's end; then as by `FREEZE`."""


class Moment(msgspec.Struct, frozen=True):
    """A kind of message to wait for."""

    way: Way
    is_it: Callable[[Message], bool]


class Trap:
    """A cut that waits for its moment, and then happens once, on the first connection that brings it."""

    def __init__(
        self, moment: Moment, place: Callable[["Link", Message], int | None], how: How, skip: int
    ) -> None:
        self.moment = moment
        self.how = how
        self._place = place
        self._skip = skip
        self._is_sprung = False
        self._has_happened = threading.Event()

    def cuts(self, link: "Link", way: Way, message: Message) -> int | None:
        """Return after how many bytes of this message the connection is cut, or None when it is not."""
        if way is not self.moment.way or not self.moment.is_it(message):
            return None
        place = self._place(link, message)
        if place is not None and self._skip:
            self._skip -= 1
            return None
        return place

    def spring(self) -> None:
        """Note that it happens now."""
        self._is_sprung = True

    def end(self) -> None:
        """Note that it has happened, and let go who waits for it."""
        self._has_happened.set()

    def has_happened(self) -> bool:
        """Say whether the connection was cut; true as soon as anybody could notice."""
        return self._is_sprung

    def wait(self, timeout_s: float = 30.0) -> None:
        """Block until it happened."""
        if not self._has_happened.wait(timeout_s):
            raise TimeoutError(f"nothing was cut in {timeout_s} s: {self.moment}")

    async def happens(self, timeout_s: float = 30.0) -> None:
        """Wait until it happened while the loop goes on."""
        await asyncio.to_thread(self.wait, timeout_s)


class _CutError(ConnectionError):
    """The connection is to be reset."""


def reset_at_close(end: socket.socket) -> None:
    """Have the close of a socket reset its connection instead of ending it in order."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Link:
    """One client's connection and the one made for it."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        *,
        find_trap: Callable[["Link", Way, Message], tuple[Trap, int] | None],
        delay_s: Mapping[Way, float],
        all_gate: asyncio.Event,
    ) -> None:
        self.conversation = Conversation()
        self.gate = asyncio.Event()
        """Open unless this connection is frozen."""
        self.gate.set()
        self.judged = {Way.TO_SERVER: 0, Way.TO_CLIENT: 0}
        """Bytes that were looked at for a trap so far; they pass next."""
        self._all_gate = all_gate
        self._find_trap = find_trap
        self._delay_s = delay_s
        self._sockets = {Way.TO_SERVER: (client, server), Way.TO_CLIENT: (server, client)}
        self._mute: set[Way] = set()

    async def run(self) -> None:
        """Carry until both ends are done, or one breaks, or this is cancelled; then nothing is open any more."""
        carriers = [asyncio.ensure_future(self._carry(way)) for way in Way]
        is_reset = True
        try:
            done, _ = await asyncio.wait(carriers, return_when=asyncio.FIRST_EXCEPTION)
            is_reset = any(it.exception() for it in done)
        finally:
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
            for end in self._sockets[Way.TO_SERVER]:
                if is_reset:
                    reset_at_close(end)
                end.close()

    async def _carry(self, way: Way) -> None:
        """Carry one way until its source has no more."""
        source, _ = self._sockets[way]
        pending: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(64)
        reader = asyncio.ensure_future(self._read(source, way, pending))
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await pending.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if isinstance(data, OSError):
                    raise data
                if not data:
                    break
                await self._pass_on(way, data)
            await self._send(way, self.conversation.rest(of_client=way is Way.TO_SERVER))
            self._end(way)
        finally:
            reader.cancel()
            await asyncio.gather(
                reader, return_exceptions=True
            )  # the socket is closed next, and its number reused

    async def _read(
        self, source: socket.socket, way: Way, pending: asyncio.Queue[tuple[float, bytes | OSError]]
    ) -> None:
        loop = asyncio.get_running_loop()
        data: bytes | OSError = b"more"
        while data and not isinstance(data, OSError):
            try:
                data = await loop.sock_recv(source, CHUNK_BYTES)
            except OSError as broken:
                data = broken
            await pending.put((loop.time() + self._delay_s[way], data))

    async def _pass_on(self, way: Way, data: bytes) -> None:
        hear = self.conversation.from_client if way is Way.TO_SERVER else self.conversation.from_server
        ready = bytearray()
        for message in hear(data):
            # What goes nowhere springs no trap: it is meant for a connection that still works.
            found = None if way in self._mute else self._find_trap(self, way, message)
            self.judged[way] = message.end
            if found is None:
                ready += message.data
                continue
            trap, kept = found
            last = DISMISSAL if trap.how is How.DISMISS else b""
            await self._send(way, ready + message.data[:kept] + last)
            ready = bytearray(message.data[kept:])
            self._cut(way, trap)
        await self._send(way, ready)

    async def _send(self, way: Way, data: bytes | bytearray) -> None:
        while not (self._all_gate.is_set() and self.gate.is_set()):
            await self._all_gate.wait()
            await self.gate.wait()
        if data and way not in self._mute:
            await asyncio.get_running_loop().sock_sendall(self._sockets[way][1], data)

    def _cut(self, way: Way, trap: Trap) -> None:
        trap.spring()
        match trap.how:
            case How.RESET:
                trap.end()
                raise _CutError
            case How.CLOSE:
                for each in Way:
                    self._end(each)
            case How.HALF_CLOSE:
                self._end(way)
            case How.FREEZE | How.DISMISS:
                self.gate.clear()
        trap.end()

    def _end(self, way: Way) -> None:
        """Let the receiving end of one way read an end after what it has been sent."""
        if way not in self._mute:
            self._mute.add(way)
            self._sockets[way][1].shutdown(socket.SHUT_WR)
