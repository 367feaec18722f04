"""When a push or an SMS that was put off is tried again; pure, the random number comes in as a value."""

from typing import Final

from homing.channels.push import Platform

_FIRST_MS: Final[dict[Platform, int]] = {"ios": 1_000, "android": 10_000, "web": 10_000}
_PUSH_CAP_MS: Final = 60_000
_SMS_FIRST_MS: Final = 5_000
_SMS_CAP_MS: Final = 300_000
_AFTER_MIN_MS: Final = 1_000
_AFTER_MAX_MS: Final = 3_600_000


def push_delay_ms(platform: Platform, tries: int, asked_ms: int | None, chance: float) -> int:
    """How long until a push is tried again after ``tries`` tries before this one (CHANNELS.md §2.2, §2.4).

    ``asked_ms`` is what the service asked for and goes first; ``chance`` (0 to 1) spreads the rest by ±10 %.
    """
    return _delay(_FIRST_MS[platform], _PUSH_CAP_MS, tries, asked_ms, chance)


def sms_delay_ms(tries: int, asked_ms: int | None, chance: float) -> int:
    """As `push_delay_ms`, for a carrier that is away or too busy: 5 s doubling to 5 min."""
    return _delay(_SMS_FIRST_MS, _SMS_CAP_MS, tries, asked_ms, chance)


def _delay(first_ms: int, cap_ms: int, tries: int, asked_ms: int | None, chance: float) -> int:
    if asked_ms is not None:
        return max(_AFTER_MIN_MS, min(asked_ms, _AFTER_MAX_MS))
    plain = min(cap_ms, first_ms << min(tries, 20))
    return int(plain * (0.9 + 0.2 * chance))
