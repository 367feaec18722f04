"""Two transactions on PostgreSQL, made to go statement by statement in an order that a test says.

Nothing sleeps: a transaction stands at its gate until it is let through, and whether a statement waits for another
transaction's lock is asked of the database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, TypeVar

import asyncpg
from tests.waiting import again

from homing.store.batch import Batch
from homing.store.postgres import PostgresStore
from homing.store.postgres.database import APPLICATION, _once
from homing.store.postgres.ledger import Transaction

T = TypeVar("T")
HELD_UP = "SELECT pid FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
"""Who waits for a lock that another has."""


def interleavings(first: int, second: int) -> Iterator[str]:
    """Yield every order of ``first`` steps of a and ``second`` steps of b."""
    for places in combinations(range(first + second), first):
        yield "".join("a" if i in places else "b" for i in range(first + second))


class Steps:
    """One transaction's statements: each that ``is_gated`` waits for `let`."""

    def __init__(self, connection: Any, is_gated: Callable[[str], bool]) -> None:
        self._connection = connection
        self._is_gated = is_gated
        self._permits = asyncio.Semaphore(0)
        self.at_gate = asyncio.Event()
        self.task: asyncio.Task[Any] | None = None

    async def _pass(self, sql: str) -> None:
        if self._is_gated(sql):
            self.at_gate.set()
            await self._permits.acquire()
            self.at_gate.clear()

    async def execute(self, sql: str, *values: object, timeout: float | None = None) -> Any:
        await self._pass(sql)
        return await self._connection.execute(sql, *values, timeout=timeout)

    async def fetch(self, sql: str, *values: object) -> Any:
        await self._pass(sql)
        return await self._connection.fetch(sql, *values)

    async def fetchval(self, sql: str, *values: object) -> Any:
        await self._pass(sql)
        return await self._connection.fetchval(sql, *values)

    async def fetchrow(self, sql: str, *values: object) -> Any:
        await self._pass(sql)
        return await self._connection.fetchrow(sql, *values)

    def terminate(self) -> None:
        self._connection.terminate()

    async def is_blocked(self, watcher: Any) -> bool:
        """Ask the database whether this one waits for another's lock."""
        pid = self._connection.get_server_pid()
        return bool(await watcher.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid))

    async def let(self, watcher: Any) -> None:
        """Let the next statement through; return when it is done, or waits for the other transaction."""
        assert self.task is not None
        if self.task.done() or not self.at_gate.is_set():
            return  # at its end, or still waiting for a lock: its turn comes when that is free
        self.at_gate.clear()
        self._permits.release()
        await self.settled(watcher)

    async def settled(self, watcher: Any) -> None:
        """Return when it stands at a gate, is at its end, or waits for the other transaction."""
        assert self.task is not None
        while not (self.task.done() or self.at_gate.is_set()):
            if await self.is_blocked(watcher):
                return

    def open(self) -> None:
        """Let everything through from now on."""
        for _ in range(100):
            self._permits.release()


Work = Callable[[Any], Awaitable[Any]]


async def play(
    address: str,
    order: str,
    works: Sequence[Work],
    is_gated: Callable[[str], bool],
    look: Callable[[], Awaitable[None]] | None = None,
) -> tuple[Any, ...]:
    """Run two transactions in an order of "a" and "b"; what is left then runs to its end. Returns what each came to.

    ``look`` is called after each step.
    """
    watcher = await asyncpg.connect(address)
    settings = {"application_name": APPLICATION}
    connections = [await asyncpg.connect(address, server_settings=settings) for _ in works]
    try:
        steps = [Steps(connection, is_gated) for connection in connections]
        for step, work in zip(steps, works, strict=True):
            step.task = asyncio.ensure_future(_once(step, work))
            await step.settled(watcher)
        for turn in order:
            step = steps["ab".index(turn)]
            await step.let(watcher)
            for other in steps:
                await other.settled(watcher)
            if look is not None:
                await look()
        for step in steps:
            step.open()
        tasks = [step.task for step in steps if step.task is not None]
        return tuple(await asyncio.gather(*tasks))
    finally:
        for connection in (watcher, *connections):
            connection.terminate()


def commit(store: PostgresStore, batch: Batch) -> Callable[[Any], Any]:
    """Return what a node does in one transaction to store a batch."""

    async def work(connection: Any) -> Any:
        return await Transaction(
            connection, batch, store.now_ms(), store.epoch, store._positions, store._online
        ).commit()

    return work


async def somebody_is_held_up(watcher: Any) -> None:
    """Wait until anybody waits for a lock that another has."""
    await again(lambda: watcher.fetch(HELD_UP), bool, "who waits for whom only the server knows")


_open: list[PostgresStore] = []


async def node(address: str, **given: Any) -> PostgresStore:
    """Open one more node, which `closing` closes; nothing periodic runs in it unless it is told to."""
    store = await PostgresStore.open(address, **{"feed_lag_ms": 0, "beats": False, **given})
    _open.append(store)
    return store


async def expire(store: PostgresStore) -> None:
    """Let a node's term run out, as if it had not renewed it."""
    await store._db.write(
        lambda c: c.execute("UPDATE node SET alive_until = clock_timestamp() WHERE epoch = $1", store.epoch)
    )


async def closing(story: Awaitable[T]) -> T:
    """Live through a story, and close every node it opened, however it ends."""
    try:
        return await story
    finally:
        while _open:
            await _open.pop().close()
