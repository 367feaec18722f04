"""How far a long verb is: one line that changes on a terminal, now and then a plain line elsewhere. Always on stderr."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from homing.cli.render import say

_REDRAW_S: Final = 0.1
_LINE_S: Final = 10.0
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Tells of steps that are done out of how many; made anew for each thing that is done."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._is_terminal = self._stream.isatty()
        self._doing = ""
        self._table = ""
        self._began_s = self._told_s = clock()
        self._first = 0

    def tell(self, doing: str, table: str, rows: int, of: int) -> None:
        """Say that so many rows of all are through, as often as that is worth it."""
        now_s = self._clock()
        is_new = (doing, table) != (self._doing, self._table)
        if doing != self._doing:
            # What an earlier call has done already tells nothing of how fast this one is.
            self._began_s, self._first, self._told_s = now_s, rows, 0.0
        self._doing, self._table = doing, table
        pause_s = _REDRAW_S if self._is_terminal else _LINE_S
        if now_s - self._told_s < pause_s and not (is_new and self._is_terminal):
            return
        self._told_s = now_s
        line = self.line(rows, of, now_s)
        if self._is_terminal:
            self._stream.write(_CLEAR + line[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
        else:
            say(line)

    def line(self, rows: int, of: int, now_s: float) -> str:
        """Return what is told: share, rows in a second, time that is left."""
        share = 100 * rows // of if of else 100
        took_s, done = now_s - self._began_s, rows - self._first
        told = f"{self._doing} {self._table}: {share} %"
        if took_s <= 0 or done <= 0:
            return told
        per_s = done / took_s
        return f"{told}, {per_s:,.0f} rows/s, {_left((of - rows) / per_s)} left"

    def end(self) -> None:
        """Take the line away: what was done is told otherwise."""
        if self._is_terminal:
            self._stream.write(_CLEAR)
            self._stream.flush()


def _left(left_s: float) -> str:
    minutes, seconds = divmod(round(left_s), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
