"""How PostgreSQL goes about the hot statements: by key or along an index, whatever it was told of the tables."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import asyncpg
import pytest
from tests.store.conftest import Run, needs_postgres

from homing.store import sql
from homing.store.postgres.database import _HOT

pytestmark = needs_postgres
HOT: Final = {"ledger": (), "claims": (), "archive": ("push_jobs", "push_devices", "sms_jobs")}
"""The files of hot statements, or those of a file that are."""
SMALL: Final = {"app", "endpoint", "job", "operation"}
"""Configuration, and what is owed to nobody but operators: there are few."""
LOOKED_THROUGH: Final = {
    ("claims", "adopt_commands"): "asked until there are none, and never again",
    ("claims", "next_command"): "the first of an index",
    ("claims", "next_timer"): "the first of an index",
}
FEW_IN_MANY_PAGES: Final = """
INSERT INTO lane(key, endpoint, pending, owner)
SELECT int8send(n) || int8send(n) || '\\x0000', 1, 1, 1 FROM generate_series(1, 3000) AS n;
DELETE FROM lane WHERE endpoint = 1 AND key < int8send(2997);
"""
"""What is left of a busy hour: the planner is told of three lanes in dozens of pages."""
TIMERS: Final = """
INSERT INTO timer(key, at)
SELECT int8send(0) || int8send(n % 256) || '\\x0000', n FROM generate_series(1::bigint, 3000) AS n;
"""
"""Deadlines one after the other, each of another share than the one before."""


def looked_through(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the tables that a plan reads from one end to the other."""
    if "Scan" in plan["Node Type"] and "Relation Name" in plan and "Index Cond" not in plan:
        yield re.sub(r"_(before|w\d+)$", "", plan["Relation Name"])
    for part in plan.get("Plans", ()):
        yield from looked_through(part)


async def planned(connection: Any, statement: str) -> dict[str, Any]:
    """Return the plan that a session of a node makes, once for all parameters."""
    count = max(map(int, re.findall(r"\$(\d+)", statement)), default=0)
    await connection.execute(f"PREPARE it AS {statement}")
    given = f"({', '.join(['NULL'] * count)})" if count else ""
    plan: dict[str, Any] = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE it{given}"))[
        0
    ]["Plan"]
    await connection.execute("DEALLOCATE it")
    return plan


@pytest.mark.parametrize(
    "past",
    [(), ("VACUUM (ANALYZE)",), (FEW_IN_MANY_PAGES, "VACUUM (ANALYZE)")],
    ids=["new", "empty", "nearly empty"],
)
def test_no_hot_statement_looks_through_what_grows(database: str, run: Run, past: tuple[str, ...]) -> None:
    """A plan made when a table was new, empty or nearly so is kept for a while: it must be right when millions came."""

    async def story() -> None:
        connection = await asyncpg.connect(database, server_settings=_HOT)
        try:
            for statement in past:
                await connection.execute(statement)
            for file, names in HOT.items():
                statements = sql.load("postgres", file)
                for name in names or statements:
                    if (file, name) not in LOOKED_THROUGH:
                        statement = statements[name]
                        assert set(looked_through(await planned(connection, statement))) <= SMALL, name
        finally:
            connection.terminate()

    run(story())


def test_what_may_be_looked_through_is(database: str, run: Run) -> None:
    """An exception that is none any more is taken off the list."""

    async def story() -> None:
        connection = await asyncpg.connect(database, server_settings=_HOT)
        try:
            for file, name in LOOKED_THROUGH:
                plan = await planned(connection, sql.load("postgres", file)[name])
                assert set(looked_through(plan)) - SMALL, name
        finally:
            connection.terminate()

    run(story())


def rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows a plan that was run has read out of tables, with those it threw away."""
    here = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) if "Relation Name" in plan else 0
    return int(here) + sum(rows_read(part) for part in plan.get("Plans", ()))


@pytest.mark.parametrize("rank", [-1, 0, 2], ids=["no teller", "first", "last"])
def test_looking_for_the_next_deadline_reads_few(database: str, run: Run, rank: int) -> None:
    """There is one for each message of two days, and every node asks again and again, also one that tells no callbacks."""

    async def story() -> None:
        connection = await asyncpg.connect(database, server_settings=_HOT)
        try:
            await connection.execute(TIMERS)
            await connection.execute(f"PREPARE it AS {sql.load('postgres', 'claims')['next_timer']}")
            told = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE it(3, {rank})")
            assert rows_read(json.loads(told)[0]["Plan"]) <= 10
            at = await connection.fetchval(f"EXECUTE it(3, {rank})")
            assert at == {-1: 5001, 0: 3, 2: 2}[rank]
        finally:
            connection.terminate()

    run(story())
