"""Finds, among the servers that an address names, the one that takes writes now, and connects to it in bounded time.

Each server is given a head start before the next is tried beside it, so one that hangs costs a second, not the whole
patience. Where all have failed nobody dials for a moment that grows, to a second at most. asyncpg tries one after the
other, without a limit for each, and ends at the first that answers with an error. It must not know any table.
"""

import asyncio
import random
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

from homing.config.address import UNREADABLE, is_readable
from homing.errors import ConfigError, Unavailable

Settings = Mapping[str, str]
LOST: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What the library says when a statement begins after the server's last word was read, and before the connection's end.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Whatever a connection may come to that answers no more, and what a server may refuse."""
FAILURES: Final = (*LOST, Unavailable)
"""What may be wrong with a server while another one of the address is well."""

ANSWER_S: Final = 10.0
"""A server that has not answered a statement after so long is as good as gone."""
DIAL_S: Final = 4.0
"""How long finding the server may take in all; whoever waits for a connection waits a little longer."""
_HEAD_START_S: Final = 1.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_PORT: Final = re.compile(r"[0-9]{1,5}")
_TAKE_WRITES: Final = frozenset({"read-write", "primary", "any"})
# A machine that dies says nothing: the kernel asks after it, and counts what it does not acknowledge.
_SOCKET_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000),
)
# The timeline is nobody's to know on some services that only speak like PostgreSQL; where it is, it grows with each promotion.
_WHO: Final = "SELECT pg_postmaster_start_time()::text, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"
_WHEN: Final = "SELECT pg_postmaster_start_time()::text"


class Server(NamedTuple):
    """One life of one server: since when it runs, and how often its data was promoted; None: it does not say."""

    started_at: str
    timeline: int | None


class Place(NamedTuple):
    """One server of an address; an empty host: wherever the library finds it."""

    host: str
    port: int | None

    def __str__(self) -> str:
        return f"{self.host or 'the default'}{'' if self.port is None else f':{self.port}'}"


class Connection(asyncpg.Connection):  # type: ignore[misc] # the library has no types of its own
    """A connection that knows its server, and goes back into its pool as it is: sessions of ours change nothing in it."""

    server: Server

    def get_reset_query(self) -> str:
        """Nothing is to be undone."""
        return ""

    def heed_silence(self) -> None:
        """Have the kernel notice a machine that is gone."""
        it = self._transport.get_extra_info("socket")
        if it is not None and it.family != socket.AF_UNIX:
            for level, name, value in _SOCKET_OPTIONS:
                it.setsockopt(level, name, value)


Examine = Callable[[Connection, Server], Awaitable[None]]
LookAt = Callable[[Connection], Awaitable[None]]


class Dialer:
    """Makes every connection of a node."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._places = places_of(dsn)
        self._pauses = 0
        self._again_at_s = 0.0
        self._told = ""
        self._examining = asyncio.Lock()
        self.server: Server | None = None
        """The server that is the one; a connection to another one is not to be used any more."""
        self.examine: Examine | None = None
        """Asked before a server is used for the first time; raises `Unavailable` where it must not be."""

    async def connect(self, settings: Settings) -> Connection:
        """Return a connection to the server that takes writes; raises `Unavailable`, at once where all have just failed."""
        if asyncio.get_running_loop().time() < self._again_at_s:
            raise Unavailable(self._told)
        return await self._dial(settings, self._look_at)

    async def connect_unexamined(self, settings: Settings) -> Connection:
        """Return a connection to the server that takes writes, whatever there is to be said against it.

        For who makes it fit to be used, and then says so by setting `server`. That others have just failed is no hindrance.
        """
        return await self._dial(settings, self._refuse_former)

    async def _dial(self, settings: Settings, look_at: LookAt) -> Connection:
        loop = asyncio.get_running_loop()
        failures: dict[Place, str] = {}
        try:
            async with asyncio.timeout(DIAL_S):
                connection = await self._first(settings, look_at, failures)
        except TimeoutError:
            connection = None
        if connection is not None:
            self._pauses, self._again_at_s = 0, 0.0
            return connection
        pause_s = min(_FIRST_PAUSE_S * 2**self._pauses, _LONGEST_PAUSE_S)
        self._pauses += 1
        self._again_at_s = loop.time() + pause_s * random.uniform(0.5, 1.0)
        told = [f"{place}: {failures.get(place, 'no answer')}" for place in self._places]
        self._told = f"the database cannot be reached: {'; '.join(told)}"
        raise Unavailable(self._told)

    async def _first(
        self, settings: Settings, look_at: LookAt, failures: dict[Place, str]
    ) -> Connection | None:
        """Try each place, the next one as soon as the one before failed or had its head start; None: all have failed."""
        todo = list(self._places)
        trying: dict[asyncio.Task[Connection], Place] = {}
        try:
            while todo or trying:
                if todo:
                    place = todo.pop(0)
                    trying[asyncio.ensure_future(self._try(place, settings, look_at))] = place
                done, _ = await asyncio.wait(
                    trying,
                    timeout=_HEAD_START_S if todo else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    place = trying.pop(task)
                    error = task.exception()
                    if error is None:
                        self._prefer(place)
                        return task.result()
                    if not isinstance(error, FAILURES):
                        raise error
                    failures[place] = str(error) or type(error).__name__
            return None
        finally:
            for task in trying:
                task.add_done_callback(_let_go)
                task.cancel()

    def _prefer(self, place: Place) -> None:
        """Begin with it the next time."""
        self._places = [place, *(other for other in self._places if other != place)]

    async def _try(self, place: Place, settings: Settings, look_at: LookAt) -> Connection:
        where: dict[str, Any] = {}
        if place.host:
            where = {"host": place.host, "port": place.port}
        # Sessions that only look say so themselves, and "read-write" would refuse them.
        with readable():
            connection: Connection = await asyncpg.connect(
                self._dsn, **where, timeout=DIAL_S, command_timeout=ANSWER_S, server_settings=dict(settings),
                connection_class=Connection, target_session_attrs="primary",
            )  # fmt: skip
        try:
            connection.heed_silence()
            connection.server = await _ask_who(connection)
            await look_at(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _look_at(self, connection: Connection) -> None:
        """Use a server that was not used before only when it was examined, by one at a time."""
        if connection.server == self.server:
            return
        async with self._examining:
            if connection.server == self.server:
                return
            await self._refuse_former(connection)
            if self.examine is not None:
                await self.examine(connection, connection.server)
            self.server = connection.server

    async def _refuse_former(self, connection: Connection) -> None:
        now, before = connection.server, self.server
        if before is not None and (now.timeline or 0) < (before.timeline or 0):
            raise Unavailable(
                f"a former primary: its timeline is {now.timeline}, the store's {before.timeline}"
            )


@contextmanager
def readable() -> Iterator[None]:
    """Tell in words of ours what a library has against an address: its own may hold a piece of the password."""
    try:
        yield
    except asyncpg.ClientConfigurationError:
        raise  # about an option of the address, which it has read
    except ValueError:
        raise ConfigError(UNREADABLE) from None


def places_of(dsn: str) -> list[Place]:
    """Return the servers that an address names; raises `ConfigError` where it asks for one that takes no writes.

    No piece of the address is told but its servers, and they only where it is certain that they are none of a password.
    """
    with readable():
        parts = urlsplit(dsn)
    if not is_readable(dsn):
        raise ConfigError(UNREADABLE)
    query = dict(parse_qsl(parts.query))
    wanted = query.get("target_session_attrs", "read-write")
    if wanted not in _TAKE_WRITES:
        raise ConfigError(f"store.url: target_session_attrs={wanted} finds no server that takes writes")
    hosts = parts.netloc.rpartition("@")[2] or query.get("host", "")
    ports = query.get("port", "").split(",")
    found = []
    for number, spec in enumerate(hosts.split(",")):
        host, port = _split(unquote(spec))
        shared = ports[number] if number < len(ports) else ports[-1]
        if not _PORT.fullmatch(port or shared or "5432"):
            raise ConfigError(f"store.url: the port of a server is no number. {UNREADABLE}")
        found.append(Place(host, int(port or shared or 5432) if host else None))
    return list(dict.fromkeys(found))


def _split(spec: str) -> tuple[str, str]:
    if spec.startswith("/"):
        return spec, ""
    if spec.startswith("["):
        host, _, rest = spec[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = spec.partition(":")
    return host, port


async def _ask_who(connection: Connection) -> Server:
    try:
        return Server(*await connection.fetchrow(_WHO))
    except (
        asyncpg.FeatureNotSupportedError,
        asyncpg.InsufficientPrivilegeError,
        asyncpg.UndefinedFunctionError,
    ):
        return Server(await connection.fetchval(_WHEN), None)


def _let_go(task: asyncio.Task[Connection]) -> None:
    """Close what was connected after all, when nobody waited for it any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()
