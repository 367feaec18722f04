"""This node's life among the others: its term and its heart.

Everything periodic is one task, the heart: it renews the term, buries who is dead, catches up with changes of
configuration whose notification was lost, and once an hour has the tables kept in order, beside it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Container, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from homing.config.settings import ROLES
from homing.errors import HomingError, Unavailable
from homing.store.postgres import dial, nodes, partitions
from homing.store.postgres.database import Database, T, Work
from homing.store.postgres.dial import LOST
from homing.store.postgres.nodes import Known, Registered, Terms, real_s
from homing.store.postgres.positions import Positions
from homing.store.postgres.standing import Memory, Witness, begin_terms, note_timeline, rename
from homing.store.postgres.store_clock import StoreClock
from homing.store.postgres.talk import PostgresTalk
from homing.store.sql import load
from homing.telemetry import LogEvent, logger

_MAINTENANCE_S: Final = 3_600.0
_TOO_OLD: Final = 0.75
"""A term whose renewal is older than this share of it is not relied on to own anything new."""
_META: Final = load("postgres", "meta")
_NODES: Final = load("postgres", "nodes")


class PostgresNode(PostgresTalk):
    """One node of several (`homing.store.port.Ownership`)."""

    def __init__(
        self,
        database: Database,
        online: Container[int],
        terms: Terms,
        name: str,
        roles: Collection[str] = ROLES,
        *,
        is_heir: bool = False,
    ) -> None:
        super().__init__(database, online, roles)
        self._terms = terms
        self._name = name
        self._is_heir = is_heir
        self.schema = 0
        self.store_id = ""
        """A UUID drawn when the store was created; devices know by it whether their cursor means anything here."""
        self._started_at = datetime.fromtimestamp(0, UTC)
        self._commits = 0
        """The number of this epoch's last commit that was answered."""
        self._numbered = 0
        """How many numbers were given to its tries to commit, whatever became of them."""
        self._positions = Positions(0)
        self._renewed_at_s = 0.0
        self._look_again_at_s: float | None = None
        self._size_bytes: int | None = None
        self.trouble: str | None = None
        """See `port.Ownership.trouble`."""
        self._has_orphans = True
        """Whether there may be commands of a node that is no more; lanes are walked when `on_orphaned` says so."""
        self._witness = Witness(database, terms, self._memory, self._called.set)

    def _trust_term(self) -> None:
        """Raise where the others may take this node for dead by the time that what it would own is stored."""
        if self._witness.forgotten is not None:
            raise Unavailable(f"the database has forgotten something: {self._witness.forgotten}")
        if (real_s() - self._renewed_at_s) * 1000 > self._terms.alive_ms * _TOO_OLD:
            raise Unavailable("this node's term was not renewed in time")

    async def _come_to_own(self, work: Work[T]) -> T:
        """Run ``work``, by which this node comes to own something, in one transaction; not where its term may have run out."""

        async def trusted(connection: Any) -> T:
            value = await work(connection)
            self._trust_term()
            return value

        self._trust_term()
        return await self._db.write(trusted)

    def may_start_try(self) -> bool:
        """See `port.Ownership.may_start_try`."""
        return self._witness.forgotten is None and real_s() - self._renewed_at_s <= self._terms.trusted_s

    async def beat(self) -> None:
        """Renew the term, learn who lives, catch up with what others changed; a lost term begins a new epoch."""
        if self._witness.forgotten is not None:
            await self._begin_anew()
        began_s = real_s()
        ear = await self._listening()
        try:
            if not self._witness.has_vouched:
                # Before anybody is buried; and who stands still may not be in its way.
                await nodes.end_stuck(ear, self._terms)
                await self._witness.vouch()
            # All of it here: that others wait for one of a pool, or for an answer of it, is no reason to lose a term.
            await self._measure(ear)
            beat = await nodes.beat(ear, self._epoch, self._started_at, self._terms)
        except LOST as error:
            ear.terminate()
            raise Unavailable(f"the term could not be renewed: {error}") from error
        if beat.ended:
            logger().warning(LogEvent.NODE_STUCK, sessions=beat.ended)
        if beat.is_renewed:
            self._renewed_at_s = began_s
            before = self._known
            self._living = beat.live
            self._learn(Known.of(self._epoch, beat.live, before.newest))
            # Also those that another node buried.
            if any(self._known.is_dead(epoch) for epoch in before.live):
                self._bereave()
                self._look_again_at_s = began_s + self._terms.alive_ms / 1000
            elif self._look_again_at_s is not None and began_s >= self._look_again_at_s:
                # For what was at its COMMIT when its node was buried.
                self._look_again_at_s = None
                self._bereave()
            elif beat.ended:
                self._bereave()  # who looked before passed over what was locked
        else:
            before_epoch = self._epoch
            await self._register()
            logger().warning(LogEvent.TERM_LOST, before=before_epoch, epoch=self._epoch)
            _call(self._lost)
            self._bereave()
        self._say_links_soon()
        if not await self._hear(beat.registry_version):
            _call(self._lost)
        if beat.store_id != self.store_id:
            self.store_id = beat.store_id  # another node found that something is lost
            _call(self._rewound)

    async def _beats(self) -> None:
        upkeep_at_s = 0.0
        while True:
            try:
                await self.beat()
                self.trouble = None
                if real_s() >= upkeep_at_s:
                    upkeep_at_s = real_s() + _MAINTENANCE_S
                    self._spawn(self._keep_up())
            except HomingError as error:
                self.trouble = str(error)
                logger().error(LogEvent.TERM_LATE, error=str(error))
            except Exception:  # noqa: BLE001 - a heart that stops is worse than any fault of one beat
                logger().exception(LogEvent.NODE_FAILED)
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`, which may keep a cancellation to itself where a call came in the same turn.
                async with asyncio.timeout(self._terms.beat_s):
                    await self._called.wait()
            self._called.clear()

    def _memory(self) -> Memory | None:
        if self._epoch == 0:
            return None
        return Memory(self._epoch, self._started_at, self._commits, self._known.newest, self._heard)

    async def _begin_anew(self) -> None:
        """Go on with a server that is an older state of the store: under a new epoch, as another store to devices.

        The epoch before is left to run out, from now on, whatever that server knew of its term: nobody may take what it held
        while a try of it is still under way.
        """
        why, before, began_s = self._witness.forgotten, self._epoch, real_s()

        async def work(connection: dial.Connection) -> tuple[dial.Server, str, Registered, int]:
            store_id = await rename(connection, self.store_id)
            registered = await self._draw(connection)
            heard = await connection.fetchval(_NODES["registry_version"])
            await note_timeline(connection, connection.server)
            await begin_terms(
                connection, self._terms
            )  # the counter of epochs is locked first, as in every registration
            return connection.server, store_id, registered, heard

        # Nothing else passes to that server before all of this is on disk there, and known here.
        server, self.store_id, registered, self._heard = await self._db.write_unexamined(work)
        self._own.clear()
        self._become(registered, began_s)
        self._witness.begun_anew(server)
        logger().error(LogEvent.STORE_REWOUND, why=why, before=before, epoch=self._epoch)
        _call(self._lost)
        _call(self._rewound)

    def _bereave(self) -> None:
        """Take up what those that are no more held, and what they gave back."""
        self._has_orphans = True
        _call(self._orphaned)
        self._look_soon()

    async def upkeep(self) -> None:
        """Make partitions ahead, forget changes that everyone has heard of, look how large the database is."""
        if not await self._db.alone(lambda c: partitions.make_ahead(c, self._db.clock.now_ms())):
            logger().warning(LogEvent.UPKEEP_PUT_OFF, what="partitions")
        await self._db.write(lambda c: c.execute(_NODES["drop_old_changes"]))
        await self._db.write(lambda c: c.execute(_NODES["drop_old_commits"]))
        self._size_bytes = await self._fetchval(_META["size"])

    async def _keep_up(self) -> None:
        """Do it beside the heart: no beat waits for what is in its way."""
        try:
            await self.upkeep()
        except HomingError as error:
            logger().warning(LogEvent.UPKEEP_PUT_OFF, error=str(error))
        except Exception:  # noqa: BLE001 - the next one comes in an hour
            logger().exception(LogEvent.NODE_FAILED)

    async def _register(self) -> None:
        began_s = real_s()
        self._become(await self._db.write(self._draw), began_s)

    async def _draw(self, connection: Any) -> Registered:
        # What this process was itself a moment ago may have a try under way: its term is left to run out.
        is_heir = self._is_heir and not self._epoch
        registered = await nodes.register(
            connection, self._name, self._terms, self._roles, is_heir=is_heir, above=self._known.newest
        )
        if registered.others:
            await connection.execute(_NODES["tell_joined"])
        return registered

    def _become(self, registered: Registered, began_s: float) -> None:
        """Be this epoch from now on."""
        epoch, started_at, others = registered
        if self._is_heir:  # for what its predecessor had at its COMMIT when it ended
            self._look_again_at_s = began_s + self._terms.alive_ms / 1000
        self._epoch, self._living = epoch, {**others, epoch: self._roles}
        self._learn(Known.of(epoch, self._living, self._known.newest))
        self._started_at, self._commits, self._numbered = started_at, 0, 0
        self._positions = Positions(epoch)
        self._renewed_at_s = began_s
        if self._ear is not None:
            self._ear.terminate()
            self._ear = None

    async def _measure(self, connection: Any) -> None:
        clock = self._db.clock
        if isinstance(clock, StoreClock):
            asked_s = time.monotonic()
            there_ms = await connection.fetchval(_NODES["clock"])
            clock.measured(there_ms, asked_s, time.monotonic())


def _call(hooks: Iterable[Callable[[], None]]) -> None:
    for hook in hooks:
        hook()
