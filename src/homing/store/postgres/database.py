"""The connections to PostgreSQL: pools, transactions that repeat, what an error means, the database's clock.

A transaction is repeated when others were in its way (serialization failure, deadlock); what dies before COMMIT stored
nothing (`Unavailable`), what dies at COMMIT may have (`CommitUnknown`). Nobody waits longer than `dial.ANSWER_S` for an
answer, whatever became of the server. It must not know any table.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import asyncpg

from homing.clock import Clock
from homing.errors import CommitUnknown, NotAcceptable, Unavailable
from homing.store.dialogue import Again
from homing.store.postgres import dial
from homing.store.postgres.dial import Dialer, Settings
from homing.store.postgres.store_clock import StoreClock

T = TypeVar("T")
Connection = Any
"""An `asyncpg.Connection`; the library's types do not reach through its pool."""
Work = Callable[[Connection], Awaitable[T]]
Lend = Callable[[], contextlib.AbstractAsyncContextManager[Connection]]

NUL: Final = "\0"
"""The one character that PostgreSQL keeps in no text."""
APPLICATION: Final = "homing"
"""By this name in ``pg_stat_activity`` the feed knows whose transactions may still commit."""
_REPEATS: Final = 20
_FULL_AGAIN_S: Final = 30
_CONNECTION_S: Final = dial.DIAL_S + 1.0
"""How long to wait for a connection: until one of the pool is free, or a new one is made."""
_NEVER_S: Final = 3_600.0


