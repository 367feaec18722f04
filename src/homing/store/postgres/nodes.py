"""This node among the others: its epoch, the term it renews, who lives, and what the others tell it.

An epoch lives as long as its row in ``node``; whoever finds a row whose term ran out deletes it, and the row's lock
decides between that and a renewal. So a dead epoch stays dead, and what one believes dead from memory is. All times
here are real: the database's clock for terms, this machine's boot time for how old the last renewal is.
"""

import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from homing.config.settings import ROLES, Role
from homing.store.port import Share
from homing.store.postgres.positions import SLOTS
from homing.store.sql import load

_SQL: Final = load("postgres", "nodes")
_META: Final = load("postgres", "meta")


class Terms(msgspec.Struct, frozen=True):
    """How long a node counts as alive, and how far it trusts itself (DESIGN.md §5)."""

    beat_s: float = 2.0
    alive_ms: int = 40_000
    """So long after a renewal by the database's clock."""
    trusted_s: float = 20.0
    """No try is started when the last renewal that succeeded began longer ago; each ends within 15 s."""
    stuck_s: float = 20.0
    """No transaction waits so long for a node that runs: it gives up every statement after half of it (`dial.ANSWER_S`)."""


class Known(NamedTuple):
    """Who lives, as this node last saw it: an owner above ``newest`` has started since, and lives."""

    newest: int
    live: list[int]
    tellers: list[int]
    """Those of them with the role ``callbacks``, in order: they share the deadlines."""
    rank: int
    """Which of the tellers this node is, from 0; -1 where it is none."""

    @classmethod
    def of(cls, epoch: int, roles: Mapping[int, Collection[str]], newest: int = 0) -> "Known":
        """Return what a node knows after a look at ``node``: the roles of each epoch that lives, its own among them.

        ``newest`` is the highest epoch it ever knew, which may have died.
        """
        live = sorted({epoch, *roles})
        tellers = [one for one in live if Role.CALLBACKS in roles.get(one, ())]
        rank = tellers.index(epoch) if epoch in tellers else -1
        return cls(max(newest, live[-1]), live, tellers, rank)

    @property
    def share(self) -> Share:
        """See `port.Ownership.on_share`."""
        return Share(max(self.rank, 0), max(len(self.tellers), 1))

    def is_dead(self, owner: int) -> bool:
        """Say whether what this epoch owns may be taken."""
        return 0 < owner <= self.newest and owner not in self.live


def real_s() -> float:
    """Return this machine's time since boot, which goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Beat(NamedTuple):
    """What one renewal came to; ``is_renewed`` False: the term had run out."""

    is_renewed: bool
    live: dict[int, frozenset[str]]
    """Their roles."""
    buried: list[int]
    ended: int
    """How many sessions of nodes that stand still were ended: what they had locked is free."""
    registry_version: int
    store_id: str


class Registered(NamedTuple):
    """An epoch, when it was drawn, and the roles of all others that live."""

    epoch: int
    started_at: datetime
    others: dict[int, frozenset[str]]


async def register(
    connection: Any,
    name: str,
    terms: Terms,
    roles: Collection[str] = ROLES,
    *,
    is_heir: bool = False,
    above: int = 0,
) -> Registered:
    """Draw an epoch inside the caller's transaction, higher than any drawn before and than ``above``.

    An heir's name was its predecessor's, which is no more, whatever its term says.

    The counter's lock is held until the commit: epochs become visible in their order, so that whoever knows one knows
    every lower one that lives. It differs from all that live in the place it has in feed positions.
    """
    last = max(above, await connection.fetchval(_META["lock_number"], "epoch"))
    if is_heir and await connection.fetch(_SQL["succeed"], name):
        await connection.execute(_SQL["unlink_dead"])
    live = await _living(connection)
    epoch = last + 1
    while epoch % SLOTS in {other % SLOTS for other in live}:
        epoch += 1
    await connection.execute(_META["put_number"], "epoch", epoch)
    words = " ".join(sorted(roles))
    started_at = await connection.fetchval(_SQL["register"], epoch, name, terms.alive_ms, words)
    return Registered(epoch, started_at, live)


async def beat(connection: Any, epoch: int, started_at: datetime, terms: Terms) -> Beat:
    """Renew the term, end what stands still, bury who is dead, and look who lives; each statement is its own transaction."""
    renewed = await connection.fetchval(_SQL["renew"], epoch, terms.alive_ms, started_at)
    # In each beat, not only where somebody is buried: a lock may be in the way of that, and may be taken after it.
    ended = await end_stuck(connection, terms)
    buried = [row[0] for row in await connection.fetch(_SQL["bury"])]
    if buried:
        await connection.execute(_SQL["unlink_dead"])
    live = await _living(connection)
    version, store_id = await connection.fetchrow(_SQL["news"])
    return Beat(renewed is not None, live, buried, ended, version, store_id)


async def end_stuck(connection: Any, terms: Terms) -> int:
    """End sessions of nodes that stand still amid a transaction; return how many, also of those that are not gone yet."""
    return len(await connection.fetch(_SQL["end_stuck"], terms.stuck_s))


async def _living(connection: Any) -> dict[int, frozenset[str]]:
    return {row[0]: frozenset(row[1].split()) for row in await connection.fetch(_SQL["epochs"])}
