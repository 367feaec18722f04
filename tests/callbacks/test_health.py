"""When an endpoint rests, is asked again, wakes and is given up."""

import pytest

from homing.callbacks.health import (
    DISABLE_AFTER_MS,
    FIRST_PROBE_MS,
    LAST_PROBE_MS,
    REST_AFTER,
    Health,
    Turn,
)


def ill(now_ms: int = 1_000) -> Health:
    """Return the health of an endpoint that has just gone to rest."""
    health = Health()
    turns = [health.failed(now_ms) for _ in range(REST_AFTER)]
    assert turns[-1] is Turn.RESTS
    return health


def test_ten_failures_in_a_row_make_it_rest() -> None:
    """Nine do not, and the tenth is told once."""
    health = Health()
    assert [health.failed(5) for _ in range(REST_AFTER - 1)] == [Turn.NOTHING] * 9
    assert health.failed(7) is Turn.RESTS
    assert health.is_resting
    assert health.failing_since_ms == 5
    assert health.failed(8) is Turn.NOTHING


def test_any_answer_in_between_begins_the_count_anew() -> None:
    """Nine failures, an answer, nine failures: it is well."""
    health = Health()
    for _ in range(2):
        for _ in range(REST_AFTER - 1):
            assert health.failed(1) is Turn.NOTHING
        assert health.answered() is Turn.NOTHING
    assert health.failing_since_ms is None


def test_probes_come_at_thirty_seconds_then_twice_as_late_up_to_ten_minutes() -> None:
    """The instants of the first seven probes."""
    health = ill(0)
    waits = []
    now_ms = 0
    for _ in range(7):
        waits.append(health.probe_at_ms - now_ms)
        now_ms = health.probe_at_ms
        health.failed(now_ms)
        health.probed(now_ms)
    assert waits == [30_000, 60_000, 120_000, 240_000, 480_000, LAST_PROBE_MS, LAST_PROBE_MS]


def test_an_answer_wakes_it_and_the_next_rest_begins_with_short_waits() -> None:
    """Nothing of the rest before is left."""
    health = ill()
    health.probed(2_000)
    assert health.answered() is Turn.WOKE
    assert not health.is_resting
    assert health.answered() is Turn.NOTHING
    for _ in range(REST_AFTER):
        health.failed(9_000)
    assert health.probe_at_ms == 9_000 + FIRST_PROBE_MS
    assert health.failing_since_ms == 9_000


@pytest.mark.parametrize(("after_ms", "turn"), [(-1, Turn.NOTHING), (0, Turn.GIVEN_UP)])
def test_five_days_of_failures_give_it_up_at_a_failure_only(after_ms: int, turn: Turn) -> None:
    """Not before, and never without having asked once more."""
    assert ill(1_000).failed(1_000 + DISABLE_AFTER_MS + after_ms) is turn


def test_a_rest_that_a_process_before_began_keeps_its_beginning() -> None:
    """The five days are not begun anew by a restart; the first probe comes soon."""
    health = Health()
    health.rest(50_000_000, failing_since_ms=7)
    assert health.is_resting
    assert health.probe_at_ms == 50_000_000 + FIRST_PROBE_MS
    assert health.failed(7 + DISABLE_AFTER_MS) is Turn.GIVEN_UP
