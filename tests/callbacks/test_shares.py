"""What is one node's of a limit that holds for all: together never more than it, and nobody gets nothing."""

import pytest

from homing.callbacks import shares
from homing.store.port import Share


@pytest.mark.parametrize("of", [1, 2, 3, 7])
@pytest.mark.parametrize("most", [1, 2, 7, 20, 256])
def test_places_add_up(of: int, most: int) -> None:
    """All of them are given away, and each node has one at least, for it alone can tell what it holds."""
    given = [shares.places(Share(rank, of), most) or 0 for rank in range(of)]
    assert sum(given) == max(most, of)
    assert min(given) >= 1


def test_rates_add_up_until_they_are_tiny() -> None:
    """A rate is divided; one that is smaller than a try a minute is left as it is."""
    assert [shares.rate(Share(rank, 4), 20.0) for rank in range(4)] == [5.0] * 4
    assert shares.rate(Share(0, 1), 0.001) == 0.001
    assert shares.rate(Share(0, 4), 0.001) == 0.001
    assert shares.rate(Share(0, 4), 0.04) == shares.LEAST_PER_SECOND


def test_no_limit_is_none_for_each() -> None:
    """Where the owner asked for nothing there is nothing to share."""
    assert shares.rate(Share(1, 2), None) is None
    assert shares.places(Share(1, 2), None) is None


def test_each_endpoint_is_asked_after_by_one() -> None:
    """Whichever it is, however many there are."""
    for endpoint in range(1, 20):
        assert sum(shares.has_turn(Share(rank, 3), endpoint) for rank in range(3)) == 1
