"""What the courier asks of a push service (Apple, Google, Web Push, or the simulator), and the four answers there are.

How each outside answer becomes one of the four is the business of the service's own adapter (CHANNELS.md §2).
"""

from enum import Enum, auto
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from homing.model import Device

Platform: TypeAlias = Literal["ios", "android", "web"]

PLATFORMS: Final[tuple[Platform, ...]] = ("ios", "android", "web")

PATIENCE_MS: Final[dict[Platform, int]] = {"ios": 15 * 60_000, "android": 60 * 60_000, "web": 60 * 60_000}
"""How long a push that is put off is tried again before it counts as refused (CHANNELS.md §2.2, §2.4)."""


class PushRequest(msgspec.Struct, frozen=True):
    """One push for one device.

    ``key`` is the dispatch and with ``device`` identifies the push, the same at every retry. ``text`` is what may be
    shown; a service that carries no text only wakes. The push is worthless after ``expires_at_ms``.
    """

    key: bytes
    device: Device
    platform: Platform
    token: str
    text: str
    expires_at_ms: int


class PushVerdict(Enum):
    """What a push service made of a push."""

    ACCEPTED = auto()
    REFUSED = auto()
    """For good, and the token is not to blame: usually configuration."""
    TOKEN_INVALID = auto()
    """The device's token is dead: it must never be used again."""
    TRY_LATER = auto()


class PushOutcome(msgspec.Struct, frozen=True):
    """The answer to one push. ``reason`` is the service's own word, for the history.

    ``retry_after_ms`` goes with `PushVerdict.TRY_LATER` where the service names a time.
    """

    verdict: PushVerdict
    reason: str | None = None
    retry_after_ms: int | None = None


class PushService(Protocol):
    """A way to wake devices of one platform."""

    async def push(self, job: PushRequest) -> PushOutcome:
        """Hand over one push and return the service's answer.

        Bounded in real time by the service itself; what fails on the way (no connection, a timeout) is TRY_LATER.
        """
        ...


def platform_of(device: Device) -> Platform | None:
    """The platform a device is woken through, None if it cannot be woken."""
    if device.push_token is None:
        return None
    return next((platform for platform in PLATFORMS if platform == device.push_platform), None)


__all__ = [
    "PATIENCE_MS",
    "PLATFORMS",
    "Platform",
    "PushOutcome",
    "PushRequest",
    "PushService",
    "PushVerdict",
    "platform_of",
]
