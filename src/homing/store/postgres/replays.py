"""Telling again: a job's next step, inside the caller's transaction."""

from typing import Any

import asyncpg

from homing.store import replays
from homing.store.dialogue import Again
from homing.store.port import ReplayStep
from homing.store.postgres.claims import works
from homing.store.postgres.rows import hold


async def step(connection: Any, uid: str, limit: int, now_ms: int, epoch: int) -> ReplayStep:
    """See `port.Ledger.replay_step`."""
    try:
        lanes, is_walked = await hold(connection, replays.step(uid, limit, now_ms, epoch))
    except asyncpg.UniqueViolationError as error:
        raise Again("another job is telling the same") from error
    return ReplayStep(await works(connection, lanes), is_walked=is_walked)
