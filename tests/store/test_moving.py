"""A store that is moved to PostgreSQL: every row of every table, once, whatever dies meanwhile; and proof of it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from tests.cli.processes import environment
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock
from tests.store.ledger import build_town, post, settle, settled
from tests.store.moved import elsewhere, here, moved, there
from tests.store.stocked import KEY_ID, META, NOW_MS, empty, key, stocked, tables

from homing.errors import (
    PlaceTaken,
    StartError,
    StoreLocked,
    StoreMoved,
    Unavailable,
    WrongMasterKey,
)
from homing.store.moving import target
from homing.store.moving.move import Step
from homing.store.moving.source import Source
from homing.store.moving.tables import META as MAPPED
from homing.store.moving.tables import NOT_MOVED, TABLES
from homing.store.port import Retention
from homing.store.postgres import PostgresStore, beside, content, partitions
from homing.store.sqlite import SqliteStore
from homing.store.sqlite.directory import hold

pytestmark = needs_postgres
ROWS = 30


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store with rows in every table."""
    stocked(tmp_path / "data" / "homing.db", ROWS)
    return tmp_path / "data" / "homing.db"


async def same_rows(source: Path, dsn: str) -> None:
    """Compare by another way than the product does: all rows of both sides as sets, column by column by name."""
    connection = apsw.Connection(str(source))
    for table in tables(connection):
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        listed = ", ".join(f'"{name}"' for name in names)
        rows = connection.execute(f"SELECT {listed} FROM {table}").fetchall()
        found = [tuple(row) for row in await there(dsn, f"SELECT {listed} FROM {table}")]
        assert len(found) == len(rows), table
        assert set(found) == set(rows), table
    connection.close()


def test_every_table_is_moved(tmp_path: Path, database: str, run: Run) -> None:
    """A table that is new in either schema must be named among what is moved, or among what belongs to nodes."""
    connection = empty(tmp_path / "homing.db")
    assert sorted(tables(connection)) == sorted(TABLES)
    connection.close()
    assert META.keys() == MAPPED.keys()

    async def story() -> None:
        found = [row[0] for row in await there(database, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
                 " AND relnamespace = 'public'::regnamespace AND NOT relispartition")]  # fmt: skip
        assert sorted(found) == sorted(["meta", *content.CONTENT, *content.RUNNING])
        numbers = [row[0] for row in await there(database, "SELECT sequencename FROM pg_sequences")]
        connection = empty(tmp_path / "other" / "homing.db")
        assert sorted(numbers) == sorted(Source(connection, TABLES).sequences())
        connection.close()

    run(story())


def test_what_a_store_knows_of_itself_is_moved(run: Run, tmp_path: Path) -> None:
    """Whatever a store that was used has in ``meta`` is known to be moved, or to be true only there."""

    async def story() -> None:
        store = await SqliteStore.open(str(tmp_path / "homing.db"), clock=StillClock())
        town = await build_town(store)
        key_ = await post(store, town.app, "Ann")
        await settle(store, settled(key_, town.endpoint.id, 1))
        await store.prune(Retention(attempts_ms=-1, failures_ms=-1, dead_ms=-1), 100)
        await store.drop_messages(store.now_ms() + 1, 100)
        await store.close()
        names = {row[0] for row in here(tmp_path / "homing.db", "SELECT name FROM meta")}
        assert names >= {"pruned_attempts", "pruned_dead", "dropped_messages"}
        assert names <= MAPPED.keys() | NOT_MOVED

    run(story())


