"""Backups of a PostgreSQL that is written meanwhile: one state, whole, never over anything; and what is made of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from tests.postgres.server import Server
from tests.store.conftest import Run, needs_postgres
from tests.store.harms import HARMS, Harm
from tests.store.ledger import build_town, post, told
from tests.store.moved import moved, there
from tests.store.stocked import META, stocked

from homing.errors import BackupDamaged, NoSuchStore, PlaceTaken, SchemaTooNew, StoreMoved, Unavailable
from homing.store import backups
from homing.store.backups import MANIFEST, write
from homing.store.moving.tables import TABLES
from homing.store.postgres import PostgresStore, backup, content, schema
from homing.store.postgres.backup import make
from homing.store.postgres.manifest import SharedManifest, Table, count_rows, file_of
from homing.store.postgres.restore import restore, verify

pytestmark = needs_postgres
ROWS = 30
REMEMBERED = "SELECT name FROM meta WHERE name = 'timeline' OR name LIKE 'commits:%'"
"""What nodes know of the server that they work on."""


@pytest.fixture(scope="module")
def full(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database with rows in every table; nobody changes it."""
    name = postgres.create()
    file = tmp_path_factory.mktemp("source") / "homing.db"
    stocked(file, ROWS)
    assert uvloop.run(moved(file, postgres.dsn(name), batch_rows=1_000)).is_whole
    uvloop.run(there(postgres.dsn(name), "INSERT INTO doomed(endpoint, leaves) VALUES (7, 'lane')"))
    yield postgres.dsn(name)
    postgres.drop(name)


