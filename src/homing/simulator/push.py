"""Push services in place of Apple, Google and Web Push: they know the simulated phones by their push tokens, and wake them.

A service as a whole may be told to be down or badly configured; a single phone's line may be dead, late or refused.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from homing.channels.push import PLATFORMS, Platform, PushOutcome, PushRequest, PushVerdict
from homing.clock import Clock
from homing.simulator.durations import duration_ms

ACCEPTED: Final = PushOutcome(PushVerdict.ACCEPTED)

REFUSALS: Final[dict[Platform, str]] = {"ios": "BadTopic", "android": "PERMISSION_DENIED", "web": "403"}
DEAD_TOKENS: Final[dict[Platform, str]] = {"ios": "Unregistered", "android": "UNREGISTERED", "web": "410"}


class Line(msgspec.Struct):
    """How one phone is reached: ``is_told`` accept, drop, late:30s, token-invalid, refuse or unavailable:5m."""

    wake: Callable[[PushRequest], None]
    is_told: str = "accept"
    since_ms: int = 0


class SimulatedPush:
    """The push service of one platform. ``becomes``: good, bad-key, throttled:30s, unavailable:5m."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self.platform = platform
        self.asked: list[PushRequest] = []
        self._clock = clock
        self._lines: dict[str, Line] = {}
        self._is_told = "good"
        self._since_ms = 0

    def becomes(self, is_told: str) -> None:
        """Behave differently from now on; `ValueError` for what it does not know."""
        kind, _, argument = is_told.partition(":")
        if kind not in {"good", "bad-key", "throttled", "unavailable"}:
            raise ValueError(f"{is_told!r} is no behaviour of a push service")
        if argument:
            duration_ms(argument)
        self._is_told, self._since_ms = is_told, self._clock.now_ms()

    def register(self, token: str, line: Line) -> None:
        """Know a phone by this token from now on."""
        line.since_ms = self._clock.now_ms()
        self._lines[token] = line

    def forget(self, token: str) -> None:
        """The app was removed: the token is dead."""
        self._lines.pop(token, None)

    async def push(self, job: PushRequest) -> PushOutcome:
        """See `PushService.push`."""
        self.asked.append(job)
        return self._as_a_whole() or self._one(job)

    def _as_a_whole(self) -> PushOutcome | None:
        kind, _, argument = self._is_told.partition(":")
        if kind == "bad-key":
            return PushOutcome(PushVerdict.REFUSED, "InvalidProviderToken")
        if kind in {"throttled", "unavailable"}:
            left_ms = self._since_ms + duration_ms(argument or "5m") - self._clock.now_ms()
            if left_ms > 0:
                asked_ms = left_ms if kind == "throttled" else None
                return PushOutcome(PushVerdict.TRY_LATER, kind, asked_ms)
        return None

    def _one(self, job: PushRequest) -> PushOutcome:
        line = self._lines.get(job.token)
        kind, _, argument = ("token-invalid" if line is None else line.is_told).partition(":")
        if line is None or kind == "token-invalid":
            return PushOutcome(PushVerdict.TOKEN_INVALID, DEAD_TOKENS[self.platform])
        if kind == "refuse":
            return PushOutcome(PushVerdict.REFUSED, argument or REFUSALS[self.platform])
        if kind == "unavailable":
            left_ms = line.since_ms + duration_ms(argument or "5m") - self._clock.now_ms()
            if left_ms > 0:
                return PushOutcome(PushVerdict.TRY_LATER, "unavailable")
        if kind == "late":
            wake = line.wake
            self._clock.at(self._clock.now_ms() + duration_ms(argument or "30s"), lambda: wake(job))
        elif kind != "drop":
            line.wake(job)
        return ACCEPTED


def all_platforms(clock: Clock) -> dict[Platform, SimulatedPush]:
    """One simulated service for each platform there is."""
    return {platform: SimulatedPush(platform, clock) for platform in PLATFORMS}