def test_everything_is_there_once(source: Path, dsn: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of each table by value; numbers go on behind the highest ever given; old weeks have partitions."""

    async def story() -> None:
        monkeypatch.setattr(target, "WEEKS_BACK", 6)
        steps: list[Step] = []
        done = await moved(source, dsn, steps.append)
        assert done.is_whole
        assert {one.table: one.rows for one in done.compared} == {
            **dict.fromkeys(TABLES, ROWS), "meta": len(META),
        }  # fmt: skip
        assert steps[-1].rows == steps[-1].of == ROWS * len(TABLES)
        await same_rows(source, dsn)
        ordered = {tuple(row) for row in await there(dsn, "SELECT id, is_ordered FROM endpoint")}
        assert ordered == {(n, n % 3 != 0) for n in range(1, ROWS + 1)}
        assert (await there(dsn, "SELECT nextval('recipient_id_seq')"))[0][0] == 501
        assert (await there(dsn, "SELECT nextval('attempt_id')"))[0][0] == 1_000_004
        numbers = dict(map(tuple, await there(dsn, "SELECT name, number FROM meta WHERE number IS NOT NULL")))
        assert numbers["epoch"] == META["epoch"]
        assert numbers["embedded_position"] == META["position"]
        weeks = dict(
            map(
                tuple,
                await there(dsn, "SELECT tableoid::regclass::text, count(*) FROM message GROUP BY 1"),
            )
        )
        first = partitions.bound(NOW_MS // partitions.WEEK_MS - 6)
        old = sum(key(n) < first for n in range(1, ROWS + 1))
        assert (weeks.pop("message_before"), sum(weeks.values())) == (old, ROWS - old)
        assert len(weeks) > 1

    run(story())


MOVER = """
import asyncio, os, signal, sys
from pathlib import Path
import asyncpg
from homing.store.moving import move as room
from homing.store.moving.target import Target

source, key_id, dsn, point = sys.argv[1:]
count = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def tell(step):
    global count
    count += 1
    if f"{step.doing} {count}" == point or step.doing == point:
        die()

async def marked(self):
    die()

copied = asyncpg.Connection.copy_records_to_table

async def inside(self, *given, **more):
    await copied(self, *given, **more)
    die()

if point == "marked":
    Target.open_to_nodes = marked
if point == "inside a batch":
    asyncpg.Connection.copy_records_to_table = inside
done = asyncio.run(room.move(Path(source), key_id, dsn, "there", tell, 7))
print(done.is_whole, done.is_resumed)
"""


def test_killed_at_any_point_it_goes_on_where_it_was(source: Path, dsn: str, run: Run) -> None:
    """kill -9 between batches and inside one, while comparing, and between mark and end: what came comes no second time."""

    def one(point: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", MOVER, str(source), KEY_ID, dsn, point]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=30, check=False
        )

    async def story() -> None:
        arrived = 0
        for point in ("copying 20", "inside a batch", "comparing", "marked"):
            assert (await asyncio.to_thread(one, point)).returncode == -signal.SIGKILL, point
            (noted,) = await there(dsn, "SELECT sum(number) FROM meta WHERE name LIKE 'moving:%'")
            assert noted[0] >= arrived, point
            arrived = noted[0]
            with pytest.raises(StoreMoved, match="not finished"):
                await PostgresStore.open(dsn, clock=StillClock(), beats=False)
        assert arrived == ROWS * len(TABLES)
        with pytest.raises(StoreMoved, match="moved to there"):
            await SqliteStore.open(str(source), clock=StillClock())
        last = await asyncio.to_thread(one, "never")
        assert last.stdout.split() == ["True", "True"], last.stderr
        await same_rows(source, dsn)
        assert await there(dsn, "SELECT 1 FROM meta WHERE name LIKE 'moving%'") == []
        assert (await moved(source, dsn)).compared == []

    run(story())


def test_a_database_that_is_lost_in_between_is_gone_on_with(source: Path, dsn: str, run: Run) -> None:
    """Told as such; the same call then goes on."""

    async def story() -> None:
        steps: list[Step] = []

        def cut(step: Step) -> None:
            steps.append(step)
            if len(steps) == 40:
                elsewhere(
                    dsn,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'homing-beside' AND datname = current_database()",
                )

        with pytest.raises(Unavailable):
            await moved(source, dsn, cut)
        again: list[Step] = []
        done = await moved(source, dsn, again.append)
        assert done.is_whole
        assert done.is_resumed
        assert (
            sum(step.doing == "copying" for step in again)
            < sum(step.doing == "copying" for step in steps) + 90
        )
        await same_rows(source, dsn)

    run(story())


HARM = f"\\x{key(4).hex()}"
PLANTED: dict[tuple[str, str], str] = {
    ("event", "missing there"): f"DELETE FROM event WHERE key = '{HARM}'",
    ("history", "only there"): f"INSERT INTO history SELECT 999, key, at, code, detail FROM history WHERE key = '{HARM}'",
    ("dispatch", "other text"): f"UPDATE dispatch SET text = 'other' WHERE key = '{HARM}'",
    ("command", "other due"): f"UPDATE command SET due = coalesce(due, 0) + 1 WHERE key = '{HARM}'",
    ("meta", "other there"): "UPDATE meta SET number = number + 1 WHERE name = 'epoch'",
}  # fmt: skip
"""Where something is planted and how it is told → what does it."""


def test_what_is_not_the_same_is_found(source: Path, dsn: str, run: Run) -> None:
    """A row that is lost, one that is doubled, a value: told by table, key and column; then neither side is switched."""

    async def story() -> None:
        steps: list[Step] = []

        def plant(step: Step) -> None:
            if step.doing == "comparing" and all(one.doing == "copying" for one in steps):
                elsewhere(dsn, *PLANTED.values())
            steps.append(step)

        done = await moved(source, dsn, plant)
        assert not done.is_whole
        assert {(one.table, one.what) for one in done.differences} == set(PLANTED)
        assert {one.table for one in done.compared if not one.is_equal} == {table for table, _ in PLANTED}
        keys = {one.table: one.key for one in done.differences}
        assert key(4).hex() in keys["event"]
        assert (keys["dispatch"], keys["history"], keys["meta"]) == (key(4).hex(), "999", "epoch")
        with pytest.raises(StoreMoved, match="not finished"):
            await PostgresStore.open(dsn, clock=StillClock(), beats=False)
        assert here(source, "SELECT 1 FROM meta WHERE name = 'moved'") == []

    run(story())


def test_only_an_empty_database_is_filled(source: Path, dsn: str, database: str, run: Run) -> None:
    """Not one with a store, nor with a table of that name, nor with another state's unfinished copy: nothing is touched."""

    async def story() -> None:
        with pytest.raises(PlaceTaken, match="is not empty"):
            await moved(source, database)
        await there(dsn, "CREATE TABLE job(mine TEXT)")
        with pytest.raises(PlaceTaken, match="a table job"):
            await moved(source, dsn)
        assert await there(dsn, "SELECT to_regclass('meta')") == [(None,)]
        await there(dsn, "DROP TABLE job")

        def stop(step: Step) -> None:
            if step.table == "event":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await moved(source, dsn, stop)
        here(source, "UPDATE meta SET value = 8 WHERE name = 'epoch'")  # as a server does that starts
        with pytest.raises(PlaceTaken, match="another state"):
            await moved(source, dsn)

    run(story())


def test_two_moves_into_one_database_are_not_at_a_time(
    source: Path, dsn: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one gives up after a while and says why; it changes nothing."""

    async def story() -> None:
        monkeypatch.setitem(beside._SETTINGS, "lock_timeout", "50ms")
        async with beside.beside(dsn) as first:
            await first.execute("SELECT pg_advisory_lock(5208491672071065)")
            with pytest.raises(Unavailable, match="another process is copying"):
                await moved(source, dsn)
        assert await there(dsn, "SELECT to_regclass('meta')") == [(None,)]

    run(story())


HARMS: dict[str, tuple[str, type[Exception], str]] = {
    "older": ("UPDATE meta SET value = 1 WHERE name = 'schema'", StartError, "homing migrate"),
    "newer": ("UPDATE meta SET value = 99 WHERE name = 'schema'", StartError, "schema 99"),
    "sealed otherwise": ("UPDATE meta SET value = 'ff' WHERE name = 'key_id'", WrongMasterKey, "another key"),
    "one secret": ("UPDATE endpoint SET secret = x'00' WHERE id = 9", WrongMasterKey, "a secret of endpoint"),
    "a table more": ("CREATE TABLE more(x)", StartError, "how to move more"),
    "a fact more": ("INSERT INTO meta VALUES ('fact', 1)", StartError, "how to move fact"),
    "a column more": ("ALTER TABLE app ADD COLUMN more INTEGER", StartError, "columns of app"),
    "a text with NUL": ("UPDATE dispatch SET text = 'a' || char(0) WHERE seq = 9", StartError, "dispatch has a text"),
    "moved elsewhere": ("INSERT INTO meta VALUES ('moved', 'x')", StoreMoved, "moved to x already"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_what_cannot_be_moved_is_refused(source: Path, dsn: str, run: Run, harm: str) -> None:
    """One line that says why, and the source can be served as before."""
    statement, error, told = HARMS[harm]
    here(source, statement)

    async def story() -> None:
        with pytest.raises(error, match=told):
            await moved(source, dsn)

    run(story())


def test_a_store_that_is_served_is_not_moved(source: Path, dsn: str, run: Run) -> None:
    """Its lock says so, and nothing was begun there."""

    async def story() -> None:
        descriptor = hold(source.parent)
        with pytest.raises(StoreLocked):
            await moved(source, dsn)
        Path(f"/proc/self/fd/{descriptor}").exists()

        os.close(descriptor)
        assert await there(dsn, "SELECT to_regclass('meta')") == [(None,)]

    run(story())
