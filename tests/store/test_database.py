"""The SQLite file: one writer, what a failure of it means, who may have it."""

import asyncio
import threading
from pathlib import Path

import apsw
import pytest
from tests.store.conftest import Run
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, happen, message_id, send
from tests.store.numbers import Lines, add, numbers_db, read_numbers, sql

from homing.errors import SchemaTooNew, StoreLocked, Unavailable, WrongMasterKey
from homing.lifecycle.dispatch import Read
from homing.model import Body, message_of
from homing.store.batch import Accept, Addressee, Batch, Incoming
from homing.store.sqlite import SqliteStore


def test_what_is_written_is_durable_and_read_back(path: str, run: Run) -> None:
    """The settings that durability rests on are the ones in force."""

    async def story() -> None:
        opened = await numbers_db(path)
        await opened.write(add(1))
        assert await opened.read(read_numbers) == [(1,)]
        pragmas = ("journal_mode", "synchronous", "wal_autocheckpoint", "page_size")
        told = [(await opened.write(sql(f"PRAGMA {pragma}")))[0][0] for pragma in pragmas]
        assert told == ["wal", 2, 0, 4096]
        await opened.close()

    run(story())


def test_a_work_that_fails_leaves_nothing_behind(path: str, run: Run) -> None:
    """Its error is its caller's, and the next work begins anew."""

    async def story() -> None:
        opened = await numbers_db(path)

        def half(connection: apsw.Connection) -> None:
            add(1)(connection)
            raise KeyError("half done")

        with pytest.raises(KeyError):
            await opened.write(half)
        await opened.write(add(2))
        assert await opened.read(read_numbers) == [(2,)]
        await opened.close()

    run(story())


def test_the_reader_cannot_write(path: str, run: Run) -> None:
    """Only one connection writes, whoever asks."""

    async def story() -> None:
        opened = await numbers_db(path)
        with pytest.raises(apsw.ReadOnlyError):
            await opened.read(add(1))
        await opened.close()

    run(story())


def test_a_question_sees_one_state(path: str, run: Run) -> None:
    """What is committed while a question runs is not in its second half."""

    async def story() -> None:
        opened = await numbers_db(path)
        looked, written = threading.Event(), threading.Event()

        def slow(connection: apsw.Connection) -> tuple[Lines, Lines]:
            before = read_numbers(connection)
            looked.set()
            assert written.wait(10)
            return before, read_numbers(connection)

        asking = opened.read(slow)
        await asyncio.get_running_loop().run_in_executor(None, looked.wait)
        await opened.write(add(1))
        written.set()
        assert await asking == ([], [])
        assert await opened.read(read_numbers) == [(1,)]
        await opened.close()

    run(story())


def test_a_data_directory_has_one_process(path: str, run: Run) -> None:
    """A second one is told so at once, and gets it once the first has let go."""

    async def story() -> None:
        store = await SqliteStore.open(path, clock=StillClock())
        with pytest.raises(StoreLocked):
            await SqliteStore.open(path, clock=StillClock())
        await store.close()
        store = await SqliteStore.open(path, clock=StillClock())
        await store.close()
        await store.close()

    run(story())


def test_a_store_that_cannot_be_opened_lets_go_of_its_directory(path: str, run: Run) -> None:
    """Something else stands where the file should be: the error comes through, and the lock is free again."""

    async def story() -> None:
        Path(path).mkdir()
        with pytest.raises(apsw.CantOpenError):
            await SqliteStore.open(path, clock=StillClock())
        Path(path).rmdir()
        await (await SqliteStore.open(path, clock=StillClock())).close()

    run(story())


def test_a_closed_store_takes_nothing(path: str, run: Run) -> None:
    """Who comes late is told so instead of waiting for ever."""

    async def story() -> None:
        store = await SqliteStore.open(path, clock=StillClock())
        await store.close()
        with pytest.raises(Unavailable):
            await store.commit(Batch())
        with pytest.raises(Unavailable):
            await store.outlook()

    run(story())


def test_a_newer_schema_and_another_master_key_are_refused(path: str, run: Run) -> None:
    """Nothing is written to a store that is not for us."""

    async def story() -> None:
        await (await SqliteStore.open(path, clock=StillClock(), key_id="k1")).close()
        with pytest.raises(WrongMasterKey):
            await SqliteStore.open(path, clock=StillClock(), key_id="k2")
        with apsw.Connection(path) as connection:
            connection.execute("UPDATE meta SET value = 99 WHERE name = 'schema'")
        connection.close()
        with pytest.raises(SchemaTooNew):
            await SqliteStore.open(path, clock=StillClock(), key_id="k1")

    run(story())


