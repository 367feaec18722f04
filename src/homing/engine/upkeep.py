"""Deletes now and then what has had its time, in steps small enough that nobody waits for them."""

import asyncio
import contextlib
from typing import Final, Protocol

from homing.errors import HomingError
from homing.store.port import Retention
from homing.telemetry import LogEvent, logger

EVERY_S: Final = 600.0
STEP: Final = 500
"""Rows of one transaction."""


class Prunes(Protocol):
    """The part of the store this needs."""

    async def prune(self, retention: Retention, limit: int) -> int:
        """Delete up to ``limit`` rows; return how many, 0 when nothing is left to delete."""
        ...


class Upkeep:
    """One task, from `start` to `close`."""

    def __init__(self, store: Prunes, retention: Retention, every_s: float = EVERY_S) -> None:
        self._store = store
        self._retention = retention
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first round comes after one interval."""
        self._task = asyncio.create_task(self._run(), name="upkeep")

    async def close(self) -> None:
        """Stop at once: what is left is deleted next time."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def round(self) -> int:
        """Delete all that has had its time; return how many rows that were."""
        rows = 0
        while gone := await self._store.prune(self._retention, STEP):
            rows += gone
            await asyncio.sleep(0)
        return rows

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                rows = await self.round()
            except HomingError as error:
                logger().error(LogEvent.STORE_FULL, error=str(error))
                continue
            if rows:
                logger().info(LogEvent.RETENTION_RAN, rows=rows)
