"""What an answer means: the table, and Retry-After."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.callbacks.verdict import (
    TABLE,
    Outcome,
    Verdict,
    counts_against_endpoint,
    outcome,
    overloaded,
    pauses_endpoint,
    retry_after_ms,
    verdict,
)

DAY_MS = 86_400_000
NOW_MS = 784_111_777_000  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


def test_every_outcome_has_its_row() -> None:
    """The table is total."""
    assert set(TABLE) == set(Outcome)


@pytest.mark.parametrize(
    "status,ended,follows",
    [
        (200, Outcome.SUCCESS, Verdict.SETTLED),
        (204, Outcome.SUCCESS, Verdict.SETTLED),
        (299, Outcome.SUCCESS, Verdict.SETTLED),
        (301, Outcome.REDIRECT, Verdict.RETRY),
        (304, Outcome.REDIRECT, Verdict.RETRY),
        (400, Outcome.CLIENT_ERROR, Verdict.RETRY),
        (404, Outcome.CLIENT_ERROR, Verdict.RETRY),
        (410, Outcome.GONE, Verdict.DISABLE),
        (429, Outcome.THROTTLED, Verdict.RETRY),
        (500, Outcome.SERVER_ERROR, Verdict.RETRY),
        (503, Outcome.SERVER_ERROR, Verdict.RETRY),
        (0, Outcome.MALFORMED, Verdict.RETRY),
        (101, Outcome.MALFORMED, Verdict.RETRY),
        (600, Outcome.MALFORMED, Verdict.RETRY),
        (999, Outcome.MALFORMED, Verdict.RETRY),
    ],
)
def test_statuses(status: int, ended: Outcome, follows: Verdict) -> None:
    """A 2xx settles, a 410 disables, all else is retried."""
    assert outcome(status) is ended
    assert verdict(outcome(status)) is follows


@given(
    st.integers(0, 999), st.sampled_from([Outcome.TIMEOUT, Outcome.CONNECT, Outcome.TLS, Outcome.MALFORMED])
)
def test_an_incomplete_exchange_is_never_settled(status: int, error: Outcome) -> None:
    """An error outweighs whatever status had come before it."""
    assert outcome(status, error) is error
    assert verdict(error) is Verdict.RETRY


def test_only_what_speaks_about_the_endpoint_counts_against_it() -> None:
    """No answer, 429 and 5xx count; an answer that proves it alive does not, nor does a fault of ours."""
    harmless = {ended for ended in Outcome if not counts_against_endpoint(ended)}
    alive = {Outcome.SUCCESS, Outcome.REDIRECT, Outcome.CLIENT_ERROR, Outcome.GONE}
    assert harmless == {*alive, Outcome.OURS}


def test_overload_and_pause() -> None:
    """429, 503 and timeouts ask for fewer at a time; 429 and 503 may pause the endpoint."""
    assert overloaded(429, outcome(429))
    assert overloaded(503, outcome(503))
    assert overloaded(0, Outcome.TIMEOUT)
    assert not overloaded(500, outcome(500))
    assert not overloaded(200, outcome(200))
    assert [status for status in range(600) if pauses_endpoint(status)] == [429, 503]


@pytest.mark.parametrize(
    "value,wait_ms",
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("120", 120_000),
        (" \t7 ", 7_000),
        ("007", 7_000),
        ("86400", DAY_MS),
        ("86401", DAY_MS),
        ("9" * 64, DAY_MS),
        ("9" * 65, None),
        ("-1", None),
        ("+5", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("soon", None),
        ("12 monkeys", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60_000),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60_000),
        ("Sun Nov  6 08:50:37 1994", 60_000),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY_MS),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT" + " " * 40 + ";", None),
        ("1" + "0" * 30, DAY_MS),
        ("5\n99\n7", 99_000),
        ("5\nsoon\n", 5_000),
        ("0\nSun, 06 Nov 1994 08:50:37 GMT", 60_000),
        ("\n", None),
    ],
)
def test_retry_after(value: str | None, wait_ms: int | None) -> None:
    """Seconds and the three forms of an HTTP date are understood, capped at a day; garbage is as if absent.

    Of several, one a line, the longest counts.
    """
    assert retry_after_ms(value, NOW_MS) == wait_ms


@given(st.text(max_size=80), st.integers(0, 2**45))
def test_any_retry_after_is_a_wait_within_a_day_or_nothing(value: str, now_ms: int) -> None:
    """A receiver can write what it likes: the answer is None or 0 to 24 hours, never an error."""
    wait_ms = retry_after_ms(value, now_ms)
    assert wait_ms is None or 0 <= wait_ms <= DAY_MS
