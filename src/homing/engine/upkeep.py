"""Deletes now and then what has had its time, in steps small enough that nobody waits for them."""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from homing.errors import HomingError
from homing.store.port import Dropped, Retention
from homing.telemetry import LogEvent, logger

EVERY_S: Final = 600.0
STEP: Final = 500
"""Rows of one transaction."""
BUSY: Final = "busy"
AGAIN: Final = 10
"""How often a round comes back where others are in the way of old messages; then the next round tries."""
AGAIN_S: Final = 1.0


class Prunes(Protocol):
    """The part of the store this needs."""

    def now_ms(self) -> int:
        """The store's clock."""
        ...

    async def prune(self, retention: Retention, limit: int) -> int:
        """Delete up to ``limit`` rows; return how many, 0 when nothing is left to delete."""
        ...

    async def drop_messages(self, before_ms: int, limit: int) -> Dropped:
        """Delete messages accepted before an instant, one step; nothing pending loses what it is about."""
        ...


class Upkeep:
    """One task, from `start` to `close`."""

    def __init__(
        self, store: Prunes, retention: Retention, every_s: float = EVERY_S, again_s: float = AGAIN_S
    ) -> None:
        self._store = store
        self._retention = retention
        self._every_s = every_s
        self._again_s = again_s
        self._task: asyncio.Task[None] | None = None
        self._is_ending = False
        self.kept: Mapping[tuple[str, ...], float] = {}
        """What has had its time and stays, as the last round left it: what points at the first of it → how much."""

    def start(self) -> None:
        """Begin; the first round comes after one interval."""
        self._task = asyncio.create_task(self._run(), name="upkeep")

    async def close(self) -> None:
        """Stop at once: what is left is deleted next time."""
        self._is_ending = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def round(self) -> int:
        """Delete all that has had its time; return how many rows that were, old messages not counted."""
        if self._retention.messages_ms is not None:
            await self._messages(self._retention.messages_ms)
        rows = 0
        while gone := await self._store.prune(self._retention, STEP):
            rows += gone
            await asyncio.sleep(0)
        return rows

    async def _messages(self, kept_ms: int) -> None:
        count = kept = tries = 0
        by: str | None = None
        while True:
            step = await self._store.drop_messages(self._store.now_ms() - kept_ms, STEP)
            if step.kept_by == BUSY and tries < AGAIN:
                tries += 1
                await asyncio.sleep(self._again_s)
                continue
            count += step.count
            kept += step.kept
            by = by or step.kept_by
            if step.is_end:
                break
            await asyncio.sleep(0)
        self.kept = {} if by is None else {(by,): float(kept)}
        if count:
            logger().info(LogEvent.RETENTION_DROPPED, count=count)
        if by is not None:
            logger().warning(LogEvent.RETENTION_KEPT, by=by, count=kept)

    async def _run(self) -> None:
        while not self._is_ending:  # a cancellation may come out of the store as another error
            await asyncio.sleep(self._every_s)
            rows = 0
            try:
                rows = await self.round()
            except HomingError as error:
                logger().error(LogEvent.STORE_FULL, error=str(error))
            except Exception:  # noqa: BLE001 - a round that breaks must not be the last one
                logger().exception(LogEvent.NODE_FAILED)
            if rows:
                logger().info(LogEvent.RETENTION_RAN, rows=rows)
