"""What comes back, line by line and piece by piece, read as strictly as it must be and no further than the limits. Pure.

libcurl reads HTTP generously: for it ``http/1.1 500`` and ``HTTP/2.0 500`` are a 200, and a head is whole where the
connection ends within it. Events would be settled that nobody took, so what it calls an answer is read once more.
"""

import re
from enum import Enum
from typing import Final

from homing.callbacks.limits import Limits

_BEGINNING: Final = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}[ \r\n]")
_USUAL: Final = frozenset({
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 \r\n", b"HTTP/1.1 201 Created\r\n", b"HTTP/1.1 202 Accepted\r\n",
    b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 204 \r\n",
})  # fmt: skip
"""What nearly every answer begins with; the rest is looked at more closely."""
_EMPTY_LINES: Final = (b"\r\n", b"\n")
_LOCATION_CHARS: Final = 2_048
_STOP: Final = -1
"""What libcurl takes as the wish to end the transfer; None lets it go on."""


class _Part(Enum):
    """What the next line belongs to."""

    STATUS_LINE = "status line"
    HEADERS = "headers"
    TRAILERS = "trailers"
    """The answer's own head is whole; trailers may follow its body, are counted, and say nothing."""


_STATUS_LINE, _HEADERS, _TRAILERS = _Part  # asked for at every line, and found faster than as the class's


class Answer:
    """One answer at a time; `clear` before the next. `header` and `body` are libcurl's callbacks."""

    __slots__ = (
        *("excess", "has_begun", "is_too_long", "is_whole", "kept", "location", "retry_after"),
        *("_body_bytes", "_header_bytes", "_header_lines", "_informational", "_is_informational", "_limits", "_part"),
        *("_most_bytes", "_most_lines"),
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most_bytes, self._most_lines = limits.header_bytes, limits.header_lines
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.has_begun = False
        """A first line came, whatever it said."""
        self.kept = b""
        """The beginning of the body."""
        self.retry_after: str | None = None
        """The header as it came; several, one a line."""
        self.location: str | None = None
        self.excess = ""
        """What was beyond the limits or the grammar of heads, so that there is no answer; empty: nothing was."""
        self.is_whole = False
        """The head came whole, and nothing is wrong with what came, if it ended where it should."""
        self.is_too_long = False
        """The body was cut; the status counts."""
        self._part = _STATUS_LINE
        self._is_informational = False
        self._informational = self._header_bytes = self._header_lines = self._body_bytes = 0

    @property
    def has_whole_head(self) -> bool:
        """The status line, the headers and the empty line behind them came, and not of a 1xx only."""
        return self._part is _TRAILERS

    def header(self, line: bytes) -> int | None:
        """Take a line: of a head, status line and empty line too, or a trailer."""
        self._header_bytes += len(line)
        self._header_lines += 1
        if self._header_bytes > self._most_bytes or self._header_lines > self._most_lines:
            return self._stop("headers")
        if self._part is not _HEADERS:
            if self._part is _TRAILERS:
                return None
            self.has_begun = True
            self._part = _HEADERS
            return None if line in _USUAL else self._begin(line)
        if line == b"\r\n" and not self._is_informational:
            self._part = _TRAILERS
            self.is_whole = True
            return None
        first = line[0]
        if first in b"\r\n":
            return self._end(line)
        if first not in b"RrLl":
            return None
        if first in b"Rr" and line[:12].lower() == b"retry-after:":
            value = line[12:].strip().decode("latin-1")
            self.retry_after = value if self.retry_after is None else f"{self.retry_after}\n{value}"
        elif first in b"Ll" and line[:9].lower() == b"location:":
            self.location = line[9:].strip()[:_LOCATION_CHARS].decode("latin-1")
        return None

    def body(self, piece: bytes) -> int | None:
        """Take a piece of the body: keep the beginning and count the rest."""
        limits = self._limits
        kept = limits.answer_kept_bytes - len(self.kept)
        if kept > 0:
            self.kept += piece[:kept]
        self._body_bytes += len(piece)
        if self._body_bytes > limits.answer_read_bytes:
            self.is_too_long = True
            return _STOP
        return None

    def _begin(self, line: bytes) -> int | None:
        if _BEGINNING.match(line) is None:
            return self._stop("no status line")
        self._is_informational = line.startswith(b"1", 9)
        if not self._is_informational:
            return None
        self._informational += 1
        if line.startswith(b"101", 9):
            return self._stop(
                "another protocol"
            )  # nobody asked for it, and it would be read until the deadline
        return (
            self._stop("informational answers") if self._informational > self._limits.informational else None
        )

    def _end(self, line: bytes) -> int | None:
        if line not in _EMPTY_LINES:
            return self._stop("a bare carriage return")
        if self._is_informational:
            self.retry_after = self.location = None  # what it says is not the answer's
        self.is_whole = not self._is_informational
        self._part = _TRAILERS if self.is_whole else _STATUS_LINE
        # The next line may be usual, and says nothing of this.
        self._is_informational = False
        return None

    def _stop(self, excess: str) -> int:
        self.excess = excess
        self.is_whole = False
        return _STOP