def test_a_full_disk_is_no_failure(path: str, run: Run) -> None:
    """The work is refused as unavailable, nothing of it is stored, and there is a next one when there is room."""

    async def story() -> None:
        failures: list[BaseException] = []
        opened = await numbers_db(path, on_failure=failures.append)
        [(pages,)] = await opened.write(sql("PRAGMA page_count"))
        await opened.write(sql(f"PRAGMA max_page_count={pages}"))

        def much(connection: apsw.Connection) -> None:
            connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(10_000)])

        with pytest.raises(Unavailable) as told:
            await opened.write(much)
        assert told.value.retry_after_s == 30
        await opened.write(sql("PRAGMA max_page_count=1000000"))
        await opened.write(add(1))
        assert await opened.read(read_numbers) == [(1,)]
        assert failures == []
        await opened.close()

    run(story())


@pytest.mark.parametrize("error", [apsw.IOError, apsw.CorruptError, apsw.NotADBError])
def test_a_failed_write_ends_the_process(path: str, run: Run, error: type[apsw.Error]) -> None:
    """It is reported to the one who ends the process, once, and never tried again."""

    async def story() -> None:
        failures: list[BaseException] = []
        opened = await numbers_db(path, on_failure=failures.append)

        def fail(_connection: apsw.Connection) -> None:
            raise error("the disk is on fire")

        with pytest.raises(error):
            await opened.write(fail)
        assert len(failures) == 1
        await opened.close()

    run(story())


@pytest.mark.parametrize("error", [apsw.BusyError, apsw.LockedError, apsw.InterruptError, apsw.NoMemError])
def test_what_passes_is_no_failure(path: str, run: Run, error: type[apsw.Error]) -> None:
    """Writer and reader say so and go on."""

    async def story() -> None:
        failures: list[BaseException] = []
        opened = await numbers_db(path, on_failure=failures.append)

        def fail(_connection: apsw.Connection) -> None:
            raise error("just now")

        for ask in (opened.write, opened.read):
            with pytest.raises(Unavailable):
                await ask(fail)
        await opened.write(add(1))
        assert await opened.read(read_numbers) == [(1,)]
        assert failures == []
        await opened.close()

    run(story())


@pytest.mark.parametrize("error", [apsw.ReadOnlyError, apsw.CantOpenError, apsw.ProtocolError])
def test_a_file_that_cannot_be_written_is_nobodys_fault(path: str, run: Run, error: type[apsw.Error]) -> None:
    """Remounted read-only, say: work waits until it can be written again, and no item of it is blamed."""

    async def story() -> None:
        opened = await numbers_db(path, on_failure=pytest.fail)

        def fail(_connection: apsw.Connection) -> None:
            raise error("not now")

        with pytest.raises(Unavailable):
            await opened.write(fail)
        await opened.close()

    run(story())


def positions(path: str) -> list[int]:
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    found = [row[0] for row in sql("SELECT position FROM event ORDER BY key, n")(connection)]
    connection.close()
    return found


def test_positions_only_grow(path: str, run: Run) -> None:
    """Over batches, restarts, and batches that failed while they reserved: each later event has a greater one."""

    async def story() -> None:
        clock = StillClock()
        seen: list[int] = []
        for _ in range(3):
            store = await SqliteStore.open(path, clock=clock)
            app = (await store.apps(0, 1) or [await add_app(store)])[0]
            if not seen:
                await add_user(store, app.id, "Ann")
            clock.ms += 1
            message = message_id(clock.ms)
            accept = Accept(message, app.id, None, Body("hello"), (Addressee("Ann", "ann"),))
            with pytest.raises(apsw.ConstraintError):  # its reservation is rolled back with it
                await store.commit(Batch(accepts=[accept, accept]))
            sent = await send(store, app.id, "Ann")
            await happen(store, message_of(sent), Read())
            await store.close()
            found = positions(path)
            assert found[: len(seen)] == seen
            assert found == sorted(set(found))
            assert len(found) == len(seen) + 3
            seen = found

    run(story())


def test_no_position_is_given_twice_where_what_reserved_it_failed_later_on(path: str, run: Run) -> None:
    """A batch takes some for each message from a device: what the first of them reserved is rolled back with the last."""

    async def story() -> None:
        clock = StillClock()
        for _ in range(2):
            store = await SqliteStore.open(path, clock=clock)
            app = (await store.apps(0, 1) or [await add_app(store)])[0]
            user = await store.user(app.id, "ann") or await add_user(store, app.id, "Ann")
            one, other = (
                Incoming(message_id(clock.ms), app.id, user.id, "Ann", "phone", "hello") for _ in range(2)
            )
            with pytest.raises(apsw.ConstraintError):
                await store.commit(Batch(incomings=[one, one]))
            await store.commit(Batch(incomings=[other]))
            await store.close()
        first, second = sql("SELECT position FROM incoming ORDER BY id")(apsw.Connection(path))
        assert first < second

    run(story())


def test_a_memory_store_is_its_own(run: Run) -> None:
    """Two of them share nothing, and neither needs a directory."""

    async def story() -> None:
        one = await SqliteStore.open(":memory:", clock=StillClock())
        other = await SqliteStore.open(":memory:", clock=StillClock())
        await add_app(one)
        assert await other.apps(0, 10) == []
        assert one.free_bytes() is None
        assert one.now_ms() == NOON_MS
        await one.close()
        await other.close()

    run(story())
