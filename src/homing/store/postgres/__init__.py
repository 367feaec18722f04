"""The distributed store: PostgreSQL through asyncpg, as many nodes as there are (`homing.store.port.Store`)."""

import contextlib
import socket
from collections.abc import Collection, Container, Sequence
from typing import Any, Final

import asyncpg
import uuid_utils

from homing.clock import Clock
from homing.config.settings import ROLES
from homing.errors import CommitUnknown, HomingError
from homing.store.batch import Batch, CommandWork, Committed, LaneWork, Outlook
from homing.store.claims import walk
from homing.store.port import Claimed, Dropped, ReplayStep, Retention
from homing.store.postgres import claims, partitions, replays
from homing.store.postgres.archive import PostgresArchive
from homing.store.postgres.database import Database
from homing.store.postgres.dial import Server
from homing.store.postgres.ledger import Transaction
from homing.store.postgres.membership import PostgresNode
from homing.store.postgres.nodes import Terms
from homing.store.postgres.prune import prune
from homing.store.postgres.schema import SCHEMA, bring
from homing.store.postgres.standing import begin_terms, note_timeline
from homing.store.sql import load
from homing.telemetry import LogEvent, logger

__all__ = ["FEED_LAG_MS", "SCHEMA", "PostgresStore"]

FEED_LAG_MS: Final = 5_000
"""Where a feed ends, before now (DESIGN.md §5)."""
_META: Final = load("postgres", "meta")
_NODES: Final = load("postgres", "nodes")


