"""Token buckets: how much at once, how much over time, and how many are remembered."""

import pytest

from homing.gateway import limits
from homing.gateway.limits import Bucket, Buckets


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """After the burst one has to wait as long as it says, and no longer."""
    bucket = Bucket(2, 0.5, 0.0)
    assert [bucket.take(1, 0.0) for _ in range(3)] == [0.0, 0.0, 2.0]
    assert bucket.take(1, 1.0) == 1.0
    assert bucket.take(1, 2.0) == 0.0


def test_a_bucket_goes_into_debt_but_not_beyond_its_burst() -> None:
    """A dear item is let through when anything is left, and paid off afterwards; idle time saves up only a burst."""
    bucket = Bucket(2, 1.0, 0.0)
    assert bucket.take(10, 0.0) == 0.0
    assert bucket.wait_s(0.0) == 9.0
    assert bucket.wait_s(1_000.0) == 0.0
    assert [bucket.take(1, 1_000.0) for _ in range(3)] == [0.0, 0.0, 1.0]


def test_what_is_given_back_can_be_taken_again() -> None:
    """Giving back never saves up more than the burst."""
    bucket = Bucket(1, 0.1, 0.0)
    bucket.take(1, 0.0)
    bucket.give_back(1)
    bucket.give_back(1)
    assert bucket.take(1, 0.0) == 0.0
    assert bucket.take(1, 0.0) == 10.0


def test_time_that_stands_still_or_steps_back_gives_nothing() -> None:
    """A bucket is not refilled twice for the same moment."""
    bucket = Bucket(1, 1.0, 10.0)
    bucket.take(1, 10.0)
    assert bucket.wait_s(5.0) == 1.0


def test_only_so_many_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one unused for longest is forgotten first."""
    monkeypatch.setattr(limits, "_KEPT", 2)
    buckets = Buckets(1, 0.1)
    buckets.of("a", 0.0).take(1, 0.0)
    buckets.of("b", 0.0).take(1, 0.0)
    assert buckets.of("a", 0.0).wait_s(0.0) > 0
    buckets.of("c", 0.0)
    assert buckets.of("a", 0.0).wait_s(0.0) > 0
    assert buckets.of("b", 0.0).wait_s(0.0) == 0
