"""How far a long verb is: one line that changes where somebody looks, a plain line now and then where nobody does."""

import io

import pytest

from homing.cli.progress import Progress


class Screen(io.StringIO):
    """A terminal, or what only looks like a file."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_terminal_has_one_line_with_share_pace_and_rest() -> None:
    """Drawn over itself; how fast it is counts from where this call began; at the end it is gone."""
    screen, watch = Screen(is_terminal=True), Watch()
    progress = Progress(screen, watch)
    progress.tell("copying", "event", 500, 4_000)
    watch.now_s += 2
    progress.tell("copying", "event", 1_500, 4_000)
    watch.now_s += 0.01
    progress.tell("copying", "event", 1_600, 4_000)  # too soon to be drawn
    progress.end()
    lines = screen.getvalue().split("\r\x1b[K")
    assert lines == ["", "copying event: 12 %", "copying event: 37 %, 500 rows/s, 5 s left", ""]


def test_elsewhere_there_is_a_plain_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Every ten seconds one, and one for each thing that is begun; no control characters."""
    screen, watch = Screen(is_terminal=False), Watch()
    progress = Progress(screen, watch)
    for second in range(25):
        watch.now_s = 100.0 + second
        progress.tell("copying", f"table{second}", second * 1_000_000, 9_024_000_000)
    progress.tell("comparing", "app", 0, 0)
    progress.end()
    assert capsys.readouterr().err.splitlines() == [
        "copying table0: 0 %",
        "copying table10: 0 %, 1,000,000 rows/s, 2 h 30 min left",
        "copying table20: 0 %, 1,000,000 rows/s, 2 h 30 min left",
        "comparing app: 100 %",
    ]
    assert screen.getvalue() == ""
