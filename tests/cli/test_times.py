"""Durations, moments, rates and the clock's words, as people write them on the command line."""

from datetime import UTC, datetime

import pytest

from homing.cli import times
from homing.cli.clock import advance
from homing.cli.exits import CliError
from homing.cli.secrets import grace_s
from homing.cli.times import span

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("45s", 45), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("2d", 172_800), ("1500ms", 1)],
)
def test_durations_are_read_as_people_write_them(text: str, wanted: int) -> None:
    """45s, 10m, 2h, 1h30m and their like become seconds."""
    assert times.seconds(text, "--x") == wanted


@pytest.mark.parametrize("text", ["", "5", "m", "-1m", "1 m", "1w", "300ms", "٣m"])
def test_what_is_no_duration_is_refused_with_its_flag(text: str) -> None:
    """A wrong duration is a usage error that names the flag."""
    with pytest.raises(CliError, match="--expire"):
        times.seconds(text, "--expire")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10m", "2026-11-23T09:50:00.000Z"),
        ("today", "2026-11-23T00:00:00.000Z"),
        ("2026-11-23T10:00Z", "2026-11-23T10:00:00.000Z"),
        ("2026-11-23T10:00:00.5+02:00", "2026-11-23T08:00:00.500Z"),
        ("2026-11-23", "2026-11-23T00:00:00.000Z"),
    ],
)
def test_moments_are_read_relative_or_as_iso(text: str, wanted: str) -> None:
    """10m is that long ago, today its midnight, anything else ISO-8601."""
    assert times.instant(text, "--since", NOW) == wanted


@pytest.mark.parametrize("text", ["yesterday", "10", "2026-13-01", "999999999d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """A wrong time is a usage error that names the flag."""
    with pytest.raises(CliError, match="--since"):
        times.instant(text, "--since", NOW)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-23T09:57:00Z", "3 min ago"),
        ("2026-11-23T12:00:00Z", "in 2 h"),
        ("2026-11-23T09:59:59.900Z", "now"),
        ("2026-11-20T10:00:00Z", "3 d ago"),
        ("never", "never"),
    ],
)
def test_moments_are_shown_relative(text: str, wanted: str) -> None:
    """People see how long ago, programs never do."""
    assert times.ago(text, NOW) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"), [("50/s", 50), ("50", 50), ("30/min", 0.5), ("90/h", 0.025), ("2.5/s", 2.5)]
)
def test_rates_are_read_as_people_write_them(text: str, wanted: float) -> None:
    """So many a second, a minute, an hour; a bare number is a second's."""
    assert times.per_second(text, "--rate") == wanted


@pytest.mark.parametrize("text", ["", "fast", "-1/s", "50/", "50/d", "1e9", "٣/s", "50 /s", "9" * 400])
def test_what_is_no_rate_is_refused_with_its_flag(text: str) -> None:
    """A wrong rate is a usage error that names the flag."""
    with pytest.raises(CliError, match="--rate"):
        times.per_second(text, "--rate")


def test_durations_may_be_parts_of_a_second() -> None:
    """Where an API takes fractions, the flag does too, down to nothing."""
    assert [times.exact_seconds(text, "--x") for text in ("500ms", "1.5s", "0s", "2m")] == [0.5, 1.5, 0, 120]
    with pytest.raises(CliError, match="--x"):
        times.exact_seconds("9" * 400 + "s", "--x")


def test_a_grace_may_be_none() -> None:
    """`none` ends the old secret at once, and so does nothing at all of time."""
    assert [grace_s(text) for text in ("24h", "none", "0s", "90m")] == [86_400, 0, 0, 5_400]


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["+15m"], {"by": "+15m"}),
        (["until", "quiet"], {"until": "quiet"}),
        (["to", "2026-11-23T10:00Z"], {"to": "2026-11-23T10:00:00.000Z"}),
    ],
)
def test_clock_words_become_one_request(words: list[str], body: object) -> None:
    """by, to and until are the three ways to push the clock."""
    assert advance(words) == body


@pytest.mark.parametrize("words", [["to"], ["until"], ["a", "b"], ["to", "x"]])
def test_other_clock_words_are_wrong_usage(words: list[str]) -> None:
    """What is none of the three is told."""
    with pytest.raises(CliError):
        advance(words)


@pytest.mark.parametrize(
    ("length_s", "text"),
    [(0, "0s"), (2.4, "2.4s"), (60, "1m"), (86_401, "24h1s"), (3_660, "1h1m"), (59.99, "1m")],
)
def test_a_length_of_time_is_told_as_it_is_given(length_s: float, text: str) -> None:
    """The grammar of durations, tenths of a second at most."""
    assert span(length_s) == text
