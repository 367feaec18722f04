"""The retry schedule: delays, jitter, Retry-After, and the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.callbacks.schedule import DEFAULT_DELAYS_MS, MAX_AGE_MS, is_too_old, next_try_at

NOW_MS = 1_700_000_000_000


def test_the_default_is_twelve_tries_over_about_76_hours() -> None:
    """The contract's delays, to the second."""
    assert [delay // 1000 for delay in DEFAULT_DELAYS_MS] == [
        *(5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    ]
    at_ms, tries = NOW_MS, 1
    while (due_ms := next_try_at(tries, at_ms, DEFAULT_DELAYS_MS, 0, None, NOW_MS)) is not None:
        at_ms, tries = due_ms, tries + 1
    assert tries == 12
    assert 75 * 3_600_000 < at_ms - NOW_MS < 77 * 3_600_000


@pytest.mark.parametrize("jitter,delay_ms", [(-1.0, 4_500), (0.0, 5_000), (0.5, 5_250), (1.0, 5_500)])
def test_jitter_moves_a_delay_by_a_tenth_at_most(jitter: float, delay_ms: int) -> None:
    """Chance comes in as a number and moves the delay either way."""
    assert next_try_at(1, NOW_MS, DEFAULT_DELAYS_MS, jitter, None, NOW_MS) == NOW_MS + delay_ms


def test_retry_after_delays_but_never_hastens() -> None:
    """The next try is never earlier than a Retry-After, and a short one changes nothing."""
    assert next_try_at(1, NOW_MS, DEFAULT_DELAYS_MS, 0, 60_000, NOW_MS) == NOW_MS + 60_000
    assert next_try_at(1, NOW_MS, DEFAULT_DELAYS_MS, -1, 0, NOW_MS) == NOW_MS + 4_500
    assert next_try_at(1, NOW_MS, DEFAULT_DELAYS_MS, -1, 5_000, NOW_MS) == NOW_MS + 5_000


def test_what_was_never_tried_is_due_at_once_however_old() -> None:
    """An event that waited for a resting endpoint gets its first try even after weeks."""
    assert next_try_at(0, NOW_MS, DEFAULT_DELAYS_MS, 1, None, NOW_MS - 9 * MAX_AGE_MS) == NOW_MS
    assert not is_too_old(0, NOW_MS, 0)


def test_it_ends_with_the_last_try_or_with_age() -> None:
    """Given up after n + 1 tries for n delays, or when five days old and tried."""
    assert next_try_at(11, NOW_MS, DEFAULT_DELAYS_MS, 0, None, NOW_MS) == NOW_MS + 86_400_000
    assert next_try_at(12, NOW_MS, DEFAULT_DELAYS_MS, 0, None, NOW_MS) is None
    assert next_try_at(1, NOW_MS, (), 0, None, NOW_MS) is None
    assert next_try_at(1, NOW_MS, DEFAULT_DELAYS_MS, 0, None, NOW_MS - MAX_AGE_MS) is None
    assert next_try_at(1, NOW_MS, DEFAULT_DELAYS_MS, 0, None, NOW_MS - MAX_AGE_MS + 1) == NOW_MS + 5_000


@given(
    st.lists(st.integers(100, 10**9), min_size=1, max_size=32),
    st.floats(-1, 1),
    st.none() | st.integers(0, 86_400_000),
    st.integers(1, 32),
)
def test_a_next_try_lies_within_its_bounds(
    delays_ms: list[int], jitter: float, wait_ms: int | None, tries: int
) -> None:
    """For every schedule the next try is at its delay ±10 %, or at the Retry-After if that is later."""
    due_ms = next_try_at(tries, NOW_MS, delays_ms, jitter, wait_ms, NOW_MS)
    if tries > len(delays_ms):
        assert due_ms is None
        return
    assert due_ms is not None
    delay_ms = delays_ms[tries - 1]
    assert due_ms - NOW_MS >= max(delay_ms * 0.9 - 1, wait_ms or 0)
    assert due_ms - NOW_MS <= max(delay_ms * 1.1 + 1, wait_ms or 0)
