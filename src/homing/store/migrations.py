"""The numbered steps of a store's schema: what comes next, what it is called, and which tables it touches.

Read from the statements themselves (``sql/*/schema_N.sql``), so that a plan cannot say anything else than what is run.
"""

import re
from typing import Final, Literal, LiteralString, NamedTuple

from homing.errors import SchemaTooNew
from homing.store.sql import load

_TITLE: Final = re.compile(r"-- Version \d+(?:: | )?(.*)")
_BODY: Final = re.compile(r"\$\$.*?\$\$", re.DOTALL)
"""What a function does later is no part of its making."""
_COMMENT: Final = re.compile(r"--[^\n]*")
_MADE: Final = re.compile(
    r"CREATE\s+(?:UNLOGGED\s+|TEMP\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.IGNORECASE
)
_TOUCHED: Final = re.compile(
    r"(?:ALTER\s+TABLE(?:\s+IF\s+EXISTS)?(?:\s+ONLY)?|INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?\w+\s+ON(?:\s+ONLY)?|UPDATE"
    r"|DELETE\s+FROM|INSERT\s+INTO|DROP\s+TABLE(?:\s+IF\s+EXISTS)?)\s+(?!SET\b)(\w+)",
    re.IGNORECASE,
)


class Migration(NamedTuple):
    """One step: its number, what it brings, and the tables there are already that it changes, in their order in it."""

    number: int
    title: str
    tables: tuple[str, ...]


def pending(store: Literal["sqlite", "postgres"], have: int, known: int) -> list[Migration]:
    """Return the steps from one schema (0: none yet) to another."""
    return [_described(number, statement(store, number)) for number in range(have + 1, known + 1)]


def statement(store: Literal["sqlite", "postgres"], number: int) -> LiteralString:
    """Return what one step runs."""
    return load(store, f"schema_{number}")["schema" if number == 1 else "migrate"]


def refuse_newer(schema: object, known: int) -> int:
    """Return a store's schema; `SchemaTooNew`, naming both versions, where this program does not know it."""
    if not isinstance(schema, int) or schema > known:
        raise SchemaTooNew(f"the store has schema {schema}; this Homing knows schemas up to {known}")
    return schema


def _described(number: int, text: str) -> Migration:
    found = _TITLE.search(text)
    bare = _COMMENT.sub("", _BODY.sub("", text))
    made = set(_MADE.findall(bare))
    touched = tuple(dict.fromkeys(name for name in _TOUCHED.findall(bare) if name not in made))
    return Migration(number, found[1].rstrip(".") if found else "", touched)
