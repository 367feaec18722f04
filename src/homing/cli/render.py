"""What people and programs see: tables for a terminal, tab-separated lines otherwise, JSON in the API's shapes.

stdout is data, stderr is talk. Nothing here decides what to show, only how.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, TextIO

from homing.cli.times import ago

Item = Mapping[str, Any]

_END: Final = 8
"""So much of an id names it among many."""


class Style(StrEnum):
    """How data leaves on stdout."""

    HUMAN = "human"
    PLAIN = "plain"
    JSON = "json"
    JSONL = "jsonl"


class Column(NamedTuple):
    """One column: its title, the value for programs, and whether people read it as a moment: ``3 min ago``.

    ``is_end``: of an id that a table only mentions people see the end, which stands for it.
    """

    title: str
    value: Callable[[Item], object]
    is_moment: bool = False
    is_end: bool = False


def field(title: str) -> Column:
    """Return the column of a property; one that is absent is empty."""
    return Column(title, lambda item: item.get(title))


def moment(title: str) -> Column:
    """Return the column of a property that is a moment; people see how long ago that is, by the server's clock."""
    return Column(title, lambda item: item.get(title), is_moment=True)


def end_of_id(title: str) -> Column:
    """Return the column of an id that is mentioned: people see its end."""
    return Column(title, lambda item: item.get(title), is_end=True)


def plain(value: object) -> str:
    """Return a value as one field of a tab-separated line; tabs and line ends in it are escaped."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            text = value
        case list() | tuple():
            text = ",".join(str(_whole(one)) for one in value)
        case dict():
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        case _:
            text = str(_whole(value))
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def harmless(text: str) -> str:
    """Return text without control characters, so that what others wrote cannot steer a terminal."""
    return "".join(sign if sign.isprintable() else " " if sign in "\t\n\r" else "\ufffd" for sign in text)


def say(line: str) -> None:
    """Tell people one line on stderr; a stderr that is gone is no fault."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


class Out:
    """Where a verb's data goes, and in which style. ``now`` tells the time that moments are shown relative to."""

    def __init__(self, style: Style, *, no_colour: bool = False, stream: TextIO | None = None) -> None:
        self.style = style
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._stream = stream or sys.stdout
        self._no_colour = no_colour or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"

    @property
    def is_human(self) -> bool:
        """Say whether a person is reading."""
        return self.style is Style.HUMAN

    def line(self, text: str) -> None:
        """Print one line of data."""
        print(text, file=self._stream, flush=True)

    def document(self, document: object) -> None:
        """Print a JSON document: indented for ``--json``, on one line for ``--jsonl``."""
        if self.style is Style.JSONL:
            self.compact(document)
        else:
            self.line(json.dumps(document, ensure_ascii=False, indent=2))

    def compact(self, document: object) -> None:
        """Print a JSON document on one line, as every part of a stream is."""
        self.line(json.dumps(document, ensure_ascii=False, separators=(",", ":")))

    def items(self, page: Mapping[str, Any], columns: Sequence[Column], what: str) -> None:
        """Print a list: the whole page as JSON, one item a line as JSONL or tab-separated, or a table.

        A table leaves out the columns that have no value in it; the fields of plain lines keep their places.
        """
        items: Sequence[Item] = page["items"]
        match self.style:
            case Style.JSON:
                self.document(page)
            case Style.JSONL:
                for item in items:
                    self.document(item)
            case Style.PLAIN:
                for item in items:
                    self.row([column.value(item) for column in columns])
            case Style.HUMAN:
                if items:
                    self._table(items, columns)
        if not items:
            say(f"no {what}")
        elif page.get("nextCursor") is not None:
            say(f"{len(items)} {what}, and there are more: --limit {2 * len(items)}")

    def thing(self, item: Item, columns: Sequence[Column]) -> None:
        """Print one thing: as JSON, or each property that has a value on a line with its name."""
        if self.style in {Style.JSON, Style.JSONL}:
            self.document(item)
            return
        shown = [(column, column.value(item)) for column in columns]
        present = [(column, value) for column, value in shown if value is not None]
        width = max((len(column.title) for column, _ in present), default=0)
        for column, value in present:
            if self.is_human:
                self.line(f"{column.title:<{width}}  {self._human(column, value)}")
            else:
                self.row([column.title, value])

    def row(self, values: Sequence[object]) -> None:
        """Print one tab-separated line, nothing cut."""
        self.line("\t".join(map(plain, values)))

    def _human(self, column: Column, value: object) -> str:
        if value is None:
            return ""
        if column.is_end:
            return f"…{str(value)[-_END:]}"
        return harmless(ago(value, self.now()) if column.is_moment else plain(value))

    def _table(self, items: Sequence[Item], columns: Sequence[Column]) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="" if self._no_colour else "dim")
        shown = [column for column in columns if any(column.value(item) is not None for item in items)]
        for number, column in enumerate(shown):
            table.add_column(
                column.title, overflow="fold", no_wrap=number == 0
            )  # the first one is to be copied
        for item in items:
            table.add_row(*(Text(self._human(column, column.value(item))) for column in shown))
        Console(file=self._stream, no_color=self._no_colour, highlight=False).print(table)


def style_for(*, as_json: bool, as_jsonl: bool, stream: TextIO | None = None) -> Style:
    """Return the style: what was asked for, else a table on a terminal and plain lines elsewhere."""
    if as_json:
        return Style.JSON
    if as_jsonl:
        return Style.JSONL
    return Style.HUMAN if (stream or sys.stdout).isatty() else Style.PLAIN
