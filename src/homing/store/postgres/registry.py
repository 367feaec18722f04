"""The registry on PostgreSQL: applications, users, devices, endpoints and tokens (`homing.store.port.Registry`).

What is changed at one node is told to whoever watches at the others, in the order of the commits: each change leaves a
row in ``change``, numbered under a lock; a notification says that there is one, and every beat finds what it missed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from homing.errors import HomingError, Unavailable
from homing.store.archive import feed
from homing.store.batch import Idempotency
from homing.store.changes import Change, DeleteApp, DeleteEndpoint
from homing.store.port import Applied
from homing.store.postgres.answers import Keys, recall
from homing.store.postgres.archive_feed import readable_end
from homing.store.postgres.change_log import is_told, pack, unpack
from homing.store.postgres.remains import sweep
from homing.store.postgres.rows import PostgresAsked, hold
from homing.store.registry.listeners import Ends
from homing.store.registry.make import make_change
from homing.store.registry.questions import RegistryQuestions
from homing.store.sql import load

_NODES: Final = load("postgres", "nodes")


class _Made(msgspec.Struct, frozen=True):
    applied: Applied
    version: int | None = None


class PostgresRegistry(PostgresAsked, RegistryQuestions):
    """Configuration, one transaction per change and per question."""

    _epoch: int
    _feed_lag_ms: int

    def __init__(self) -> None:
        super().__init__()
        self._heard = 0
        """The version of the registry up to which whoever watches was told."""
        self._own: dict[int, tuple[Change, object]] = {}
        self._hearing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def apply(
        self,
        change: Change,
        idempotency: Idempotency | None = None,
        render: Callable[[object], bytes] | None = None,
    ) -> Applied:
        """See `port.Registry.apply`."""
        # The change is real even if its caller is cancelled meanwhile: whoever watches must hear of it.
        return await asyncio.shield(asyncio.ensure_future(self._apply(change, idempotency, render)))

    async def _apply(
        self, change: Change, idempotency: Idempotency | None, render: Callable[[object], bytes] | None
    ) -> Applied:
        async def work(connection: Any) -> _Made:
            now_ms = self._db.clock.now_ms()
            keys = Keys()
            if idempotency is not None:
                await keys.take(connection, [idempotency], now_ms)
                answer = keys.first(idempotency)
                if answer is not None:
                    return _Made(Applied(None, answer, replayed=True))
            ends = Ends(lambda: readable_end(now_ms, self._feed_lag_ms), feed.head)
            value = await hold(connection, make_change(change, now_ms, ends))
            answer = None
            if idempotency is not None:
                answer = b"" if render is None else render(value)
                keys.keep(idempotency, answer)
                await keys.write(connection, now_ms)
            return _Made(Applied(value, answer), await self._log(connection, change, value))

        made = await self._db.write(work)
        if made.applied.replayed:
            return made.applied
        if isinstance(change, DeleteEndpoint | DeleteApp):
            self._spawn(self._sweep_quietly())
        if made.version is None:
            self._tell(change, made.applied.value)
        else:
            self._own[made.version] = (change, made.applied.value)
            with contextlib.suppress(Unavailable):  # it is made all the same; the next beat tells of it
                await self._hear(made.version)
        return made.applied

    def _spawn(self, work: Awaitable[Any]) -> None:
        """Do this beside everything else, until it is done or the store is closed."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sweep(self) -> None:
        """Delete what deleted endpoints have left."""
        while await self._db.write(sweep):
            pass

    async def _sweep_quietly(self) -> None:
        with contextlib.suppress(
            HomingError
        ):  # whatever is left is deleted with the next upkeep, of any node
            await self.sweep()

    async def _log(self, connection: Any, change: Change, value: object) -> int | None:
        """Leave word for the other nodes; last of all, for its lock keeps every other change waiting."""
        if not is_told(change):
            return None
        version: int = await connection.fetchval(_NODES["count_change"])
        kind, packed, packed_value = pack(change, value)
        await connection.execute(_NODES["add_change"], version, self._epoch, kind, packed, packed_value)
        await connection.execute(_NODES["tell_change"], str(version))
        return version

    async def _hear(self, version: int) -> bool:
        """Tell whoever watches of every change up to a version, in order; False when some were forgotten meanwhile."""
        async with self._hearing:
            is_whole = True
            while self._heard < version:
                own = self._own.pop(self._heard + 1, None)
                if own is not None:
                    self._heard += 1
                    self._tell(*own)
                    continue
                rows = await self._db.fetch(_NODES["changes"], self._heard)
                if not rows:
                    break
                is_whole = is_whole and rows[0][0] == self._heard + 1
                for at, _epoch, kind, packed, packed_value in rows:
                    told = self._own.pop(at, None) or unpack(kind, packed, packed_value)
                    self._heard = at
                    if told is not None:
                        self._tell(*told)
            return is_whole

    async def catch_up(self) -> None:
        """See `port.Registry.catch_up`."""
        await self._hear((await self._db.fetch(_NODES["registry_version"]))[0][0])

    async def recall_answer(self, idempotency: Idempotency) -> bytes | None:
        """See `port.Registry.recall_answer`."""
        answer = await self._db.look(lambda c: recall(c, idempotency, self._db.clock.now_ms()))
        if answer is not None:
            await self._db.settle_doubts()  # it is about to be promised a second time
        return answer

    async def keep_answer(self, idempotency: Idempotency, answer: bytes) -> None:
        """See `port.Registry.keep_answer`; the answer of the first one stays if two raced."""

        async def work(connection: Any) -> None:
            now_ms = self._db.clock.now_ms()
            keys = Keys()
            await keys.take(connection, [idempotency], now_ms)
            if keys.first(idempotency) is None:
                keys.keep(idempotency, answer)
                await keys.write(connection, now_ms)

        await self._db.write(work)
