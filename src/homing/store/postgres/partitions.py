"""Partitions by message id, a week each: made ahead, dropped whole when their time is over (ADR 0008)."""

from typing import Any, Final

import asyncpg

from homing.store.sql import load

_SQL: Final = load("postgres", "partitions")
WEEK_MS: Final = 7 * 24 * 3_600_000
AHEAD: Final = 2
"""How many whole weeks ahead of now there are partitions for: so long may making them fail unnoticed."""
FIRST: Final = "before"
"""The suffix of the one that takes every older id."""


def bound(week: int) -> bytes:
    """Return the id below which every UUIDv7 of an earlier week is."""
    return (week * WEEK_MS).to_bytes(6, "big")


async def make(connection: Any, now_ms: int) -> int:
    """Make those that are missing from this week to `AHEAD` weeks on; return how many were."""
    week = now_ms // WEEK_MS
    made = 0
    if not await connection.fetch(_SQL["all"]):
        # What has an id from before the store was made: clocks of nodes differ a little.
        made += await connection.fetchval(_SQL["make"], FIRST, None, bound(week))
    for ahead in range(week, week + AHEAD + 1):
        made += await connection.fetchval(_SQL["make"], f"w{ahead}", bound(ahead), bound(ahead + 1))
    return made


async def droppable(connection: Any, before_ms: int) -> list[tuple[str, bytes]]:
    """Return (suffix, bound) of the partitions that hold only messages from before an instant, the oldest first."""
    suffixes = [row[0] for row in await connection.fetch(_SQL["all"])]
    weeks = sorted(int(suffix[1:]) for suffix in suffixes if suffix != FIRST)
    found = [(f"w{week}", bound(week + 1)) for week in weeks if (week + 1) * WEEK_MS <= before_ms]
    if FIRST in suffixes and weeks and weeks[0] * WEEK_MS <= before_ms:
        found.insert(0, (FIRST, bound(weeks[0])))
    return found


async def drop(connection: Any, suffix: str, high: bytes) -> bool:
    """Drop one partition of each table inside the caller's transaction; False while something pending points below."""
    await connection.execute(_SQL["patience"])
    try:
        dropped: bool = await connection.fetchval(_SQL["drop"], suffix, high)
    except asyncpg.UndefinedTableError:
        return False  # another node was faster
    return dropped
