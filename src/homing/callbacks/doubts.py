"""Lanes to endpoints that this node takes for unknown or disabled, while another node may just have made or enabled them.

Nothing is given up before every change that was made by then was heard. Without other nodes there is no doubt.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from homing.callbacks.berth import Lane
from homing.callbacks.chores import Chores
from homing.callbacks.directory import Directory
from homing.telemetry import LogEvent, logger

_AGAIN_S: Final = 1.0


class Doubts:
    """Holds such lanes back, and hands each to ``resolved`` once this node knows all that it could have known."""

    def __init__(
        self,
        directory: Directory,
        catch_up: Callable[[], Awaitable[None]] | None,
        resolved: Callable[[list[Lane]], None],
    ) -> None:
        self._directory = directory
        self._catch_up = catch_up
        self._resolved = resolved
        self._lanes: list[Lane] = []
        self._is_busy = False
        self._chores = Chores()

    def is_quiet(self) -> bool:
        """Say whether no lane is held back."""
        return not self._is_busy

    def has(self, endpoint: int) -> bool:
        """Say whether it is not certain yet that an endpoint takes nothing."""
        if self._catch_up is None:
            return False
        return self._directory.view(endpoint) is None and not self._directory.is_refused(endpoint)

    def hold(self, lane: Lane) -> None:
        """Hold a lane back that is not being tried; it waits in no queue meanwhile."""
        lane.is_queued = True
        self._lanes.append(lane)
        if not self._is_busy and self._catch_up is not None:
            self._is_busy = True
            self._chores.spawn(self._resolve(self._catch_up))

    async def close(self) -> None:
        """End what is under way."""
        await self._chores.end()

    async def _resolve(self, catch_up: Callable[[], Awaitable[None]]) -> None:
        while self._lanes:
            lanes, self._lanes = self._lanes, []
            while True:
                try:
                    await catch_up()
                    break
                except Exception as error:  # noqa: BLE001 - lanes in doubt would wait for ever
                    logger().error(LogEvent.STORE_FULL, error=repr(error))
                    await asyncio.sleep(_AGAIN_S)
            for lane in lanes:
                lane.is_queued = False
            self._resolved(lanes)
        self._is_busy = False
