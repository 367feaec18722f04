"""What a node remembers of the store, and whether a server has forgotten any of it: it was promoted, or restored (ADR 0010).

Replication keeps the order of commits, so one number that every commit of a node moves on stands for all of them.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

from homing.store.sql import load

_SQL: Final = load("postgres", "nodes")


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
