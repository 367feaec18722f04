"""Backups of a store that is written meanwhile: one state, whole, never over anything; and what is made of them."""

import asyncio
import os
import threading
from pathlib import Path

import apsw
import msgspec
import pytest
from tests.store.conftest import Run
from tests.store.fakes import StillClock
from tests.store.harms import HARMS, Harm
from tests.store.ledger import build_town, post, told

from homing.errors import BackupDamaged, NoSuchStore, PlaceTaken, SchemaTooNew, StoreLocked, Unavailable
from homing.store import backups
from homing.store.backups import Note
from homing.store.sql import load
from homing.store.sqlite import SqliteStore, database
from homing.store.sqlite.backup import STEP_PAGES, make, remember
from homing.store.sqlite.directory import hold
from homing.store.sqlite.manifest import Facts, Manifest
from homing.store.sqlite.restore import POSITIONS_SKIPPED, restore, verify

KEY_ID = "0123456789abcdef"
STEPS = 3
BALLAST = f"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT {STEPS * STEP_PAGES}) INSERT INTO ballast SELECT zeroblob(4000) FROM r"


def rested(_took_s: float) -> None:
    """No rest between the steps."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def opened(data: Path) -> SqliteStore:
    data.mkdir(exist_ok=True)
    return await SqliteStore.open(str(data / "homing.db"), clock=StillClock(), key_id=KEY_ID)


@pytest.fixture
def copy(data: Path, tmp_path: Path, run: Run) -> Path:
    """A backup of a small store, made after its process was gone."""

    async def story() -> None:
        store = await opened(data)
        town = await build_town(store)
        await post(store, town.app, "Ann")
        await store.close()

    run(story())
    make(data / "homing.db", tmp_path / "copy", rested)
    return tmp_path / "copy"


def change(file: Path, statement: str) -> None:
    """Change a closed database, and leave no log behind."""
    connection = apsw.Connection(str(file))
    connection.execute(statement)
    connection.close()


def describe_anew(backup: Path) -> None:
    """Make the manifest say what the changed database of a backup is."""
    Manifest.of(backup / "homing.db", 0).write(backup)


def test_what_is_committed_between_its_steps_is_not_in_it_and_is_not_held_up(
    data: Path, tmp_path: Path, run: Run
) -> None:
    """A copy of several steps holds the state at its beginning; the store takes a message after each of them."""

    async def story() -> None:
        store = await opened(data)
        loop = asyncio.get_running_loop()
        town = await build_town(store)
        await store._db.write(lambda c: c.execute("CREATE TABLE ballast(b BLOB)").fetchall())
        await store._db.write(lambda c: c.execute(BALLAST).fetchall())
        before = [await post(store, town.app, "Ann") for _ in range(5)]
        during = []

        def busy(_took_s: float) -> None:
            posted = asyncio.run_coroutine_threadsafe(post(store, town.app, "Ann"), loop)
            during.append(posted.result(20))

        made = await asyncio.to_thread(make, data / "homing.db", tmp_path / "copy", busy)
        assert len(during) >= STEPS
        assert len(await store.callbacks(during[-1][:16])) == 1
        await store.close()
        assert made.counts["message"] == len(before)
        assert made.counts["ballast"] == STEPS * STEP_PAGES
        assert verify(tmp_path / "copy") == made
        restore(tmp_path / "copy", tmp_path / "new", is_thorough=True)
        again = await opened(tmp_path / "new")
        assert [bool(await told(again, key)) for key in before] == [True] * len(before)
        assert [bool(await told(again, key)) for key in during] == [False] * len(during)
        await again.close()

    run(story())


def test_what_is_only_in_the_log_is_in_the_backup(data: Path, tmp_path: Path, run: Run) -> None:
    """After a crash, or beside a server, the newest commits stand in the log alone."""

    async def story() -> None:
        store = await opened(data)
        town = await build_town(store)
        await post(store, town.app, "Ann")
        assert (data / "homing.db").stat().st_size < (data / "homing.db-wal").stat().st_size
        made = await asyncio.to_thread(make, data / "homing.db", tmp_path / "copy", rested)
        await store.close()
        assert (made.counts["message"], made.schema, made.key_id) == (1, 2, KEY_ID)

    run(story())


def test_a_backup_holds_two_files_for_nobody_else(copy: Path) -> None:
    """The database and the manifest, which says what `sha256sum` would; nothing is left beside it, no key is in it."""
    assert sorted(file.name for file in copy.iterdir()) == ["homing.db", "manifest.json"]
    assert {oct(file.stat().st_mode & 0o777) for file in copy.iterdir()} == {"0o600"}
    assert oct(copy.stat().st_mode & 0o777) == "0o700"
    assert [one.name for one in copy.parent.iterdir() if one.name.startswith(".")] == []
    said = Manifest.read(copy)
    assert said.sha256 == backups.digest(copy / "homing.db")
    assert said.size_bytes == (copy / "homing.db").stat().st_size


@pytest.mark.parametrize("kind", ["file", "directory", "link to nothing"])
def test_a_backup_is_never_made_over_anything(copy: Path, data: Path, tmp_path: Path, kind: str) -> None:
    """Whatever stands there already, an empty directory too, stays as it is."""
    to = tmp_path / "taken"
    if kind == "link to nothing":
        to.symlink_to("nothing")
    elif kind == "directory":
        to.mkdir()
    else:
        to.touch()
    with pytest.raises(PlaceTaken):
        make(data / "homing.db", to, rested)
    with pytest.raises(PlaceTaken):
        make(data / "homing.db", copy, rested)
    verify(copy)


def test_a_backup_that_cannot_be_made_leaves_nothing(data: Path, tmp_path: Path) -> None:
    """No store, an empty file, a file of something else, one of another program's: told, and nothing remains."""
    data.mkdir()
    file = data / "homing.db"
    for wanted, prepare in (
        (NoSuchStore, lambda: None),
        (NoSuchStore, file.touch),
        (NoSuchStore, lambda: change(file, "CREATE TABLE t(n)")),
        (NoSuchStore, lambda: change(file, "CREATE TABLE meta(name, value)")),
        (Unavailable, lambda: file.write_bytes(b"no database at all " * 1000)),
    ):
        prepare()
        with pytest.raises(wanted):
            make(file, tmp_path / "copy", rested)
        assert [one for one in tmp_path.iterdir() if one != data] == []