class PostgresStore(PostgresNode, PostgresArchive):
    """All ports on one database, shared with other nodes; made by `open`."""

    _unknown = 0
    """How many commits had no answer."""
    _resolved = 0
    """How many of those left nothing that is not sure to stay."""

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
        roles: Collection[str] = ROLES,
        feed_lag_ms: int = FEED_LAG_MS,
        beats: bool = True,
    ) -> "PostgresStore":
        """Open the store in the database that ``dsn`` names; make its tables if it has none.

        ``name`` is this node's alone, and whoever had it before is no more; None: that of the machine, where others may be.
        Without the role ``callbacks`` this node never owns a lane, without ``channels`` no command: both are born free.
        ``clock`` None: the database's. ``beats`` False leaves renewing the term and everything else periodic to calls of
        `beat`. Raises `Unavailable`, `SchemaTooNew`, `StoreMoved`, or `WrongMasterKey`.
        """
        database = Database(dsn, clock)
        await database.open()
        store = cls(database, online, terms, name or socket.gethostname(), roles, is_heir=name is not None)
        store._feed_lag_ms = feed_lag_ms
        store.schema = SCHEMA
        try:
            await database.look(store._measure)
            store.store_id = await database.write(lambda c: bring(c, key_id, store.now_ms()))
            store.store_id = await database.write(lambda c: _vouched_id(c, database.dialer.server, terms))
            await store._register()
            store._heard = await store._fetchval(_NODES["registry_version"])
            database.dialer.examine = store._witness.examine
            if beats:
                store._spawn(store._beats())
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """See `port.Store.close`; what this node holds can be taken by the others at once."""
        await self._stop()
        if self._epoch:
            epoch, self._epoch = self._epoch, 0
            with contextlib.suppress(HomingError, asyncpg.PostgresError):
                await self._db.write(lambda c: c.execute(_NODES["leave"], epoch))
                await self._db.fetch(_NODES["tell_joined"])
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

        async def work(connection: Any) -> tuple[Committed, int, int]:
            # Each try has a number that no other had, as one of unknown outcome may be stored.
            self._numbered += 1
            epoch, number = self._epoch, self._numbered
            transaction = Transaction(
                connection,
                batch,
                self.now_ms(),
                epoch,
                self._positions,
                self._online,
                self._roles,
                number,
            )
            committed = await transaction.commit()
            self._trust_term()
            return committed, epoch, number

        try:
            committed, epoch, number = await self._db.write(work)
        except CommitUnknown:
            self._unknown += 1
            self._doubt()
            raise
        except asyncpg.CheckViolationError:
            # No partition for these ids: the clock ran ahead of the upkeep, or was set.
            await self._db.write(lambda c: partitions.make(c, self.now_ms()))
            committed, epoch, number = await self._db.write(work)
        if self._epoch == epoch:
            self._commits = max(self._commits, number)
        self._hint(committed)
        self._hand_over(committed)
        return committed

    async def claim_lanes(self, endpoint: int, limit: int, chance: float | None = None) -> Claimed:
        """See `port.Ledger.claim_lanes`."""
        if chance is None:
            return await self._come_to_own(
                lambda c: claims.claim_lanes(c, endpoint, self.now_ms(), limit, self._epoch)
            )
        return await self._come_to_own(
            lambda c: claims.claim_by_chance(c, endpoint, self.now_ms(), chance, self._epoch)
        )

    async def replay_step(self, job: str, limit: int) -> ReplayStep:
        """See `port.Ledger.replay_step`."""
        return await self._come_to_own(lambda c: replays.step(c, job, limit, self.now_ms(), self._epoch))

    async def adopt_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """See `port.Ledger.adopt_lanes`."""
        return await walk(
            after,
            lambda place: self._come_to_own(
                lambda c: claims.adopt_lanes(c, place, limit, self._epoch, self._known)
            ),
        )

    async def held_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """See `port.Ledger.held_lanes`; what a commit of unknown outcome left is only acted on when it is sure to stay."""
        await self._resolve()
        return await walk(
            after, lambda place: self._db.look(lambda c: claims.held_lanes(c, place, limit, self._epoch))
        )

    async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
        """See `port.Ledger.held_commands`; likewise."""
        await self._resolve()
        return await walk(
            after, lambda place: self._db.look(lambda c: claims.held_commands(c, place, limit, self._epoch))
        )

    async def _resolve(self) -> None:
        """Wait until all that commits of unknown outcome left is sure to stay."""
        if (unknown := self._unknown) > self._resolved:
            await self._db.settle_doubts()
            self._resolved = max(self._resolved, unknown)

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        """See `port.Ledger.claim_commands`."""
        has_orphans, self._has_orphans = self._has_orphans, False
        try:
            works, is_more = await self._come_to_own(
                lambda c: claims.claim_commands(
                    c, self.now_ms(), limit, self._epoch, self._known, has_orphans=has_orphans
                )
            )
        except BaseException:
            self._has_orphans = self._has_orphans or has_orphans
            raise
        # A node may have died meanwhile.
        self._has_orphans = self._has_orphans or is_more
        return works

    async def prune(self, retention: Retention, limit: int) -> int:
        """See `port.Ledger.prune`; what deleted endpoints left goes first, should the node that began have died."""
        await self.sweep()
        return await self._db.write(lambda c: prune(c, retention, limit, self.now_ms()))

    async def release(self, lanes: Sequence[tuple[bytes, int]]) -> None:
        """See `port.Ledger.release`; what this node may have come to own since, under another epoch, stays its own."""
        epoch = self._epoch
        await self._db.write(lambda c: claims.release(c, lanes, self.now_ms(), epoch))

    async def due_dispatches(self, limit: int) -> list[bytes]:
        """See `port.Ledger.due_dispatches`."""
        return await self._db.look(lambda c: claims.due_dispatches(c, self.now_ms(), limit, self._known))

    async def outlook(self) -> Outlook:
        """See `port.Ledger.outlook`."""
        return await self._db.look(lambda c: claims.outlook(c, self._known))

    async def drop_messages(self, before_ms: int, limit: int) -> Dropped:  # noqa: ARG002 - a week goes at once
        """See `port.Ledger.drop_messages`; by whole weeks, the oldest first, until something keeps one."""
        weeks = await self._db.look(lambda c: partitions.droppable(c, before_ms))
        if not weeks:
            return Dropped(0)
        word = await self._db.alone(lambda c: partitions.drop(c, weeks[0], self.now_ms()))
        if word in {partitions.DROPPED, partitions.GONE}:
            return Dropped(1, is_end=False)
        return Dropped(0, len(weeks), word)


async def _vouched_id(connection: Any, server: Server | None, terms: Terms) -> str:
    """Name the store anew where it is not at the timeline that it was last vouched for at: something may be lost (ADR 0010)."""
    await connection.execute(_META["lock_schema"])
    store_id = str(await connection.fetchval(_META["words"], "store_id"))
    noted = await connection.fetchval(_META["number"], "timeline")
    if server is None or not await note_timeline(connection, server):
        return store_id
    await begin_terms(connection, terms)
    if noted is not None:
        store_id = str(uuid_utils.uuid4())
        await connection.execute(_META["put_words"], "store_id", store_id)
        logger().warning(LogEvent.STORE_REWOUND, why=f"its timeline was {noted}, and is {server.timeline}")
    return store_id
