"""The times of a dispatch: defaults, merging, clamping."""

import pytest

from homing.lifecycle.dispatch import FallbackMode, Policy
from homing.lifecycle.policy import NO_FALLBACK, SILENT, FallbackPlan, resolve, stamp

T0 = 1_764_000_000_000
OFF, NOTIFY, SMS = FallbackMode


def test_a_message_expires_after_two_days_by_default() -> None:
    """172,800 s, and no fallback unless a mode is on."""
    assert resolve(T0) == Policy(T0 + 172_800_000, OFF, None, None)


def test_the_time_to_live_is_what_the_message_says() -> None:
    """In seconds from acceptance."""
    assert resolve(T0, 60).expires_at == T0 + 60_000


@pytest.mark.parametrize("mode", [NOTIFY, SMS])
def test_a_mode_without_times_waits_for_delivery_900_seconds(mode: FallbackMode) -> None:
    """The default counts only when neither time is given."""
    assert resolve(T0, None, FallbackPlan(mode))[1:] == (mode, T0 + 900_000, None)
    assert resolve(T0, None, FallbackPlan(mode, unread_s=60))[1:] == (mode, None, 60_000)
    assert resolve(T0, None, FallbackPlan(mode, undelivered_s=30))[1:] == (mode, T0 + 30_000, None)
    assert resolve(T0, None, FallbackPlan(mode, 30, 60))[1:] == (mode, T0 + 30_000, 60_000)


def test_times_without_a_mode_mean_nothing() -> None:
    """Mode off: the times are not even kept."""
    assert (
        resolve(T0, None, FallbackPlan(OFF, 30, 60))
        == resolve(T0, None, FallbackPlan(None, 30, 60))
        == resolve(T0)
    )


def test_an_undelivered_time_beyond_the_expiry_is_the_expiry() -> None:
    """Law 7; the unread time, which counts from the delivery, is left alone."""
    assert resolve(T0, 60, FallbackPlan(SMS, 61, 900)) == Policy(T0 + 60_000, SMS, T0 + 60_000, 900_000)
    assert resolve(T0, 60, FallbackPlan(SMS)).undelivered_at == T0 + 60_000


@pytest.mark.parametrize(
    "message, merged",
    [
        (SILENT, (SMS, 30, 60)),
        (NO_FALLBACK, (OFF, 30, 60)),
        (FallbackPlan(NOTIFY), (NOTIFY, 30, 60)),
        (FallbackPlan(undelivered_s=5), (SMS, 5, 60)),
        (FallbackPlan(NOTIFY, 5, 6), (NOTIFY, 5, 6)),
    ],
)
def test_the_message_goes_over_the_application(
    message: FallbackPlan, merged: tuple[FallbackMode, int, int]
) -> None:
    """Each property by itself."""
    app = FallbackPlan(SMS, 30, 60)
    assert message.over(app) == merged
    assert resolve(T0, None, app, message) == resolve(T0, None, FallbackPlan(*merged))


@pytest.mark.parametrize(
    "previous, device, now, stamped",
    [(5, None, 9, 9), (5, 7, 9, 7), (5, 99, 9, 9), (5, 1, 9, 5), (9, None, 5, 9), (9, 99, 5, 9)],
)
def test_a_timestamp_lies_between_the_last_event_and_now(
    previous: int, device: int | None, now: int, stamped: int
) -> None:
    """max(previous, min(device's time, now)): law 9."""
    assert stamp(previous, device, now) == stamped
