"""Works that wait for SQLite's writer are one transaction: what becomes of each, and of all when one fails."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import apsw
import pytest
from tests.store.conftest import Run
from tests.store.fakes import StillClock
from tests.store.numbers import add, numbers_db, read_numbers, sql

from homing.errors import Unavailable
from homing.store.sqlite import database
from homing.store.sqlite.database import Database


class Counting(Database):
    """Counts what it commits."""

    commits = 0

    def _committed(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self.commits += 1
        return super()._committed(connection, name, pages)


async def all_waiting(
    opened: Database, *works: Callable[[apsw.Connection], Any]
) -> list[BaseException | Any]:
    """Have works wait for the writer until all are there, and return what became of each."""
    begun, go = threading.Event(), threading.Event()

    def hold(_connection: apsw.Connection) -> None:
        begun.set()
        assert go.wait(10)

    held = opened.write(hold)
    await asyncio.get_running_loop().run_in_executor(None, begun.wait)
    told = [opened.write(work) for work in works]
    go.set()
    await held
    return await asyncio.gather(*told, return_exceptions=True)


def test_works_that_wait_together_are_one_transaction(path: str, run: Run) -> None:
    """So many at most, in order, and each is told what it returned once all of it is on disk."""

    async def story() -> None:
        opened = Counting(path, StillClock())
        await opened.open()
        await opened.write(sql("CREATE TABLE t(n INTEGER PRIMARY KEY)"))
        count, before = 2 * database.TOGETHER + 1, opened.commits

        def numbered(n: int) -> Callable[[apsw.Connection], int]:
            def work(connection: apsw.Connection) -> int:
                add(n)(connection)
                return len(read_numbers(connection))

            return work

        assert await all_waiting(opened, *map(numbered, range(count))) == [*range(1, count + 1)]
        assert opened.commits - before == 3
        assert await opened.read(read_numbers) == [(n,) for n in range(count)]
        await opened.close()

    run(story())


def test_a_work_that_fails_among_others_fails_alone(path: str, run: Run) -> None:
    """The others are stored, once, though all of them had to be done again."""

    async def story() -> None:
        opened = await numbers_db(path)

        def half(connection: apsw.Connection) -> None:
            add(2)(connection)
            raise KeyError("half done")

        first, failed, same, last = await all_waiting(opened, add(1), half, add(1), add(3))
        assert (first, last) == (None, None)
        assert isinstance(failed, KeyError)
        assert isinstance(same, apsw.ConstraintError)
        assert await opened.read(read_numbers) == [(1,), (3,)]
        await opened.close()

    run(story())


@pytest.mark.parametrize(("failing", "commits"), [(1, 1), (3, 1), (6, database.TOGETHER - 6)])
def test_what_fails_among_others_costs_them_no_commit_each(
    path: str, run: Run, failing: int, commits: int
) -> None:
    """They are done once more, together, as long as it is few that fail."""

    async def story() -> None:
        opened = Counting(path, StillClock())
        await opened.open()
        await opened.write(sql("CREATE TABLE t(n INTEGER PRIMARY KEY)"))
        before = opened.commits

        def refuse(_connection: apsw.Connection) -> None:
            raise KeyError("no such thing")

        works = [*map(add, range(database.TOGETHER - failing)), *[refuse] * failing]
        told = await all_waiting(opened, *works[::-1])
        assert [type(one) for one in told] == [KeyError] * failing + [type(None)] * (len(works) - failing)
        assert opened.commits - before == commits
        assert await opened.read(read_numbers) == [(n,) for n in range(database.TOGETHER - failing)]
        await opened.close()

    run(story())


@pytest.mark.parametrize(("error", "told"), [(apsw.IOError, apsw.IOError), (apsw.BusyError, Unavailable)])
def test_the_fault_of_the_file_is_told_to_all_that_waited_together(
    path: str, run: Run, error: type[apsw.Error], told: type[Exception]
) -> None:
    """None of them is stored, and none is tried again: what is on disk may be unknown, or each would wait as long."""

    async def story() -> None:
        failures: list[BaseException] = []
        opened = await numbers_db(path, on_failure=failures.append)
        runs = 0

        def fail(_connection: apsw.Connection) -> None:
            nonlocal runs
            runs += 1
            raise error("now")

        answers = await all_waiting(opened, add(1), fail, add(2))
        assert [type(answer) for answer in answers] == [told, told, told]
        assert (runs, len(failures)) == (1, int(error is apsw.IOError))
        assert await opened.read(read_numbers) == []
        await opened.close()

    run(story())


def test_what_is_on_disk_is_told_so_where_the_reader_has_ended(
    path: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Works that wait while the store is closed, behind a long log, are done once and told what they returned."""
    for threshold in ("EARLY_BYTES", "CHECKPOINT_BYTES", "TRUNCATE_BYTES"):
        monkeypatch.setattr(database, threshold, 0)

    async def story() -> None:
        opened = await numbers_db(path)
        begun, go = threading.Event(), threading.Event()

        def hold(_connection: apsw.Connection) -> None:
            begun.set()
            assert go.wait(10)

        held = opened.write(hold)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, begun.wait)
        told = [opened.write(add(n)) for n in (1, 2)]
        reader = opened._reader
        closing = loop.create_task(opened.close())
        await asyncio.sleep(0)
        await loop.run_in_executor(None, reader._thread.join)
        go.set()
        assert await asyncio.gather(held, *told, return_exceptions=True) == [None, None, None]
        await closing
        assert sql("SELECT n FROM t ORDER BY n")(apsw.Connection(path)) == [(1,), (2,)]

    run(story())
