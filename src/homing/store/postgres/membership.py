"""This node's life among the others: its term, its heart, what it hears and says.

Everything periodic is one task, the heart: it renews the term, buries who is dead, catches up with changes of
configuration whose notification was lost, and once an hour keeps the tables in order.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import asyncpg

from homing.config.settings import ROLES, Role
from homing.errors import HomingError, Unavailable
from homing.store.batch import Changed, Committed
from homing.store.port import HearHint, Share
from homing.store.postgres import claims, hints, nodes, partitions
from homing.store.postgres.database import Database, T, Work
from homing.store.postgres.handovers import Handovers, HearCommand, HearLanes, channel
from homing.store.postgres.nodes import Known, Terms, real_s
from homing.store.postgres.positions import Positions
from homing.store.postgres.registry import PostgresRegistry
from homing.store.postgres.standing import Memory, Witness
from homing.store.postgres.store_clock import StoreClock
from homing.store.sql import load
from homing.telemetry import LogEvent, logger

_MAINTENANCE_S: Final = 3_600.0
_TOO_OLD: Final = 0.75
"""A term whose renewal is older than this share of it is not relied on to own anything new."""
_TAKEN: Final = (Role.CALLBACKS, Role.CHANNELS)
"""The roles that take up work which others stored."""
_META: Final = load("postgres", "meta")
_NODES: Final = load("postgres", "nodes")


class PostgresNode(PostgresRegistry):
    """One node of several (`homing.store.port.Ownership`, `homing.store.port.Hints`)."""

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
        super().__init__()
        self._db = database
        self._online = online
        self._terms = terms
        self._name = name
        self._roles = frozenset(roles)
        self._is_heir = is_heir
        self.schema = 0
        self.store_id = ""
        """A UUID drawn when the store was created; devices know by it whether their cursor means anything here."""
        self._epoch = 0
        self._started_at = datetime.fromtimestamp(0, UTC)
        self._commits = 0
        """The number of this epoch's last commit that was answered."""
        self._known = Known.of(0, {})
        self._living: Mapping[int, Collection[str]] = {}
        """The roles of all nodes, as last seen."""
        self._positions = Positions(0)
        self._renewed_at_s = 0.0
        self._look_again_at_s: float | None = None
        self._linked: dict[int, bool] = {}
        self._handovers = Handovers(self._tell_role, self._takers, self._look_soon)
        self._hearers: list[HearHint] = []
        self._lost: list[Callable[[], None]] = []
        self._orphaned: list[Callable[[], None]] = []
        self._sharers: list[Callable[[Share], None]] = []
        self._rewound: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ear: Any = None
        self._size_bytes: int | None = None
        self.trouble: str | None = None
        """See `port.Ownership.trouble`."""
        self._has_orphans = True
        """Whether there may be commands of a node that is no more; lanes are walked when `on_orphaned` says so."""
        self._called = asyncio.Event()
        self._witness = Witness(database, self._memory, self._called.set)

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

    def on_lost(self, lost: Callable[[], None]) -> None:
        """See `port.Ownership.on_lost`."""
        self._lost.append(lost)

    def on_orphaned(self, orphaned: Callable[[], None]) -> None:
        """See `port.Ownership.on_orphaned`."""
        self._orphaned.append(orphaned)

    def on_share(self, hear: Callable[[Share], None]) -> None:
        """See `port.Ownership.on_share`."""
        self._sharers.append(hear)
        hear(self._known.share)

    def on_rewound(self, rewound: Callable[[], None]) -> None:
        """See `port.Ownership.on_rewound`."""
        self._rewound.append(rewound)

    def on_hint(self, hear: HearHint) -> None:
        """See `port.Hints.on_hint`."""
        self._hearers.append(hear)

    def on_lanes(self, hear: HearLanes) -> None:
        """See `port.Handovers.on_lanes`."""
        self._handovers.on_lanes(hear)

    def on_command(self, hear: HearCommand) -> None:
        """See `port.Handovers.on_command`."""
        self._handovers.on_command(hear)

    def on_handed(self, hear: Callable[[str], None]) -> None:
        """See `port.Handovers.on_handed`."""
        self._handovers.on_handed(hear)

    def nodes(self) -> Mapping[str, int]:
        """See `port.Ownership.nodes`."""
        return {role: len(self._takers(role)) for role in ROLES}

    def link(self, recipient: int, *, is_linked: bool) -> None:
        """See `port.Hints.link`."""
        if not self._linked:
            self._spawn(self._say_links())
        self._linked[recipient] = is_linked

    async def beat(self) -> None:
        """Renew the term, learn who lives, catch up with what others changed; a lost term begins a new epoch."""
        if self._witness.forgotten is not None:
            await self._begin_anew()
        began_s = real_s()
        ear = await self._listening()
        try:
            beat = await nodes.beat(ear, self._epoch, self._started_at, self._terms)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            ear.terminate()
            raise Unavailable(f"the term could not be renewed: {error}") from error
        if isinstance(self._db.clock, StoreClock):
            await self._measure()
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
        else:
            before_epoch = self._epoch
            await self._register()
            logger().warning(LogEvent.TERM_LOST, before=before_epoch, epoch=self._epoch)
            _call(self._lost)
            self._bereave()
        if not await self._hear(beat.registry_version):
            _call(self._lost)
        if not self._witness.has_vouched:
            await self._witness.vouch()
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
                    await self.upkeep()
            except HomingError as error:
                self.trouble = str(error)
                logger().error(LogEvent.TERM_LATE, error=str(error))
            except Exception:  # noqa: BLE001 - a heart that stops is worse than any fault of one beat
                logger().exception(LogEvent.NODE_FAILED)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._called.wait(), self._terms.beat_s)
            self._called.clear()

    def _memory(self) -> Memory | None:
        if self._epoch == 0:
            return None
        return Memory(self._epoch, self._started_at, self._commits, self._known.newest, self._heard)

    async def _begin_anew(self) -> None:
        """Go on with a server that is an older state of the store: under a new epoch, as another store to devices.

        The epoch before is left to run out: nobody may take what it held while a try of it is still under way.
        """
        why, before = self._witness.forgotten, self._epoch
        self.store_id = await self._witness.rename(self.store_id)
        await self._register()
        self._own.clear()
        self._heard = await self._fetchval(_NODES["registry_version"])
        self._witness.forgotten = None
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
        await self._db.write(lambda c: partitions.make(c, self._db.clock.now_ms()))
        await self._db.write(lambda c: c.execute(_NODES["drop_old_changes"]))
        await self._db.write(lambda c: c.execute(_NODES["drop_old_commits"]))
        self._size_bytes = await self._fetchval(_META["size"])

    async def _register(self) -> None:
        began_s = real_s()
        newest = self._known.newest
        epoch, started_at, others = await self._db.write(
            lambda c: nodes.register(
                c, self._name, self._terms, self._roles, is_heir=self._is_heir, above=newest
            )
        )
        if others:
            await self._db.fetch(_NODES["tell_joined"])
        if self._is_heir:  # for what its predecessor had at its COMMIT when it ended
            self._look_again_at_s = began_s + self._terms.alive_ms / 1000
        self._epoch, self._living = epoch, {**others, epoch: self._roles}
        self._learn(Known.of(epoch, self._living, newest))
        self._started_at, self._commits = started_at, 0
        self._positions = Positions(epoch)
        self._renewed_at_s = began_s
        if self._ear is not None:
            self._ear.terminate()
            self._ear = None

    def _learn(self, known: Known) -> None:
        before, self._known = self._known, known
        if known.share != before.share:
            for hear in self._sharers:
                hear(known.share)

    async def _listening(self) -> Any:
        """Return the connection on which this epoch hears the others."""
        if self._ear is None or self._ear.is_closed():
            ear = await self._db.connect()
            try:
                links = await self._listen(ear)
            except BaseException:
                ear.terminate()
                raise
            self._ear = ear
            self._look_soon()
            if links and len(self._known.live) > 1:
                self._tell_hint(links, [])  # what was told while nobody listened
        return self._ear

    async def _listen(self, ear: Any) -> list[int]:
        """Have everything told to a connection; return the recipients whose links were said."""
        await ear.add_listener(f"homing_{self._epoch}", self._hinted)
        await ear.add_listener("homing_registry", self._notified)
        await ear.add_listener("homing_nodes", self._joined)
        for role in self._taken_roles():
            await ear.add_listener(channel(role), partial(self._handed_over, role))
        # Links said to a server that crashed since are forgotten there; repeating them is harmless.
        links = sorted(self._online) if isinstance(self._online, Iterable) else []
        await ear.execute(_NODES["link"], links, self._epoch)
        return links

    def _hinted(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._tell_hint(*hints.read(str(payload)))

    def _tell_hint(self, recipients: list[int], changes: list[Changed]) -> None:
        for hear in self._hearers:
            hear(recipients, changes)

    def _joined(self, *_told: object) -> None:
        """A node came or went: who hints only where there are several, or takes over, learns of it now, not with the next beat."""
        self._called.set()

    def _notified(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._spawn(self._hear_quietly(int(str(payload))))

    async def _hear_quietly(self, version: int) -> None:
        with contextlib.suppress(HomingError):  # the next beat sees it
            await self._hear(version)

    def _taken_roles(self) -> list[Role]:
        """The roles of this node for which other nodes may leave work."""
        return [role for role in _TAKEN if role in self._roles]

    def _takers(self, role: str) -> list[int]:
        return [epoch for epoch, roles in sorted(self._living.items()) if role in roles]

    def _hand_over(self, committed: Committed) -> None:
        """Tell those who have the roles that this node has not of the work it stored for them."""
        lanes = {} if Role.CALLBACKS in self._roles else committed.lanes_due
        command_ms = None if Role.CHANNELS in self._roles else committed.next_command_ms
        if lanes or command_ms is not None:
            self._handovers.say(lanes, command_ms)

    def _doubt(self) -> None:
        """Whether a commit stored work for others is not known: have them look."""
        if len(self._taken_roles()) < len(_TAKEN):
            self._handovers.doubt()

    def _handed_over(self, role: Role, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._handovers.hear(role, str(payload), self._epoch)

    async def _tell_role(self, channel: str, payload: str) -> None:
        await self._db.fetch(_NODES["tell_role"], channel, payload)

    def _look_soon(self) -> None:
        if self._taken_roles():
            self._spawn(self._look_for_work())

    async def _look_for_work(self) -> None:
        """What was handed over while nobody listened here, or given back by a node that stopped, is in the store."""
        with contextlib.suppress(HomingError):  # else a sweep finds it
            outlook = await self._db.look(lambda c: claims.outlook(c, self._known))
            self._handovers.found(outlook.lanes_due, outlook.next_command_ms)

    def _hint(self, committed: Committed) -> None:
        """Tell nodes that have a link to somebody for whom there is something new; lost hints are found by heartbeats."""
        if len(self._known.live) < 2:
            return
        for said in hints.words(committed):
            self._spawn(self._say_hint(said))

    async def _say_hint(self, said: hints.Words) -> None:
        with contextlib.suppress(HomingError):
            await self._db.write(lambda c: c.fetch(_NODES["hint"], said.recipients, said.words, self._epoch))

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
            # What another node stored since they were linked here and before it could know may have gone without a hint.
            if here and len(self._known.live) > 1:
                self._tell_hint(here, [])

    async def _measure(self) -> None:
        clock = self._db.clock
        if isinstance(clock, StoreClock):
            asked_s = time.monotonic()
            there_ms = await self._fetchval(_NODES["clock"])
            clock.measured(there_ms, asked_s, time.monotonic())

    async def _fetchval(self, sql: str) -> Any:
        return (await self._db.fetch(sql))[0][0]

    async def _stop(self) -> None:
        """End the heart and whatever is still being said."""
        await self._handovers.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _call(hooks: Iterable[Callable[[], None]]) -> None:
    for hook in hooks:
        hook()
