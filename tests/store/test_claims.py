"""Where a probe looks for the one lane by which an endpoint is asked whether it is alive again."""

from hypothesis import given
from hypothesis import strategies as st

from homing.store.claims import probes


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2**41), st.integers(0, 2**41))
def test_a_probe_begins_where_chance_says_and_leaves_nothing_out(
    chance: float, first_ms: int, waiting_ms: int
) -> None:
    """No instant is before the first due lane or after now; the last look finds whatever there is."""
    found = probes(chance, first_ms, first_ms + waiting_ms)
    assert all(first_ms <= at_ms <= first_ms + waiting_ms for at_ms, _ in found)
    assert found[-1] == (first_ms, 0)


def test_chance_reaches_all_that_waits() -> None:
    """It looks from anywhere between the first due lane and now, and not always at the first one there."""
    found = [probes(n / 1000, 0, 1000) for n in range(1000)]
    assert {first[0][0] for first in found} == set(range(1000))
    assert len({first[0][1] for first in found}) > 32
