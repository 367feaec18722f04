"""A server on SQLite dies amid its work; its store is moved to PostgreSQL; a node there does what was left, and answers alike.

At full size among 300,000 messages of a fortnight, and the move is killed three times.
"""

import asyncio
import os
import random
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.chaos.moving import Drill
from tests.postgres.server import Server

IS_FULL = os.environ.get("HOMING_CHAOS") == "full"
STOCK = 300_000 if IS_FULL else 0
RETRIES = STOCK // 30
"""So many of them wait for their next try."""
SAMPLE = 300
KILLS = (100_000, 800_000, 1_500_000) if IS_FULL else ()
SETTLED, PENDING = (100, 100) if IS_FULL else (6, 4)
Run = Callable[[Coroutine[Any, Any, str]], str]


def sample(file: Path) -> list[str]:
    """Ids of some messages of the stock, on which nothing is to be done for hours."""
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    ids: list[tuple[Any, ...]] = connection.execute("SELECT id FROM message").fetchall()
    connection.close()
    return [str(uuid.UUID(bytes=row[0])) for row in random.Random(7).sample(ids, SAMPLE)]


@pytest.mark.chaos
@pytest.mark.timeout(3_600 if IS_FULL else 150)
def test_what_one_server_left_another_does_on_postgresql(
    postgres: Server, fresh_database: str, tmp_path: Path, run: Run
) -> None:
    """Held, waiting and paused callbacks arrive in order; the API says of the past what it said, byte for byte; phones stay."""
    known: list[str] = []
    if STOCK:
        from bench.stock import grown

        began_s = time.monotonic()
        asyncio.run(grown(tmp_path / "data", STOCK - RETRIES, RETRIES))
        print(f"{STOCK:,} messages made in {time.monotonic() - began_s:.0f} s")
        known = sample(tmp_path / "data" / "homing.db")
    drill = Drill(tmp_path, postgres.dsn(fresh_database), known, KILLS)
    printed = run(drill.run(SETTLED, PENDING))
    print(printed)
    lines = dict(line.split("\t", 1) for line in printed.splitlines() if "\t" in line)
    (rows, there, *_) = lines["message"].split("\t")
    assert rows == there
    assert int(rows) >= STOCK + SETTLED + PENDING
    assert "moved: every row is in postgresql://127.0.0.1:" in printed
