"""How many callbacks at a time an endpoint gets."""

from hypothesis import given
from hypothesis import strategies as st

from homing.callbacks.pace import START, Pace


def rounds(pace: Pace, count: int, took_ms: float | None = None) -> None:
    """Let a receiver answer so many rounds; None: as fast however many are under way."""
    for _ in range(count):
        for _ in range(4 * pace.allowed):
            pace.succeeded(10.0 if took_ms is None else took_ms * pace.allowed, is_full=True)


def test_it_starts_small_and_below_the_limit() -> None:
    """16 at a time, or as many as are allowed at most."""
    assert Pace(256).allowed == START == 16
    assert Pace(3).allowed == 3


def test_it_grows_while_more_get_through() -> None:
    """A receiver that answers as fast however many come is given all it may get."""
    pace = Pace(256)
    rounds(pace, 40)
    assert pace.allowed == 256


def test_a_step_that_brings_nothing_is_taken_back() -> None:
    """Where answers slow down in proportion, a longer queue is no gain: it stays near where it began."""
    pace = Pace(256)
    rounds(pace, 30, took_ms=1.0)
    assert pace.allowed <= 20
    assert pace.allowed >= 16


def test_a_step_that_brought_nothing_is_tried_again_later() -> None:
    """A receiver that became faster is found out in the end."""
    pace = Pace(256)
    rounds(pace, 10, took_ms=1.0)
    rounds(pace, 200)
    assert pace.allowed == 256


def test_it_does_not_grow_while_places_are_empty() -> None:
    """Idle places say nothing about what more of them would bring."""
    pace = Pace(256)
    for _ in range(10_000):
        pace.succeeded(1.0, is_full=False)
    assert pace.allowed == 16


def test_overload_halves_down_to_one() -> None:
    """A sick endpoint gets one at a time, and recovers from there."""
    pace = Pace(256)
    seen = []
    for _ in range(6):
        pace.overloaded()
        seen.append(pace.allowed)
    assert seen == [8, 4, 2, 1, 1, 1]
    rounds(pace, 80)
    assert pace.allowed == 256


@given(
    most=st.integers(1, 300),
    what=st.lists(st.tuples(st.sampled_from(["ok", "idle", "busy"]), st.floats(0, 15_000)), max_size=300),
)
def test_it_stays_within_its_limits(most: int, what: list[tuple[str, float]]) -> None:
    """Between one and the endpoint's limit, whatever the receiver does."""
    pace = Pace(most)
    for kind, took_ms in what:
        if kind == "busy":
            pace.overloaded()
        else:
            pace.succeeded(took_ms, is_full=kind == "ok")
        assert 1 <= pace.allowed <= most