_AGAIN: Final = (
    Again,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
"""Others were in the way; the same batch can be stored in a moment."""
_DOWN: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, crashed, not started yet, cancelled
    asyncpg.InsufficientResourcesError,  # of disk, memory, connections
    asyncpg.InvalidTransactionStateError,  # a copy that was not promoted; a session that was silent for too long
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.PostgresSystemError,  # its disk cannot be read or written
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientPrivilegeError,  # the tables were made by another role
    asyncpg.UndefinedTableError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Nothing that an item of the batch could be blamed for. What is in none of these tables is a value's fault, or a bug."""
_COMMON: Final = {
    "application_name": APPLICATION,
    "synchronous_commit": "on",
    "jit": "off",
    "lock_timeout": "4s",
    "statement_timeout": "9s",
    "idle_in_transaction_session_timeout": "9s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
    "timezone": "UTC",
}
# The hot path looks up by key or along an index, whatever the planner believes of tables that were empty when it last
# looked: of those it would read all there is. A bitmap or a cache for each key costs more than the one row that is found.
_HOT: Final = {
    **_COMMON,
    **dict.fromkeys(
        ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan", "enable_memoize"),
        "off",
    ),
    "plan_cache_mode": "force_generic_plan",
}
_LOOK: Final = {**_COMMON, "default_transaction_read_only": "on"}


class Database:
    """Two pools on one database: one that writes, one that only looks."""

    def __init__(self, dsn: str, clock: Clock | None, *, writers: int = 4, readers: int = 4) -> None:
        self.dialer = Dialer(dsn)
        """Makes the connections; whoever knows more about the store than a server may say whether it is the one."""
        self.clock: Clock = StoreClock() if clock is None else clock
        """Messages', retries' and deadlines' time: the database's, unless a test brings its own."""
        self._sizes = (writers, readers)
        self._hot: Any = None
        self._look: Any = None
        self._running: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def open(self) -> None:
        """Connect; raises `Unavailable`."""
        try:
            self._hot = await self._pool(self._sizes[0], _HOT)
            self._look = await self._pool(self._sizes[1], _LOOK)
            # A pool opens none by itself: it would shout each time it cannot.
            for pool in (self._hot, self._look):
                async with self._connection(pool):
                    pass
        except (*_DOWN, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            await self.close()
            raise Unavailable(f"the database cannot be used: {error}") from error
        except Unavailable:
            await self.close()
            raise

    async def close(self) -> None:
        """Let what runs end, and let go of the connections."""
        self._is_closed = True
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
        for pool in (self._hot, self._look):
            if pool is not None:
                pool.terminate()
        self._hot = self._look = None

    async def connect(self) -> Connection:
        """Return a connection of its own, for who listens; its caller closes it."""
        return await self.dialer.connect(_COMMON)

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` in one transaction; when this returns it is on disk. It may run several times, the last one counts.

        What was begun is finished even if the caller is cancelled meanwhile.
        """
        return await self._finish(work, lambda: self._connection(self._hot))

    async def write_unexamined(self, work: Work[T]) -> T:
        """The same on a connection of its own, which the dialer does not examine (`dial.Dialer.connect_unexamined`)."""
        return await self._finish(work, self._unexamined)

    async def _finish(self, work: Work[T], lend: Lend) -> T:
        if self._is_closed:
            raise Unavailable("the store is closed")
        task = asyncio.ensure_future(self._transact(work, lend))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def look(self, work: Work[T]) -> T:
        """Run ``work`` on one state of the store, without writing."""
        return await self._look_in(self._look, work)

    async def look_up(self, work: Work[T]) -> T:
        """The same for what every message needs: it is looked up by key, as all that writes does."""
        return await self._look_in(self._hot, work)

    async def _look_in(self, pool: Any, work: Work[T]) -> T:
        if self._is_closed:
            raise Unavailable("the store is closed")
        with _told("the store could not be read"):
            async with self._connection(pool) as connection:
                value = await _begun(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work)
                await connection.execute("COMMIT")
                return value

    async def fetch(self, sql: str, *values: object) -> list[Any]:
        """Ask one question outside any transaction."""
        if self._is_closed:
            raise Unavailable("the store is closed")
        with _told("the store could not be read"):
            try:
                async with self._connection(self._look) as connection:
                    return list(await connection.fetch(sql, *values))
            except asyncpg.CharacterNotInRepertoireError:
                return []  # what no text can hold is not there

    async def alone(self, work: Work[T]) -> T:
        """Run ``work`` on a connection of its own, outside any transaction: each statement is one."""
        if self._is_closed:
            raise Unavailable("the store is closed")
        connection = await self.connect()
        try:
            with _told("the database cannot be used"):
                return await work(connection)
        finally:
            connection.terminate()

    async def settle_doubts(self) -> None:
        """Return when everything that can be seen now is as durable as a commit that was answered.

        A commit that nobody was told of can be seen before a synchronous standby has it, if its server fell and rose
        meanwhile; whoever acts on having seen it waits here first. Costs one small record of the log.
        """
        await self.write(lambda c: c.execute("SELECT pg_logical_emit_message(true, 'homing', '')"))

    async def _pool(self, size: int, settings: Settings) -> Any:
        async def connect(*_: object, **__: object) -> Connection:
            return await self.dialer.connect(settings)

        return await asyncpg.create_pool(
            min_size=0, max_size=size, connection_class=dial.Connection, connect=connect,
            max_inactive_connection_lifetime=600,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def _connection(self, pool: Any) -> AsyncIterator[Connection]:
        """Lend a connection to the server that is the one; what did not answer on it is never used again."""
        while True:
            async with pool.acquire(timeout=_CONNECTION_S) as connection:
                if connection.server != self.dialer.server:
                    _terminate(connection)
                    continue
                try:
                    yield connection
                except (TimeoutError, asyncio.CancelledError):
                    _terminate(connection)
                    raise
                return

    @contextlib.asynccontextmanager
    async def _unexamined(self) -> AsyncIterator[Connection]:
        connection = await self.dialer.connect_unexamined(_HOT)
        try:
            yield connection
        finally:
            _terminate(connection)

    async def _transact(self, work: Work[T], lend: Lend) -> T:
        with _told("the database cannot be used"):
            for tried in range(_REPEATS):
                try:
                    async with lend() as connection:
                        return await _once(connection, work)
                except _AGAIN as error:
                    if tried == _REPEATS - 1:
                        raise Unavailable(f"others kept changing the same rows: {error}") from error
                    await asyncio.sleep(random.random() * 0.002 * 2 ** min(tried, 6))
        raise AssertionError("unreachable")


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell the library's errors as ours, but for those that a batch is split for; ``what`` begins what is told."""
    try:
        yield
    except asyncpg.CharacterNotInRepertoireError as error:
        raise NotAcceptable("a text may not contain U+0000") from error
    except asyncpg.DiskFullError as error:
        raise Unavailable("the database's disk is full", retry_after_s=_FULL_AGAIN_S) from error
    except (*_DOWN, *_AGAIN) as error:
        raise Unavailable(f"{what}: {error}") from error
    except asyncpg.InterfaceError as error:
        raise _blamed(error) from error


async def _begun(connection: Connection, begin: str, work: Work[T]) -> T:
    """Begin a transaction and do the work in it; when that fails nothing of it is left."""
    try:
        await connection.execute(begin)
        return await work(connection)
    except (TimeoutError, asyncio.CancelledError):
        _terminate(connection)  # it would wait for the answer that does not come
        raise
    except BaseException:
        await _roll_back(connection)
        raise


async def _once(connection: Connection, work: Work[T]) -> T:
    value = await _begun(connection, "BEGIN", work)
    # A commit that waits for a standby is never cancelled: it would be seen, and be believed, though only one server has it.
    patience = asyncio.get_running_loop().call_later(dial.ANSWER_S, _terminate, connection)
    try:
        tag = await connection.execute("COMMIT", timeout=_NEVER_S)
    except _AGAIN:
        raise
    except BaseException as error:
        _terminate(connection)
        raise CommitUnknown(f"the connection was lost at COMMIT: {error!r}") from error
    finally:
        patience.cancel()
    if tag != "COMMIT":
        raise Unavailable("the transaction was rolled back")
    return value


async def _roll_back(connection: Connection) -> None:
    try:
        await connection.execute("ROLLBACK")
    except dial.LOST:
        _terminate(connection)


def _terminate(connection: Connection) -> None:
    """Let nobody use it any more; one that was lost is out of its pool already, and says so by an error."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


def _blamed(error: asyncpg.InterfaceError) -> Exception:
    """Tell a value that cannot be stored, which is an item's fault, from a connection that was lost."""
    if isinstance(error, asyncpg.DataError | ValueError):
        return ValueError(str(error))
    return Unavailable(f"the connection to the database was lost: {error}")
