"""The distributed store: PostgreSQL through asyncpg, as many nodes as there are (`homing.store.port.Store`)."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from typing import Any, Final, TypeVar

import asyncpg
import uuid_utils

from homing.clock import Clock
from homing.errors import HomingError, SchemaTooNew, Unavailable, WrongMasterKey
from homing.store.batch import Batch, CommandWork, Committed, LaneWork, Outlook
from homing.store.port import Claimed, ReplayStep, Retention
from homing.store.postgres import claims, nodes, partitions, replays
from homing.store.postgres.archive import PostgresArchive
from homing.store.postgres.database import Database
from homing.store.postgres.ledger import Transaction
from homing.store.postgres.nodes import Known, Terms, real_s
from homing.store.postgres.positions import Positions
from homing.store.postgres.prune import prune
from homing.store.postgres.registry import PostgresRegistry
from homing.store.postgres.store_clock import StoreClock
from homing.store.sql import load
from homing.telemetry import LogEvent, logger

T = TypeVar("T")

SCHEMA: Final = 1
FEED_LAG_MS: Final = 5_000
"""Where a feed ends, before now (DESIGN.md §5)."""
_HINTED_AT_ONCE: Final = 400
"""Recipients named in one statement: a notification holds 8,000 bytes."""
_MAINTENANCE_S: Final = 3_600.0
_TOO_OLD: Final = 0.75
"""A term whose renewal is older than this share of it is not relied on to own anything new."""
_META: Final = load("postgres", "meta")
_NODES: Final = load("postgres", "nodes")


class PostgresStore(PostgresRegistry, PostgresArchive):
    """All ports on one database, shared with other nodes; made by `open`."""

    def __init__(
        self, database: Database, online: Container[int], terms: Terms, name: str, feed_lag_ms: int
    ) -> None:
        super().__init__()
        self._db = database
        self._online = online
        self._terms = terms
        self._name = name
        self._feed_lag_ms = feed_lag_ms
        self.store_id = ""
        """A UUID drawn when the store was created; devices know by it whether their cursor means anything here."""
        self._epoch = 0
        self._known = Known.of(0, [])
        self._positions = Positions(0)
        self._renewed_at_s = 0.0
        self._look_again_at_s: float | None = None
        self._linked: dict[int, bool] = {}
        self._hearers: list[Callable[[Sequence[int]], None]] = []
        self._lost: list[Callable[[], None]] = []
        self._orphaned: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ear: Any = None
        self._size_bytes: int | None = None
        self._called = asyncio.Event()

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        clock: Clock | None = None,
        online: Container[int] = frozenset(),
        key_id: str = "",
        terms: Terms = Terms(),  # noqa: B008 - frozen
        name: str | None = None,
        feed_lag_ms: int = FEED_LAG_MS,
        beats: bool = True,
    ) -> "PostgresStore":
        """Open the store in the database that ``dsn`` names; make its tables if it has none.

        ``clock`` None: the database's. ``beats`` False leaves renewing the term and everything else periodic to calls of
        `beat`. Raises `Unavailable`, `SchemaTooNew`, or `WrongMasterKey`.
        """
        database = Database(dsn, clock)
        await database.open()
        store = cls(database, online, terms, name or socket.gethostname(), feed_lag_ms)
        try:
            await store._measure()
            store.store_id = await database.write(lambda c: _migrate(c, key_id, store.now_ms()))
            await store._register()
            store._heard = await store._fetchval(_NODES["registry_version"])
            if beats:
                store._spawn(store._beats())
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """See `port.Store.close`; what this node holds can be taken by the others at once."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._epoch:
            epoch, self._epoch = self._epoch, 0
            with contextlib.suppress(HomingError):
                await self._db.write(lambda c: c.execute(_NODES["leave"], epoch))
        if self._ear is not None:
            self._ear.terminate()
        await self._db.close()

    @property
    def epoch(self) -> int:
        """See `port.Ledger.epoch`."""
        return self._epoch

    @property
    def clock(self) -> Clock:
        """The store's clock, for whatever else follows it: deadlines, retries."""
        return self._db.clock

    def now_ms(self) -> int:
        """See `port.Ledger.now_ms`."""
        return self._db.clock.now_ms()

    def free_bytes(self) -> int | None:
        """See `port.Ledger.free_bytes`: the database's disk is its operator's."""
        return None

    def size_bytes(self) -> int | None:
        """How large the database was when it was last looked at."""
        return self._size_bytes

    async def commit(self, batch: Batch) -> Committed:
        """See `port.Ledger.commit`."""
        self._trust_term()

        async def work(connection: Any) -> Committed:
            transaction = Transaction(
                connection, batch, self.now_ms(), self._epoch, self._positions, self._online
            )
            committed = await transaction.commit()
            self._trust_term()
            return committed

        try:
            committed = await self._db.write(work)
        except asyncpg.CheckViolationError:
            # No partition for these ids: the clock ran ahead of the upkeep, or was set.
            await self._db.write(lambda c: partitions.make(c, self.now_ms()))
            committed = await self._db.write(work)
        self._hint(committed)
        return committed

    def _trust_term(self) -> None:
        """Raise where the others may take this node for dead by the time that what it would own is stored."""
        if (real_s() - self._renewed_at_s) * 1000 > self._terms.alive_ms * _TOO_OLD:
            raise Unavailable("this node's term was not renewed in time")

    async def claim_lanes(self, endpoint: int, limit: int, chance: float | None = None) -> Claimed:
        """See `port.Ledger.claim_lanes`."""
        if chance is None:
            return await self._db.write(
                lambda c: claims.claim_lanes(c, endpoint, self.now_ms(), limit, self._epoch)
            )
        return await self._db.write(
            lambda c: claims.claim_by_chance(c, endpoint, self.now_ms(), chance, self._epoch)
        )

    async def replay_step(self, job: str, limit: int) -> ReplayStep:
        """See `port.Ledger.replay_step`."""
        return await self._db.write(lambda c: replays.step(c, job, limit, self.now_ms(), self._epoch))

    async def adopt_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """See `port.Ledger.adopt_lanes`."""
        return await claims.walk(
            after,
            lambda place: self._db.write(
                lambda c: claims.adopt_lanes(c, place, limit, self._epoch, self._known)
            ),
        )

    async def held_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """See `port.Ledger.held_lanes`."""
        return await claims.walk(
            after, lambda place: self._db.look(lambda c: claims.held_lanes(c, place, limit, self._epoch))
        )

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        """See `port.Ledger.claim_commands`."""
        return await self._db.write(
            lambda c: claims.claim_commands(c, self.now_ms(), limit, self._epoch, self._known)
        )

    async def prune(self, retention: Retention, limit: int) -> int:
        """See `port.Ledger.prune`."""
        return await self._db.write(lambda c: prune(c, retention, limit, self.now_ms()))

    async def release(self, lanes: Sequence[tuple[bytes, int]]) -> None:
        """See `port.Ledger.release`."""
        await self._db.write(lambda c: claims.release(c, lanes, self.now_ms(), self._epoch))

    async def due_dispatches(self, limit: int) -> list[bytes]:
        """See `port.Ledger.due_dispatches`."""
        return await self._db.look(lambda c: claims.due_dispatches(c, self.now_ms(), limit, self._known))

    async def outlook(self) -> Outlook:
        """See `port.Ledger.outlook`."""
        return await self._db.look(lambda c: claims.outlook(c, self._known))

    async def drop_messages(self, before_ms: int) -> int:
        """Drop, week by week, messages accepted before an instant, with all that is known of them; return how many weeks.

        Stops at the first into which a lane, command or timer points: nothing pending loses what it is about.
        """
        count = 0
        for suffix, high in await self._db.look(lambda c: partitions.droppable(c, before_ms)):
            if not await self._db.write(lambda c, s=suffix, h=high: partitions.drop(c, s, h)):  # type: ignore[misc]
                break
            count += 1
        return count

    # The node among others.

    def may_start_try(self) -> bool:
        """See `port.Ownership.may_start_try`."""
        return real_s() - self._renewed_at_s <= self._terms.trusted_s

    def on_lost(self, lost: Callable[[], None]) -> None:
        """See `port.Ownership.on_lost`."""
        self._lost.append(lost)

    def on_orphaned(self, orphaned: Callable[[], None]) -> None:
        """See `port.Ownership.on_orphaned`."""
        self._orphaned.append(orphaned)

    def on_hint(self, hear: Callable[[Sequence[int]], None]) -> None:
        """See `port.Hints.on_hint`."""
        self._hearers.append(hear)

    def link(self, recipient: int, *, is_linked: bool) -> None:
        """See `port.Hints.link`."""
        if not self._linked:
            self._spawn(self._say_links())
        self._linked[recipient] = is_linked

    async def beat(self) -> None:
        """Renew the term, learn who lives, catch up with what others changed; a lost term begins a new epoch."""
        began_s = real_s()
        ear = await self._listening()
        try:
            beat = await nodes.beat(ear, self._epoch, self._terms)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            ear.terminate()
            raise Unavailable(f"the term could not be renewed: {error}") from error
        if isinstance(self._db.clock, StoreClock):
            await self._measure()
        if beat.is_renewed:
            self._renewed_at_s = began_s
            before = self._known
            self._known = Known.of(self._epoch, beat.live)
            # Also those that another node buried.
            if any(self._known.is_dead(epoch) for epoch in before.live):
                _call(self._orphaned)
                self._look_again_at_s = began_s + self._terms.alive_ms / 1000
            elif self._look_again_at_s is not None and began_s >= self._look_again_at_s:
                # For what was at its COMMIT when its node was buried.
                self._look_again_at_s = None
                _call(self._orphaned)
        else:
            before_epoch = self._epoch
            await self._register()
            logger().warning(LogEvent.TERM_LOST, before=before_epoch, epoch=self._epoch)
            _call(self._lost)
            _call(self._orphaned)
        if not await self._hear(beat.registry_version):
            _call(self._lost)

    async def _beats(self) -> None:
        upkeep_at_s = 0.0
        while True:
            try:
                await self.beat()
                if real_s() >= upkeep_at_s:
                    upkeep_at_s = real_s() + _MAINTENANCE_S
                    await self.upkeep()
            except HomingError as error:
                logger().error(LogEvent.TERM_LATE, error=str(error))
            except Exception:  # noqa: BLE001 - a heart that stops is worse than any fault of one beat
                logger().exception(LogEvent.NODE_FAILED)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._called.wait(), self._terms.beat_s)
            self._called.clear()

    async def upkeep(self) -> None:
        """Make partitions ahead, forget changes that everyone has heard of, look how large the database is."""
        await self._db.write(lambda c: partitions.make(c, self.now_ms()))
        await self._db.write(lambda c: c.execute(_NODES["drop_old_changes"]))
        self._size_bytes = await self._fetchval(_META["size"])

    async def _register(self) -> None:
        began_s = real_s()
        epoch, live = await self._db.write(lambda c: nodes.register(c, self._name, self._terms))
        self._epoch, self._known = epoch, Known.of(epoch, live)
        self._positions = Positions(epoch)
        self._renewed_at_s = began_s
        if self._ear is not None:
            self._ear.terminate()
            self._ear = None

    async def _listening(self) -> Any:
        """Return the connection on which this epoch hears the others."""
        if self._ear is None or self._ear.is_closed():
            ear = await self._db.connect()
            await ear.add_listener(f"homing_{self._epoch}", self._hinted)
            await ear.add_listener("homing_registry", self._notified)
            self._ear = ear
            # Links said to a server that crashed since are forgotten there; repeating them is harmless.
            links = sorted(self._online) if isinstance(self._online, Iterable) else []
            await ear.execute(_NODES["link"], links, self._epoch)
        return self._ear

    def _hinted(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        recipients = [int(one) for one in str(payload).split(",")]
        for hear in self._hearers:
            hear(recipients)

    def _notified(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._spawn(self._hear_quietly(int(str(payload))))

    async def _hear_quietly(self, version: int) -> None:
        with contextlib.suppress(HomingError):  # the next beat sees it
            await self._hear(version)

    def _hint(self, committed: Committed) -> None:
        """Tell nodes that have a link to somebody for whom there is something new; lost hints are found by heartbeats."""
        if len(self._known.live) < 2:
            return
        recipients = sorted(
            {n.recipient for n in committed.messages} | {c.recipient for c in committed.changes}
        )
        for first in range(0, len(recipients), _HINTED_AT_ONCE):
            self._spawn(self._say_hint(recipients[first : first + _HINTED_AT_ONCE]))

    async def _say_hint(self, recipients: list[int]) -> None:
        with contextlib.suppress(HomingError):
            await self._db.write(lambda c: c.fetch(_NODES["hint"], recipients, self._epoch))

    async def _say_links(self) -> None:
        await asyncio.sleep(0)  # those that come in this turn of the loop go together
        said, self._linked = self._linked, {}
        here = sorted(recipient for recipient, is_linked in said.items() if is_linked)
        gone = sorted(recipient for recipient, is_linked in said.items() if not is_linked)

        async def work(connection: Any) -> None:
            await connection.execute(_NODES["link"], here, self._epoch)
            await connection.execute(_NODES["unlink"], gone, self._epoch)

        with contextlib.suppress(HomingError):
            await self._db.write(work)

    async def _measure(self) -> None:
        clock = self._db.clock
        if isinstance(clock, StoreClock):
            asked_s = time.monotonic()
            there_ms = await self._fetchval(_NODES["clock"])
            clock.measured(there_ms, asked_s, time.monotonic())

    async def _fetchval(self, sql: str) -> Any:
        return (await self._db.fetch(sql))[0][0]

    def _spawn(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _call(hooks: Iterable[Callable[[], None]]) -> None:
    for hook in hooks:
        hook()


async def _migrate(connection: Any, key_id: str, now_ms: int) -> str:
    """Create or check the schema, one node at a time; return the store's id."""
    await connection.execute(_META["lock_schema"])
    if not await connection.fetchval(_META["has_meta"]):
        await connection.execute(load("postgres", "schema_1")["schema"])
        await connection.execute(_META["put_number"], "schema", 1)
        await connection.execute(_META["put_words"], "store_id", str(uuid_utils.uuid4()))
        await connection.execute(_META["put_words"], "key_id", key_id)
    schema = await connection.fetchval(_META["number"], "schema")
    if schema is None or schema > SCHEMA:
        raise SchemaTooNew(f"the store has schema {schema}; this Homing knows schemas up to {SCHEMA}")
    if key_id and await connection.fetchval(_META["words"], "key_id") != key_id:
        raise WrongMasterKey(
            "the store's secrets are sealed under another key: check [security] master_key_file"
        )
    for version in range(schema + 1, SCHEMA + 1):
        await connection.execute(load("postgres", f"schema_{version}")["migrate"])
        await connection.execute(_META["put_number"], "schema", version)
    await partitions.make(connection, now_ms)
    return str(await connection.fetchval(_META["words"], "store_id"))
