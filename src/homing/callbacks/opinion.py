"""What this node says of an endpoint's health to the store, and what it makes of what other nodes say there.

One word at a time and endpoint, so that the last one stands. That an endpoint rests is believed by who has had no answer
from it lately, and gainsaid by who has. That it is alive is believed by who let it rest by hearsay; who knows better by its
own failures asks it at once. So a node that cannot reach it rests alone, and leaves it to those that can.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Final

from homing.callbacks.berth import Berth
from homing.callbacks.directory import Directory
from homing.callbacks.health import DISABLE_AFTER_MS, FIRST_PROBE_MS
from homing.callbacks.ports import Changes
from homing.clock import Clock
from homing.errors import HomingError
from homing.store.changes import SetEndpointHealth

_AGAIN_S: Final = 5.0
"""A store that takes no word just now is asked again; that it does not, its own parts log."""


class Heard(Enum):
    """What another node's word changed here."""

    NOTHING = "nothing"
    RESTS = "rests"
    WOKE = "woke"
    TO_BE_ASKED = "to_be_asked"


class Opinion:
    """Keeps the store's word of each endpoint and this node's experience together."""

    def __init__(
        self,
        changes: Changes,
        directory: Directory,
        clock: Clock,
        spawn: Callable[[Coroutine[object, object, None]], None],
        said: Callable[[Sequence[int]], None],
    ) -> None:
        """``said`` hears of endpoints that may have lanes in the store now: of who is told of it, and of who woke."""
        self._changes = changes
        self._directory = directory
        self._clock = clock
        self._spawn = spawn
        self._said = said
        self._saying: dict[int, str | None] = {}

    def say(self, berth: Berth, reason: str | None = None) -> None:
        """Have it stored that an endpoint rests, and why, or is active again."""
        is_busy = berth.endpoint in self._saying
        self._saying[berth.endpoint] = reason
        if not is_busy:
            self._spawn(self._say(berth))

    def hear(self, berth: Berth) -> Heard:
        """Compare what the store says with what is known here, and say what is another now."""
        view, health, now_ms = self._directory.view(berth.endpoint), berth.health, self._clock.now_ms()
        if view is None or berth.endpoint in self._saying or view.is_resting is health.is_resting:
            return Heard.NOTHING
        if health.is_resting and berth.is_hearsay:
            health.answered()
            return Heard.WOKE
        if health.is_resting:
            health.probe_at_ms = min(health.probe_at_ms, now_ms)
            return Heard.TO_BE_ASKED
        if berth.alive_ms is not None and now_ms - berth.alive_ms < FIRST_PROBE_MS:
            self.say(berth)
            return Heard.NOTHING
        health.rest(now_ms, view.failing_since_ms or now_ms)
        berth.is_hearsay = True
        return Heard.RESTS

    def is_given_up(self, berth: Berth) -> bool:
        """Say whether no node at all had an answer for days: one may just be cut off."""
        view, now_ms = self._directory.view(berth.endpoint), self._clock.now_ms()
        if view is None or not view.is_resting or view.failing_since_ms is None:
            return False
        return now_ms - view.failing_since_ms >= DISABLE_AFTER_MS

    async def _say(self, berth: Berth) -> None:
        endpoint, health = berth.endpoint, berth.health
        try:
            while (view := self._directory.view(endpoint)) and view.is_resting is not health.is_resting:
                change = SetEndpointHealth(endpoint, "active")
                if health.is_resting:
                    reason = self._saying[endpoint]
                    change = SetEndpointHealth(endpoint, "resting", reason, health.failing_since_ms)
                try:
                    is_known = (await self._changes.apply(change)).value is not None
                except HomingError:
                    await asyncio.sleep(_AGAIN_S)
                    continue
                if change.reason is not None:
                    self._said(self._directory.hearers(endpoint))
                if not is_known:
                    break  # deleted or disabled meanwhile, which will be heard
        finally:
            del self._saying[endpoint]
        if not health.is_resting:
            self._said([endpoint])  # also where others had said so before
