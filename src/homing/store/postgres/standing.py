"""What a node remembers of the store, and whether a server has forgotten any of it: it was promoted, or restored (ADR 0010).

Replication keeps the order of commits, so one number that every commit of a node moves on stands for all of them.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

import uuid_utils

from homing.errors import Unavailable
from homing.store.postgres.database import Database
from homing.store.postgres.dial import Connection, Server
from homing.store.postgres.nodes import Terms
from homing.store.sql import load
from homing.telemetry import LogEvent, logger

_SQL: Final = load("postgres", "nodes")
_META: Final = load("postgres", "meta")


class Memory(NamedTuple):
    """What a node was told is on disk."""

    epoch: int
    started_at: datetime
    """When its epoch was drawn; another instant is another node that drew the same."""
    commits: int
    """The number of its last commit that was answered."""
    newest: int
    """The highest epoch it ever knew."""
    registry: int
    """The version of the configuration that it has heard of."""


async def forgotten(connection: Any, memory: Memory) -> str | None:
    """Say what a server no longer knows; None where it has everything."""
    started_at, commits, newest, registry = await connection.fetchrow(_SQL["standing"], memory.epoch)
    facts = (
        (f"of {memory.commits} commits of this node it has {commits}", commits < memory.commits),
        (
            f"epoch {memory.epoch} is another node's there",
            started_at is not None and started_at != memory.started_at,
        ),
        (f"of {memory.newest} epochs it has {newest}", newest < memory.newest),
        (f"of {memory.registry} changes of configuration it has {registry}", registry < memory.registry),
    )
    return next((told for told, is_forgotten in facts if is_forgotten), None)


class Witness:
    """Examines each server before this node uses it, and says to the store that it has everything."""

    def __init__(
        self,
        database: Database,
        terms: Terms,
        remember: Callable[[], Memory | None],
        call: Callable[[], None],
    ) -> None:
        """``remember()`` is asked what the node knows, None before it is one; ``call()`` wakes it when a server has forgotten."""
        self.forgotten: str | None = None
        """What the server that takes writes now has forgotten; until the node has begun anew nothing is done there."""
        self.has_vouched = True
        """Whether the store has noted the timeline of the server in use."""
        self._db = database
        self._terms = terms
        self._remember = remember
        self._call = call

    async def examine(self, connection: Connection, server: Server) -> None:
        """Compare what the node remembers with what a server has (`dial.Dialer.examine`); raises `Unavailable`."""
        if self.forgotten is not None:
            raise Unavailable(f"this node has not begun anew yet: {self.forgotten}")
        memory = self._remember()
        if memory is None:
            return
        if (told := await forgotten(connection, memory)) is not None:
            self.forgotten = told
            self._call()
            raise Unavailable(f"it has forgotten something: {told}")
        before = self._db.dialer.server
        if before is not None and before.timeline != server.timeline:
            logger().warning(LogEvent.STORE_PROMOTED, before=before.timeline, timeline=server.timeline)
            self.has_vouched = False

    async def vouch(self) -> None:
        """Have the store note that at this timeline nothing was missing; its first use there begins all terms anew."""

        async def work(connection: Connection) -> None:
            if await note_timeline(connection, connection.server):
                await begin_terms(connection, self._terms)

        await self._db.write(work)
        self.has_vouched = True

    def begun_anew(self, server: Server) -> None:
        """Use a server from now on: what this node remembers is what is there."""
        self._db.dialer.server = server
        self.forgotten = None
        self.has_vouched = True


async def rename(connection: Connection, store_id: str) -> str:
    """Give the store another id, if it still has this one, and return the id that it has then."""
    await connection.execute(_SQL["rename_store"], store_id, str(uuid_utils.uuid4()))
    return str(await connection.fetchval(_META["words"], "store_id"))


async def note_timeline(connection: Any, server: Server | None) -> bool:
    """Note where a server is, and say whether that is another timeline than the one noted before."""
    if server is None or server.timeline is None:
        return False
    return await connection.fetchval(_SQL["note_timeline"], server.timeline) is not None


async def begin_terms(connection: Any, terms: Terms) -> None:
    """Have every node live for a term from now on, as the server that is used from now on knows older renewals than there were.

    By those a node would be buried, and what it held be taken, while a try of it is still under way. Nobody is buried
    before whoever comes there first has done this.
    """
    await connection.execute(_SQL["begin_terms"], terms.alive_ms)
