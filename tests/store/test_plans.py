"""How SQLite goes about the statements: by key or along an index, whatever grows, but where the file says why not."""

import re
from pathlib import Path
from typing import Final

import apsw
import pytest

from homing.store import sql

FILES: Final = sorted(
    path.stem for path in (Path(sql.__file__).parent / "sqlite").glob("*.sql") if "schema" not in path.stem
)
SMALL: Final = {
    "app",
    "endpoint",
    "job",
    "token",
    "sqlite_schema",
    "operation",
    "listener",
    "meta",
    "sqlite_sequence",
}
"""Configuration, and what is owed to nobody but operators: there are few."""
LOOKED_THROUGH: Final = {
    ("backup", "free_lanes"): "a restored copy that nobody serves yet",
    ("backup", "free_commands"): "a restored copy that nobody serves yet",
    ("claims", "orphan_commands"): "asked until there are none, and never again",
    ("onlooker", "newest"): "from the end of an index, and a hundred at most",
    ("registry", "drop_app_lanes"): "held lanes are in no index; deleting is rare",
    ("registry", "drop_endpoint_lanes"): "held lanes are in no index; deleting is rare",
}


@pytest.fixture(scope="module")
def empty() -> apsw.Connection:
    """Return an empty store of today's schema: without statistics the plan is the same as in a full one."""
    connection = apsw.Connection(":memory:")
    for version in (1, 2):
        blocks = sql.load("sqlite", f"schema_{version}")
        connection.execute(blocks["schema" if version == 1 else "migrate"])
    return connection


def plan(connection: apsw.Connection, statement: str) -> list[str]:
    """Return the steps of a statement's plan; what is bound does not matter to it."""
    prepared = f"EXPLAIN QUERY PLAN {statement}"
    names = set(re.findall(r"(?<![\w:]):(\w+)", statement))
    numbered = [int(n) for n in re.findall(r"\?(\d+)", statement)]
    places = max(numbered, default=statement.count("?"))
    bound = dict.fromkeys(names) if names else (None,) * places
    return [str(row[3]) for row in connection.execute(prepared, bound)]


def looked_through(connection: apsw.Connection, statement: str) -> set[str]:
    """Return the tables that a statement reads from one end to the other."""
    steps = plan(connection, statement)
    named = {alias: table for table, alias in re.findall(r"(?:FROM|JOIN)\s+(\w+)\s+AS\s+(\w+)", statement)}
    scanned = {step.split()[1] for step in steps if step.startswith("SCAN") and "VIRTUAL TABLE" not in step}
    made_here = {step.split()[1] for step in steps if step.startswith("CO-ROUTINE")}
    return {named.get(name, name) for name in scanned - made_here - {"CONSTANT"}}


@pytest.mark.parametrize("file", FILES)
def test_no_statement_looks_through_what_grows(empty: apsw.Connection, file: str) -> None:
    """Messages, events, lanes, timers, logs: ten million of them must not be read to find one."""
    for name, statement in sql.load("sqlite", file).items():
        if (file, name) not in LOOKED_THROUGH:
            assert looked_through(empty, statement) <= SMALL, name


def test_what_may_be_looked_through_is(empty: apsw.Connection) -> None:
    """An exception that is none any more is taken off the list."""
    for file, name in LOOKED_THROUGH:
        assert looked_through(empty, sql.load("sqlite", file)[name]) - SMALL, name