@pytest.fixture(scope="module")
def _backup(full: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("backup") / "copy"
    uvloop.run(make(full, copy))
    return copy


@pytest.fixture
def copy(_backup: Path, tmp_path: Path) -> Path:
    """A backup of it, this test's own."""
    return Path(shutil.copytree(_backup, tmp_path / "copy"))


@pytest.fixture
def new(postgres: Server) -> Any:
    """The address of another empty database."""
    name = postgres.create()
    yield postgres.dsn(name)
    postgres.drop(name)


async def rows_of(dsn: str) -> dict[str, set[tuple[Any, ...]]]:
    """All that a database holds, table by table."""
    return {
        table: {tuple(row) for row in await there(dsn, f"SELECT * FROM {table}")} for table in content.CONTENT
    }


async def is_empty(dsn: str) -> bool:
    """Say whether nothing was made there."""
    return await there(dsn, "SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


def test_a_restored_database_holds_every_row(copy: Path, full: str, new: str, run: Run) -> None:
    """Of every table by value, in its weeks; numbers go on; it is another store, and a node works on it."""

    async def story() -> None:
        made = SharedManifest.read(copy)
        assert set(made.counts) == {"meta", *content.CONTENT}
        assert {made.counts[name] for name in TABLES} == {ROWS}
        assert made.counts["doomed"] == 1
        assert made.store_id == META["store_id"]
        done = await restore(copy, new, is_thorough=True)
        assert await rows_of(new) == await rows_of(full)
        weeks = "SELECT tableoid::regclass::text, count(*) FROM event GROUP BY 1 ORDER BY 1"
        assert await there(new, weeks) == await there(full, weeks)
        known = "SELECT name, number, words, place FROM meta WHERE name <> 'store_id' ORDER BY 1"
        assert await there(new, known) == await there(full, known)
        assert (await there(new, "SELECT nextval('recipient_id_seq')"))[0][0] == 501
        store = await PostgresStore.open(new, beats=False)
        assert store.store_id == done.store_id != made.store_id
        assert store.epoch == int(str(META["epoch"])) + 1
        await store.close()

    run(story())


def test_what_is_committed_between_its_tables_is_not_in_it_and_holds_nobody_up(
    database: str, tmp_path: Path, new: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy holds the state at its beginning; after each table a message is taken, and its events are in the feed at once."""

    async def story() -> None:
        # On the database's own clock: a feed ends before the oldest transaction of a node.
        store = await PostgresStore.open(database, feed_lag_ms=0, beats=False)
        town = await build_town(store)
        before = [await post(store, town.app, "Ann") for _ in range(5)]
        during = []
        copied = backup._copy

        async def busy(connection: Any, table: str, draft: Path) -> Table:
            found = await copied(connection, table, draft)
            during.append(await post(store, town.app, "Ann"))
            assert (await store.feed(None, 0, 100, incoming=False)).items[-1].key == during[-1]
            return found

        monkeypatch.setattr(backup, "_copy", busy)
        made = await make(database, tmp_path / "copy")
        await store.close()
        assert await there(database, REMEMBERED)
        assert len(during) == len(made.tables)
        assert {made.counts[name] for name in ("message", "dispatch", "event", "lane")} == {len(before)}
        assert verify(tmp_path / "copy") == made
        await restore(tmp_path / "copy", new, is_thorough=True)
        assert not await there(new, REMEMBERED)
        again = await PostgresStore.open(new, beats=False)
        assert [bool(await told(again, key)) for key in before] == [True] * len(before)
        assert [bool(await told(again, key)) for key in during] == [False] * len(during)
        works = await again.adopt_lanes((b"", 0), 100)
        assert [bytes(work.key) for work in works] == [bytes(key) for key in before]
        await again.close()

    run(story())


def test_a_backup_is_for_nobody_else_and_takes_no_place(copy: Path, full: str, run: Run) -> None:
    """Files of one user alone, none beside them; whatever stands there already stays."""
    assert {oct(file.stat().st_mode & 0o777) for file in copy.iterdir()} == {"0o600"}
    assert oct(copy.stat().st_mode & 0o777) == "0o700"
    assert sorted(file.name for file in copy.iterdir()) == sorted(
        [MANIFEST, *(f"{table}.copy" for table in ("meta", *content.CONTENT))]
    )
    before = {file.name: file.read_bytes() for file in copy.iterdir()}

    async def story() -> None:
        with pytest.raises(PlaceTaken):
            await make(full, copy)

    run(story())
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before
    assert [one for one in copy.parent.iterdir() if one.name.startswith(".")] == []


def test_a_backup_that_cannot_be_made_leaves_nothing(
    full: str, database: str, new: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No store, an unfinished copy, no room, a database that is away: told, and nothing remains."""

    async def story() -> None:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(NoSuchStore):
            await make(new, tmp_path / "other")
        with pytest.raises(Unavailable, match="cannot be reached"):
            await make("postgresql://127.0.0.1:1/x", tmp_path / "other")
        with monkeypatch.context() as patched:
            patched.setattr(backups, "KEPT_FREE_BYTES", 2**60)
            with pytest.raises(Unavailable, match="MiB are needed"):
                await make(full, tmp_path / "other")
        with monkeypatch.context() as patched:
            patched.setattr(content, "digest", None)  # fails after the first file
            with pytest.raises(TypeError):
                await make(full, tmp_path / "other")
        await there(database, "INSERT INTO meta(name, words) VALUES ('moving', 'x')")
        with pytest.raises(StoreMoved):
            await make(database, tmp_path / "other")
        assert sorted(tmp_path.iterdir()) == before

    run(story())


def describe(copy: Path, table: str, **changed: object) -> None:
    """Have the manifest say something else of a table."""
    said = SharedManifest.read(copy)
    other = msgspec.structs.replace(said.tables[table], **changed)
    write(copy / MANIFEST, msgspec.structs.replace(said, tables={**said.tables, table: other}))


@pytest.mark.parametrize("harm", HARMS)
def test_a_backup_that_was_changed_is_found_out(copy: Path, new: str, run: Run, harm: Harm) -> None:
    """A byte, a length, a file, a manifest: told, and nothing is made of it, verified or not."""
    harm(copy, "event.copy")
    with pytest.raises(BackupDamaged):
        verify(copy)

    async def story() -> None:
        for is_thorough in (True, False):
            with pytest.raises(BackupDamaged):
                await restore(copy, new, is_thorough=is_thorough)
        assert await is_empty(new)

    run(story())


def test_verifying_looks_behind_the_digest(copy: Path, new: str, run: Run) -> None:
    """Other rows than were counted are found in the file; rows that read other than those that were copied, in the database."""
    describe(copy, "event", rows=ROWS + 1)
    with pytest.raises(BackupDamaged, match="has 30 rows"):
        verify(copy)
    describe(copy, "event", rows=ROWS, checksum="00")
    verify(copy)

    async def story() -> None:
        with pytest.raises(BackupDamaged, match="event reads other"):
            await restore(copy, new, is_thorough=True)
        assert await is_empty(new)
        await restore(copy, new, is_thorough=False)

    run(story())


def test_files_of_copys_are_counted_to_their_end(copy: Path, tmp_path: Path) -> None:
    """What is none, breaks off, or goes on behind its end is damaged; so is a row of other fields."""
    whole = file_of(copy, "event").read_bytes()
    fields = len(SharedManifest.read(copy).tables["event"].columns)
    file = tmp_path / "event.copy"
    for content_, told_ in (
        (b"PGCOPX" + whole[6:], "no file of COPY"),
        (whole[:-2], "middle of a row"),
        (whole[:-30], "middle of a row"),
        (whole + b"\0", "behind its end"),
    ):
        file.write_bytes(content_)
        with pytest.raises(BackupDamaged, match=told_):
            count_rows(file, fields)
    file.write_bytes(whole)
    assert count_rows(file, fields) == ROWS
    with pytest.raises(BackupDamaged, match=f"{fields} fields, not {fields + 1}"):
        count_rows(file, fields + 1)


def test_a_restore_fills_only_an_empty_database(copy: Path, full: str, run: Run) -> None:
    """One with a store in it stays as it is."""

    async def story() -> None:
        before = await rows_of(full)
        with pytest.raises(PlaceTaken, match="is not empty"):
            await restore(copy, full, is_thorough=True)
        assert await rows_of(full) == before

    run(story())


def test_a_backup_of_a_newer_homing_is_refused(copy: Path, new: str, run: Run) -> None:
    """It can be verified, but not served by this one."""
    said = SharedManifest.read(copy)
    write(copy / MANIFEST, msgspec.structs.replace(said, schema=99))
    assert verify(copy).schema == 99

    async def story() -> None:
        with pytest.raises(SchemaTooNew, match="schema 99"):
            await restore(copy, new, is_thorough=True)
        assert await is_empty(new)

    run(story())


def test_a_backup_of_an_older_schema_is_restored_and_migrated(
    copy: Path, new: str, run: Run, a_later_release: int
) -> None:
    """So that there is a way back from a migration: the copy keeps its schema until a node starts on it."""

    async def story() -> None:
        await restore(copy, new, is_thorough=True)
        assert (await there(new, "SELECT number FROM meta WHERE name = 'schema'"))[0][
            0
        ] == a_later_release - 1
        store = await PostgresStore.open(new, beats=False)
        await store.close()
        assert (await there(new, "SELECT number FROM meta WHERE name = 'schema'"))[0][0] == a_later_release

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "SCHEMA", a_later_release)
        run(story())
