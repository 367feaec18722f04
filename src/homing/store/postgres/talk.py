"""What a node hears from the others and says to them: hints of links, work handed over, who came and went.

Whatever is lost on the way is found by the heart (`homing.store.postgres.membership`) or a sweep.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from functools import partial
from typing import Any, Final

from homing.config.settings import ROLES, Role
from homing.errors import HomingError, Unavailable
from homing.store.batch import Changed, Committed
from homing.store.port import HearHint, Share
from homing.store.postgres import claims, hints
from homing.store.postgres.database import Database
from homing.store.postgres.dial import LOST
from homing.store.postgres.handovers import Handovers, HearCommand, HearLanes, channel
from homing.store.postgres.nodes import Known
from homing.store.postgres.registry import PostgresRegistry
from homing.store.sql import load

_TAKEN: Final = (Role.CALLBACKS, Role.CHANNELS)
"""The roles that take up work which others stored."""
_NODES: Final = load("postgres", "nodes")


class PostgresTalk(PostgresRegistry):
    """A node's ear and its mouth (`homing.store.port.Hints`, `homing.store.port.Handovers`)."""

    def __init__(self, database: Database, online: Container[int], roles: Collection[str]) -> None:
        super().__init__()
        self._db = database
        self._online = online
        self._roles = frozenset(roles)
        self._epoch = 0
        self._known = Known.of(0, {})
        self._living: Mapping[int, Collection[str]] = {}
        """The roles of all nodes, as last seen."""
        self._linked: dict[int, bool] = {}
        """What is still to be said of them."""
        self._is_saying = False
        self._handovers = Handovers(self._tell_role, self._takers, self._look_soon)
        self._hearers: list[HearHint] = []
        self._lost: list[Callable[[], None]] = []
        self._orphaned: list[Callable[[], None]] = []
        self._sharers: list[Callable[[Share], None]] = []
        self._rewound: list[Callable[[], None]] = []
        self._ear: Any = None
        self._called = asyncio.Event()
        """Set when the heart should beat now."""

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
        self._linked[recipient] = is_linked
        self._say_links_soon()

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
            except LOST as error:
                ear.terminate()
                raise Unavailable(f"what the other nodes say cannot be heard: {error}") from error
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
        # That somebody left meanwhile may have been said before this.
        left = {recipient: False for recipient in links if recipient not in self._online}
        self._linked = left | self._linked
        self._say_links_soon()
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

    def _say_links_soon(self) -> None:
        """Say what is still to be said, one after the other: who says two things at once does not know which comes last."""
        if self._linked and not self._is_saying:
            self._is_saying = True
            self._spawn(self._say_links())

    async def _say_links(self) -> None:
        try:
            await asyncio.sleep(0)  # those that come in this turn of the loop go together
            while self._linked:
                said, self._linked = self._linked, {}
                try:
                    await self._say_of(said)
                except BaseException:
                    self._linked = said | self._linked  # what is newer counts
                    raise
        except HomingError:
            pass  # it is said after the next beat
        finally:
            self._is_saying = False

    async def _say_of(self, said: Mapping[int, bool]) -> None:
        here = sorted(recipient for recipient, is_linked in said.items() if is_linked)
        gone = sorted(recipient for recipient, is_linked in said.items() if not is_linked)

        async def work(connection: Any) -> None:
            await connection.execute(_NODES["link"], here, self._epoch)
            await connection.execute(_NODES["unlink"], gone, self._epoch)

        await self._db.write(work)
        # What another node stored since they were linked here and before it could know may have gone without a hint.
        if here and len(self._known.live) > 1:
            self._tell_hint(here, [])

    async def _fetchval(self, sql: str) -> Any:
        return (await self._db.fetch(sql))[0][0]

    async def _stop(self) -> None:
        """End the heart and whatever is still being said."""
        await self._handovers.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
