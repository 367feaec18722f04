"""The embedded store: SQLite through apsw, one process, one writer (`homing.store.port.Store`)."""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial

import apsw

from homing.clock import Clock
from homing.config.settings import ROLES
from homing.store.batch import Batch, CommandWork, Committed, LaneWork, Outlook
from homing.store.claims import walk
from homing.store.port import Claimed, Dropped, HearHint, ReplayStep, Retention, Share
from homing.store.sqlite import claims, replays
from homing.store.sqlite.archive import SqliteArchive
from homing.store.sqlite.database import SYNCHRONOUS, Database, die
from homing.store.sqlite.ledger import Writer
from homing.store.sqlite.old_messages import drop_messages
from homing.store.sqlite.prune import prune
from homing.store.sqlite.registry import SqliteRegistry
from homing.store.sqlite.schema import SCHEMA, bring, get, put

__all__ = ["SCHEMA", "SqliteStore"]


class SqliteStore(SqliteRegistry, SqliteArchive):
    """All three ports on one file; made by `open`."""

    def __init__(
        self, database: Database, epoch: int, store_id: str, positions_from: int, online: Container[int]
    ) -> None:
        super().__init__(database)
        self._epoch = epoch
        self.store_id = store_id
        """A UUID drawn when the store was created; devices know by it whether their cursor means anything here."""
        self.schema = SCHEMA
        self._writer = Writer(epoch, positions_from, online)
        self._has_orphans = True

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        clock: Clock,
        online: Container[int] = frozenset(),
        key_id: str = "",
        vfs: str | None = None,
        synchronous: str = SYNCHRONOUS,
        on_failure: Callable[[BaseException], None] = die,
    ) -> "SqliteStore":
        """Open or create the store at ``path`` (a file, or ``:memory:``).

        ``on_failure`` is called on the writer's thread when what is on disk is no longer known; it ends the process.
        Raises `StoreLocked`, `SchemaTooNew`, `StoreMoved`, or `WrongMasterKey` when its secrets are sealed under another ``key_id``.
        """
        database = Database(path, clock, vfs=vfs, synchronous=synchronous, on_failure=on_failure)
        await database.open()
        try:
            epoch, store_id, positions_from = await database.write(partial(_begin, key_id=key_id))
        except BaseException:
            await database.close()
            raise
        return cls(database, epoch, store_id, positions_from, online)

    async def close(self) -> None:
        """See `port.Store.close`."""
        await self._db.close()

    @property
    def epoch(self) -> int:
        """See `port.Ledger.epoch`."""
        return self._epoch

    def now_ms(self) -> int:
        """See `port.Ledger.now_ms`."""
        return self._db.clock.now_ms()

    def free_bytes(self) -> int | None:
        """See `port.Ledger.free_bytes`."""
        return self._db.free_bytes()

    def size_bytes(self) -> int | None:
        """How large the store's files are; None for one in memory."""
        return self._db.size_bytes()

    async def commit(self, batch: Batch) -> Committed:
        """See `port.Ledger.commit`."""
        return await self._db.write(lambda c: self._writer.commit(c, batch, self._db.clock.now_ms()))

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
        return await walk(
            after, lambda at: self._db.write(lambda c: claims.adopt_lanes(c, at, limit, self._epoch))
        )

    async def held_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """See `port.Ledger.held_lanes`."""
        return await walk(
            after, lambda at: self._db.read(lambda c: claims.held_lanes(c, at, limit, self._epoch))
        )

    async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
        """See `port.Ledger.held_commands`."""
        return await walk(
            after, lambda at: self._db.read(lambda c: claims.held_commands(c, at, limit, self._epoch))
        )

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        """See `port.Ledger.claim_commands`."""
        works, self._has_orphans = await self._db.write(
            lambda c: claims.claim_commands(
                c, self.now_ms(), limit, self._epoch, has_orphans=self._has_orphans
            )
        )
        return works

    async def prune(self, retention: Retention, limit: int) -> int:
        """See `port.Ledger.prune`."""
        return await self._db.write(lambda c: prune(c, retention, limit, self.now_ms()))

    async def drop_messages(self, before_ms: int, limit: int) -> Dropped:
        """See `port.Ledger.drop_messages`."""
        return await self._db.write(lambda c: drop_messages(c, before_ms, limit, self.now_ms()))

    async def release(self, lanes: Sequence[tuple[bytes, int]]) -> None:
        """See `port.Ledger.release`."""
        await self._db.write(lambda c: claims.release(c, lanes, self.now_ms(), self._epoch))

    async def due_dispatches(self, limit: int) -> list[bytes]:
        """See `port.Ledger.due_dispatches`."""
        return await self._db.read(lambda c: claims.due_dispatches(c, self.now_ms(), limit))

    async def outlook(self) -> Outlook:
        """See `port.Ledger.outlook`."""
        return await self._db.read(claims.outlook)

    @property
    def trouble(self) -> str | None:
        """See `port.Ownership.trouble`: there is no term to renew."""
        return None

    def may_start_try(self) -> bool:
        """See `port.Ownership.may_start_try`: nobody else could take what this process holds."""
        return True

    def on_lost(self, lost: Callable[[], None]) -> None:
        """See `port.Ownership.on_lost`: it never is."""

    def on_rewound(self, rewound: Callable[[], None]) -> None:
        """See `port.Ownership.on_rewound`: what was restored is another store from its first moment."""

    def on_orphaned(self, orphaned: Callable[[], None]) -> None:
        """See `port.Ownership.on_orphaned`: there is no other node."""

    def on_share(self, hear: Callable[[Share], None]) -> None:
        """See `port.Ownership.on_share`: this process is the only one."""
        hear(Share())

    def link(self, recipient: int, *, is_linked: bool) -> None:
        """See `port.Hints.link`: there is nobody to be told."""

    def on_hint(self, hear: HearHint) -> None:
        """See `port.Hints.on_hint`: there is nobody to tell."""

    def on_lanes(self, hear: Callable[[Mapping[int, int]], None]) -> None:
        """See `port.Handovers.on_lanes`: there is nobody who would leave work to this process."""

    def on_command(self, hear: Callable[[int], None]) -> None:
        """See `port.Handovers.on_command`: likewise."""

    def on_handed(self, hear: Callable[[str], None]) -> None:
        """See `port.Handovers.on_handed`: likewise."""

    def nodes(self) -> Mapping[str, int]:
        """See `port.Ownership.nodes`: this one has all roles."""
        return dict.fromkeys(ROLES, 1)


def _begin(connection: apsw.Connection, key_id: str) -> tuple[int, str, int]:
    """Create or check the schema, and draw this process's epoch."""
    bring(connection, key_id)
    epoch = get(connection, "epoch")
    epoch = epoch + 1 if isinstance(epoch, int) else 1
    put(connection, "epoch", epoch)
    position = get(connection, "position")
    return epoch, str(get(connection, "store_id")), position if isinstance(position, int) else 0
