"""A SQLite file with one table of numbers, for tests of the file and not of what is kept in it."""

from collections.abc import Callable
from typing import Any

import apsw
from tests.store.fakes import StillClock

from homing.store.sqlite.database import Database

Lines = list[tuple[int]]


def read_numbers(connection: apsw.Connection) -> Lines:
    """Return all there are, in order."""
    return connection.execute("SELECT n FROM t ORDER BY n").fetchall()  # type: ignore[return-value]


def add(n: int) -> Callable[[apsw.Connection], None]:
    """Return what adds one; it fails where that is there already."""

    def work(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (?)", (n,))

    return work


def sql(statement: str) -> Callable[[apsw.Connection], list[Any]]:
    """Return what runs a statement."""
    return lambda connection: connection.execute(statement).fetchall()


async def numbers_db(path: str, **given: object) -> Database:
    """Open the file, and make its table if it has none."""
    opened = Database(path, StillClock(), **given)  # type: ignore[arg-type]
    await opened.open()
    await opened.write(sql("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY)"))
    return opened
