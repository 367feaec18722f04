"""SQLite's write-ahead log: when it is copied back, and who stands in the way of that."""

import asyncio
import threading
from pathlib import Path

import apsw
import pytest
from tests.store.conftest import Run
from tests.store.numbers import add, numbers_db, read_numbers, sql

from homing.errors import Unavailable
from homing.store.sqlite import database


def test_the_log_is_copied_back_when_it_is_long(path: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it stays short however much is written."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 64 * 1024)

    async def story() -> None:
        opened = await numbers_db(path)
        await opened.write(sql("CREATE TABLE blob(b BLOB)"))
        for _ in range(40):
            await opened.write(sql("INSERT INTO blob VALUES (zeroblob(16384))"))
        assert Path(path + "-wal").stat().st_size < 256 * 1024
        assert Path(path).stat().st_size > 512 * 1024
        await opened.close()

    run(story())


@pytest.mark.parametrize(("rest", "is_short"), [(0, True), (10**9, False)])
def test_the_log_is_copied_back_early_while_that_takes_little_time(
    path: str, run: Run, monkeypatch: pytest.MonkeyPatch, rest: int, is_short: bool
) -> None:
    """So that nobody waits long; a writer that is busy enough without it does so when the log is long."""
    monkeypatch.setattr(database, "EARLY_BYTES", 64 * 1024)
    monkeypatch.setattr(database, "_EARLY_REST", rest)

    async def story() -> None:
        opened = await numbers_db(path)
        await opened.write(sql("CREATE TABLE blob(b BLOB)"))
        for _ in range(40):
            await opened.write(sql("INSERT INTO blob VALUES (zeroblob(16384))"))
        assert (Path(path + "-wal").stat().st_size < 256 * 1024) is is_short
        await opened.close()

    run(story())


def test_a_reader_in_the_way_of_a_long_log_is_interrupted(
    path: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the second threshold the question gives way, is told to ask again, and the log is truncated."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 64 * 1024)
    monkeypatch.setattr(database, "TRUNCATE_BYTES", 128 * 1024)

    async def story() -> None:
        opened = await numbers_db(path)
        await opened.write(add(1))
        begun = threading.Event()

        def endless(connection: apsw.Connection) -> None:
            read_numbers(connection)
            begun.set()
            connection.execute(
                "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
            ).fetchone()

        asking = opened.read(endless)
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        await opened.write(sql("CREATE TABLE blob(b BLOB)"))
        for _ in range(20):
            await opened.write(sql("INSERT INTO blob VALUES (zeroblob(16384))"))
        with pytest.raises(Unavailable):
            await asking
        await opened.write(add(2))
        assert Path(path + "-wal").stat().st_size < 128 * 1024
        assert await opened.read(read_numbers) == [(1,), (2,)]
        await opened.close()

    run(story())


@pytest.mark.parametrize("error", [apsw.FullError, apsw.BusyError])
def test_a_checkpoint_that_finds_no_room_does_not_unsay_the_commit(
    path: str, run: Run, monkeypatch: pytest.MonkeyPatch, error: type[apsw.Error]
) -> None:
    """The commit is in the log and counts; only a failed sync is the end."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 0)

    class Stubborn(apsw.Connection):
        def wal_checkpoint(self, *_given: object, **_named: object) -> tuple[int, int]:
            raise error("not now")

    monkeypatch.setattr(apsw, "Connection", Stubborn)

    async def story() -> None:
        opened = await numbers_db(path)
        await opened.write(add(1))
        assert await opened.read(read_numbers) == [(1,)]
        await opened.close()

    run(story())
