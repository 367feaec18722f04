"""A TCP proxy between clients and a server that understands what passes, and fails where a test wants it to.

    with Proxy(server.port) as proxy:
        connection = await asyncpg.connect(server.dsn(database, port=proxy.port))
        proxy.cut_when(COMMIT_ASKED, keep=0)         # COMMIT never reaches the server
        proxy.cut_when(COMMIT_ANSWERED, keep=0)      # it is committed, and nobody is told
        proxy.cut_when(COMMIT_ANSWERED, keep=7)      # the client hears half of the answer
        proxy.cut_at(Way.TO_CLIENT, 100)             # after 100 more bytes, whatever they are

It runs in a thread of its own, so it goes on while a test blocks; every call here returns when it holds. It forwards whole
messages only: what is counted is exact, what is timed is not.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self, TypeVar

from tests.postgres.address import free_port
from tests.postgres.background import Background
from tests.postgres.link import How, Link, Moment, Trap, Way, reset_at_close
from tests.postgres.wire import Counts, Message

T = TypeVar("T")
HOST: Final = "127.0.0.1"


def asked(*beginnings: str) -> Moment:
    """The moment a client has a statement run that begins like one of these, by a query or an execution."""
    return Moment(
        Way.TO_SERVER, lambda it: it.kind in {"Q", "E"} and it.text.lstrip().upper().startswith(beginnings)
    )


def answered(*tags: str) -> Moment:
    """The moment the server answers that a command is complete whose tag begins like one of these."""
    return Moment(Way.TO_CLIENT, lambda it: it.kind == "C" and it.text.startswith(tags))


COMMIT_ASKED: Final = asked("COMMIT", "END")
COMMIT_ANSWERED: Final = answered("COMMIT")
READY: Final = Moment(Way.TO_CLIENT, lambda it: it.kind == "Z")
"""The moment the server has answered all that it was asked: between two steps of its client."""


class Proxy:
    """Listens on a port of its own from `__enter__` to `__exit__`, and dials `target` for each client."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The server's port; a change is for the connections to come."""
        self.port = 0
        self.connections = 0
        """How many clients were taken so far."""
        self._background = Background("postgres-proxy")
        self._links: list[Link] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._traps: list[Trap] = []
        self._delay_s = dict.fromkeys(Way, 0.0)
        self._gate = asyncio.Event()
        self._gate.set()
        self._listener: socket.socket | None = None
        self._taking: asyncio.Task[None] | None = None
        self._past = Counts()
        self._said: list[str] = []

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self._background.run(self._close())
        self._background.close()

    # -- what it counts -----------------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """What all connections cost so far; subtract an earlier one."""
        return self._do(lambda: sum((it.conversation.counts for it in self._links), self._past))

    @property
    def statements(self) -> list[str]:
        """The SQL of what was run, by the connections that ended first, then by each that is open."""
        return self._do(
            lambda: self._said + [sql for it in self._links for sql in it.conversation.statements]
        )

    # -- how it fails -------------------------------------------------------------------------------------------------

    def cut_when(
        self, moment: Moment, *, keep: int | None = None, how: How = How.RESET, skip: int = 0
    ) -> Trap:
        """Cut the first connection that brings this moment for the `skip`-and-first time, after `keep` bytes of its message.

        None keeps all of it. Mind that a reset chases the bytes before it: use `How.CLOSE` where they must arrive.
        """

        def place(_link: Link, message: Message) -> int:
            return len(message.data) if keep is None else min(keep, len(message.data))

        return self._arm(Trap(moment, place, how, skip))

    def cut_at(self, way: Way, byte: int, *, how: How = How.RESET) -> Trap:
        """Cut the first connection on which so many bytes have gone this way from now on; 0: as soon as there are any."""

        def arm() -> Trap:
            base = {link: link.judged[way] for link in self._links}

            def place(link: Link, message: Message) -> int | None:
                at = base.get(link, 0) + byte
                return at - message.start if message.end >= at else None

            trap = Trap(Moment(way, lambda _: True), place, how, 0)
            self._traps.append(trap)
            return trap

        return self._do(arm)

    def disarm(self) -> None:
        """Forget every cut that has not happened."""
        self._do(self._traps.clear)

    def cut(self) -> int:
        """Reset every connection now, and return how many there were."""
        return self._background.run(self._cut())

    def freeze(self) -> None:
        """Let nothing pass any more, for old connections and new: nobody is told."""
        self._do(self._gate.clear)

    def thaw(self) -> None:
        """Let everything pass again, what was held first."""
        self._do(self._thaw)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze for the length of a `with`."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def delay(self, seconds: float, *ways: Way) -> None:
        """Have everything that comes from now on arrive so much later, on these ways or both; 0 ends it."""
        self._do(lambda: self._delay_s.update(dict.fromkeys(ways or Way, seconds)))

    def refuse(self) -> None:
        """Take no more connections: who dials is refused. Those that are open stay."""
        self._background.run(self._refuse())

    def accept(self) -> None:
        """Take connections, on the port that it had before."""
        self._background.run(self._accept())

    # -- in its thread ------------------------------------------------------------------------------------------------

    def _do(self, act: Callable[[], T]) -> T:
        async def acted() -> T:
            return act()

        return self._background.run(acted())

    def _arm(self, trap: Trap) -> Trap:
        self._do(lambda: self._traps.append(trap))
        return trap

    def _find_trap(self, link: Link, way: Way, message: Message) -> tuple[Trap, int] | None:
        for trap in self._traps:
            if (kept := trap.cuts(link, way, message)) is not None:
                self._traps.remove(trap)
                return trap, kept
        return None

    def _thaw(self) -> None:
        self._gate.set()
        for link in self._links:
            link.gate.set()

    async def _accept(self) -> None:
        if self._listener is not None:
            return
        self.port = self.port or free_port()
        self._listener = socket.create_server((HOST, self.port), backlog=128)
        self._listener.setblocking(False)
        self._taking = asyncio.ensure_future(self._take(self._listener))

    async def _refuse(self) -> None:
        if self._listener is not None and self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)
            self._listener.close()
            self._listener = None

    async def _take(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            self.connections += 1
            task = asyncio.ensure_future(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        with client, socket.socket() as server:
            for end in (client, server):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._gate.wait()
            try:
                await asyncio.get_running_loop().sock_connect(server, (HOST, self.target))
            except OSError:
                return reset_at_close(client)
            link = Link(client, server, find_trap=self._find_trap, delay_s=self._delay_s, all_gate=self._gate)
            self._links.append(link)
            try:
                await link.run()
            finally:
                self._links.remove(link)
                self._past += link.conversation.counts
                self._said += link.conversation.statements

    async def _cut(self) -> int:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(tasks)

    async def _close(self) -> None:
        await self._refuse()
        await self._cut()
