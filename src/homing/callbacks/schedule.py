"""When a failed callback is tried again, and when it is given up; pure: time and chance come in as values.

CONTRACT.md §5. All times are milliseconds of one clock.
"""

from collections.abc import Sequence

_SECOND_MS, _MINUTE_MS, _HOUR_MS = 1_000, 60_000, 3_600_000
DEFAULT_DELAYS_MS = (
    *(5 * _SECOND_MS, 30 * _SECOND_MS, 2 * _MINUTE_MS, 10 * _MINUTE_MS, 30 * _MINUTE_MS),
    *(2 * _HOUR_MS, 5 * _HOUR_MS, 10 * _HOUR_MS, 14 * _HOUR_MS, 20 * _HOUR_MS, 24 * _HOUR_MS),
)
"""12 tries, about 76 h."""
JITTER = 0.1
"""The share of a delay by which chance moves it, either way."""
MAX_AGE_MS = 5 * 24 * _HOUR_MS
"""An event this old is given up, if it was tried at least once."""


def is_too_old(tries_done: int, now_ms: int, event_at_ms: int) -> bool:
    """True when an event is given up for its age alone: 5 days old, and tried at least once."""
    return tries_done >= 1 and now_ms - event_at_ms >= MAX_AGE_MS


def next_try_at(
    tries_done: int,
    now_ms: int,
    delays_ms: Sequence[int],
    jitter: float,
    retry_after_ms: int | None,
    event_at_ms: int,
) -> int | None:
    """Return when the next try is due, or None when the event is given up: n delays allow n + 1 tries.

    ``tries_done`` counts the one that just failed (0: never tried, due now). ``jitter`` is in [-1, 1] and moves the
    delay by at most `JITTER` of it; ``retry_after_ms`` is a time to wait, already capped, never cut short.
    """
    if tries_done > len(delays_ms) or is_too_old(tries_done, now_ms, event_at_ms):
        return None
    delay_ms = round(delays_ms[tries_done - 1] * (1 + JITTER * jitter)) if tries_done else 0
    return now_ms + max(delay_ms, retry_after_ms or 0)