def test_a_backup_without_room_is_refused_before_it_begins(
    copy: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk would stop the server's own work: what a server needs free is not taken, neither by a restore."""
    monkeypatch.setattr(backups, "KEPT_FREE_BYTES", 2**60)
    with pytest.raises(Unavailable, match="MiB are needed"):
        make(data / "homing.db", tmp_path / "second", rested)
    with pytest.raises(Unavailable, match="MiB are needed"):
        restore(copy, tmp_path / "new", is_thorough=False)
    assert not (tmp_path / "second").exists()
    assert not (tmp_path / "new").exists()


def test_an_interrupted_backup_leaves_nothing(data: Path, copy: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle."""

    def interrupted(_took_s: float) -> None:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        make(data / "homing.db", tmp_path / "second", interrupted)
    assert sorted(tmp_path.iterdir()) == before


def test_the_data_directory_remembers_its_last_backup(data: Path, copy: Path) -> None:
    """When and where; nothing before the first one; a note that cannot be read or written is none."""
    said = Manifest.read(copy)
    assert Note.read(data) is None
    assert remember(data, copy, said)
    note = Note.read(data)
    assert note is not None
    assert note == Note(said.made_at, str(copy), said.sha256)
    assert note.age_s(0) == 0
    assert note.age_s(round(note.at.timestamp() * 1000) + 5_000) == 5
    (data / "last-backup.json").write_bytes(b"{")
    assert Note.read(data) is None
    assert not remember(data / "nowhere", copy, said)


def test_a_restored_store_is_another_store(copy: Path, tmp_path: Path, run: Run) -> None:
    """It has a new name, holds nothing of the copied process, and gives no position of the feed again."""
    lanes = "SELECT count(*) FROM lane WHERE due IS NULL"
    original = Facts.of(copy / "homing.db")
    made, facts = restore(copy, tmp_path / "new", is_thorough=False)
    assert facts.store_id != original.store_id == made.store_id
    assert facts._replace(store_id="") == original._replace(store_id="")
    held = [
        apsw.Connection(str(one / "homing.db")).execute(lanes).fetchall() for one in (copy, tmp_path / "new")
    ]
    assert held == [[(1,)], [(0,)]]

    async def story() -> None:
        store = await opened(tmp_path / "new")
        assert store.store_id == facts.store_id
        before = await store.feed_head()
        await post(store, 1, "Ann")
        assert before < POSITIONS_SKIPPED < await store.feed_head()
        await store.close()

    run(story())


def test_a_restore_touches_no_directory_that_holds_something(copy: Path, tmp_path: Path) -> None:
    """A file of any name is enough; what a killed restore left is not."""
    into = tmp_path / "new"
    into.mkdir()
    (into / "homing.lock").touch()
    (into / "homing.db.restoring").write_bytes(b"half")
    restore(copy, into, is_thorough=True)
    assert sorted(file.name for file in into.iterdir()) == ["homing.db", "homing.lock"]
    before = (into / "homing.db").read_bytes()
    for taken in (into, copy / "manifest.json"):
        with pytest.raises(PlaceTaken):
            restore(copy, taken, is_thorough=True)
    assert (into / "homing.db").read_bytes() == before


def test_a_restore_takes_the_lock(copy: Path, tmp_path: Path) -> None:
    """No server can begin in a directory that is being filled, and none is filled that a server has."""
    into = tmp_path / "new"
    descriptor = hold(into)
    with pytest.raises(StoreLocked):
        restore(copy, into, is_thorough=False)
    os.close(descriptor)
    restore(copy, into, is_thorough=False)


@pytest.mark.parametrize("harm", HARMS)
def test_a_backup_that_was_changed_is_found_out(copy: Path, tmp_path: Path, harm: Harm) -> None:
    """A byte, a length, a file, a manifest: told, and nothing is made of it, verified or not."""
    harm(copy, "homing.db")
    with pytest.raises(BackupDamaged):
        verify(copy)
    for is_thorough in (True, False):
        with pytest.raises(BackupDamaged):
            restore(copy, tmp_path / "new", is_thorough=is_thorough)
        assert not (tmp_path / "new").exists()


def test_verify_looks_behind_the_digest(copy: Path, tmp_path: Path) -> None:
    """A file that is as the manifest says but damaged, or of other counts, is found out, and only by looking through."""
    said = Manifest.read(copy)
    msgspec.structs.replace(said, counts={**said.counts, "message": 7}).write(copy)
    with pytest.raises(BackupDamaged, match="counts"):
        verify(copy)
    index = "sql = 'CREATE INDEX message_app ON message(ref, id)' WHERE name = 'message_app'"
    change(copy / "homing.db", f"PRAGMA writable_schema=1; UPDATE sqlite_schema SET {index}")
    describe_anew(copy)
    with pytest.raises(BackupDamaged, match="is damaged"):
        verify(copy)
    with pytest.raises(BackupDamaged, match="is damaged"):
        restore(copy, tmp_path / "new", is_thorough=True)


def test_what_is_no_backup_is_told(data: Path, tmp_path: Path) -> None:
    """A place without a manifest, or that is not there."""
    data.mkdir()
    for place in (data, tmp_path / "nowhere"):
        with pytest.raises(NoSuchStore):
            verify(place)
        with pytest.raises(NoSuchStore):
            restore(place, tmp_path / "new", is_thorough=False)


def test_a_backup_of_a_newer_homing_is_refused(copy: Path, tmp_path: Path) -> None:
    """It can be verified, but not served by this one."""
    change(copy / "homing.db", "UPDATE meta SET value = 99 WHERE name = 'schema'")
    describe_anew(copy)
    assert verify(copy).schema == 99
    with pytest.raises(SchemaTooNew):
        restore(copy, tmp_path / "new", is_thorough=True)
    assert not (tmp_path / "new").exists()


def test_a_backup_of_an_older_schema_is_restored_and_migrated(data: Path, tmp_path: Path, run: Run) -> None:
    """So that there is a way back from a migration: the copy keeps its schema until it is served."""
    data.mkdir()
    old = apsw.Connection(str(data / "homing.db"))
    old.execute(load("sqlite", "schema_1")["schema"])
    old.execute("INSERT INTO meta VALUES ('schema', 1), ('store_id', 'old'), ('key_id', ?)", (KEY_ID,))
    old.execute("INSERT INTO lane(key, endpoint, pending, owner) VALUES (zeroblob(18), 1, 1, 7)")
    old.close()
    made = make(data / "homing.db", tmp_path / "copy", rested)
    assert (made.schema, made.counts["lane"]) == (1, 1)
    assert "job" not in made.counts
    assert restore(tmp_path / "copy", tmp_path / "new", is_thorough=True).facts.schema == 1

    async def story() -> None:
        store = await opened(tmp_path / "new")
        assert (
            await store._db.read(lambda c: c.execute("SELECT value FROM meta WHERE name = 'schema'").get) == 2
        )
        assert store.store_id != "old"
        await store.close()

    run(story())


def test_whoever_holds_an_old_state_does_not_slow_each_commit(
    data: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a backup runs, a log that is too long is tried again only when it has grown; afterwards it is short."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 256 * 1024)
    monkeypatch.setattr(database, "TRUNCATE_BYTES", 256 * 1024)
    tried = []

    class Counted(apsw.Connection):
        def wal_checkpoint(self, dbname: str | None = None, mode: int = 0) -> tuple[int, int]:
            tried.append(threading.current_thread().name)
            return super().wal_checkpoint(dbname, mode)

    async def story() -> None:
        store = await opened(data)
        await store._db.write(lambda c: c.execute("CREATE TABLE ballast(b BLOB)").fetchall())
        beside = apsw.Connection(str(data / "homing.db"), flags=apsw.SQLITE_OPEN_READONLY)
        beside.execute("BEGIN")
        beside.execute("SELECT count(*) FROM ballast").fetchall()

        async def write(times: int) -> None:
            for _ in range(times):
                await store._db.write(
                    lambda c: c.execute("INSERT INTO ballast VALUES (zeroblob(16384))").fetchall()
                )

        await write(60)
        assert 1 <= len(tried) <= 6
        beside.close()
        await write(20)
        assert (data / "homing.db-wal").stat().st_size < 512 * 1024
        await store.close()

    with monkeypatch.context() as patched:
        patched.setattr(apsw, "Connection", Counted)
        run(story())
