"""Partitions by message id, a week each: made ahead, dropped whole when their time is over (ADR 0008)."""

from typing import Any, Final, NamedTuple

import asyncpg

from homing.store.sql import load

_SQL: Final = load("postgres", "partitions")
WEEK_MS: Final = 7 * 24 * 3_600_000
AHEAD: Final = 2
"""How many whole weeks ahead of now there are partitions for: so long may making them fail unnoticed."""
PATIENCE: Final = "100ms"
"""How long dropping waits for each lock, and everybody else behind it: a commit takes a tenth of that."""
DROPPED: Final = "dropped"
BUSY: Final = "busy"
GONE: Final = "gone"
FIRST: Final = "before"
"""The suffix of the one that takes every older id."""


class Week(NamedTuple):
    """One partition of each table: its name's end, and the id below which all is that it holds, or that is older."""

    suffix: str
    high: bytes


def bound(week: int) -> bytes:
    """Return the id below which every UUIDv7 of an earlier week is."""
    return (week * WEEK_MS).to_bytes(6, "big")


async def make(connection: Any, now_ms: int, ahead: int = AHEAD) -> int:
    """Make those that are missing from this week to some weeks on; return how many were."""
    week = now_ms // WEEK_MS
    made = 0
    there = {row[0] for row in await connection.fetch(_SQL["all"])}
    if not there:
        # What has an id from before the store was made: clocks of nodes differ a little.
        made += await connection.fetchval(_SQL["make"], FIRST, None, bound(week))
    for one in range(week, week + ahead + 1):
        if f"w{one}" not in there:
            made += await connection.fetchval(_SQL["make"], f"w{one}", bound(one), bound(one + 1))
    return made


async def make_due(connection: Any, now_ms: int) -> int:
    """Do as `make`, in a store that has some only for now: the others have time until somebody's upkeep."""
    is_new = not await connection.fetch(_SQL["all"])
    return await make(connection, now_ms, AHEAD if is_new else 0)


async def make_ahead(connection: Any, now_ms: int) -> bool:
    """Do as `make` on a connection of its own while nobody needs them yet; False where others were in the way."""
    await connection.execute(_SQL["patience"])
    try:
        await make(connection, now_ms)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return False
    return True


async def droppable(connection: Any, before_ms: int) -> list[Week]:
    """Return the weeks that hold only messages from before an instant, the oldest first."""
    suffixes = [row[0] for row in await connection.fetch(_SQL["all"])]
    weeks = sorted(int(suffix[1:]) for suffix in suffixes if suffix != FIRST)
    return [Week(f"w{week}", bound(week + 1)) for week in weeks if (week + 1) * WEEK_MS <= before_ms]


async def drop(connection: Any, week: Week, now_ms: int, patience: str = PATIENCE) -> str:
    """Drop a week with all that is older, in one statement; return `DROPPED`, or what kept it.

    That is the word for something pending that points there, `BUSY` where others were in the way, or `GONE` where
    another node was faster.
    """
    word: str | None = await connection.fetchval(_SQL["points_below"], week.high, now_ms)
    if word is not None:
        return word
    try:
        word = await connection.fetchval(_SQL["drop_week"], *week, now_ms, patience)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return BUSY
    except asyncpg.UndefinedTableError:
        return GONE
    return word or GONE
