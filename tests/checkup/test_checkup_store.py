"""The item store, on real files: what it finds in a sound one, and each way in which one can be unsound."""

import shutil
from pathlib import Path

import apsw
import pytest
from tests.checkup.site import Site
from tests.store.fakes import add_app, add_user, send

from homing.checkup import store
from homing.checkup.examination import CHECKS
from homing.checkup.item import State
from homing.checkup.mounts import TABLE, kind_of
from homing.errors import Unavailable
from homing.store.sqlite import SCHEMA, SqliteStore
from homing.store.sqlite.onlooker import Onlooker


async def some_messages(opened: SqliteStore) -> None:
    app = await add_app(opened)
    await add_user(opened, app.id, "Ann")
    for _ in range(200):
        await send(opened, app.id, "Ann")


def test_a_sound_store_is_told_with_all_that_makes_it_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version, schema, journal, sync, structure, and that nobody has it."""
    monkeypatch.setattr(store, "_place", lambda _data: [store.speed(0.13)])
    site.fill(some_messages)
    found = site.one("store")
    sqlite = f"SQLite {apsw.sqlite_lib_version()}"
    assert found.state is State.OK
    assert found.found == (
        f"{sqlite}, schema {SCHEMA}, WAL, synchronous FULL, sound, fsync 0.13 ms median, not running"
    )


def test_a_store_that_was_moved_is_not_the_one_to_serve(site: Site) -> None:
    """Where it went, and the way back."""
    site.fill(some_messages)
    connection = apsw.Connection(str(site.db))
    connection.execute("INSERT INTO meta VALUES ('moved', 'postgresql://db/homing')")
    connection.close()
    found = site.one("store")
    assert found.state is State.FAIL
    assert "moved to postgresql://db/homing" in found.found
    assert "homing migrate --reopen" in str(found.hint)


def test_a_closed_store_is_left_as_it_is(site: Site) -> None:
    """Looking makes no file, changes none and touches none: not even SQLite's own beside the store."""
    site.fill(some_messages)
    before = site.files()
    for name in CHECKS:
        site.check(name)
    assert site.files() == before


def test_the_remains_of_a_crash_are_read_and_left_to_the_next_start(site: Site, tmp_path: Path) -> None:
    """What only the log holds is seen; store and log stay as they are, byte for byte."""
    remains = Site(tmp_path / "remains")

    async def story(opened: SqliteStore) -> None:
        await some_messages(opened)
        shutil.copytree(site.data, remains.data)

    site.fill(story)
    before = remains.files()
    assert before["homing.db-wal"][0] > 100_000
    assert f"schema {SCHEMA}, WAL, synchronous FULL, sound" in remains.one("store").found
    after = remains.files()
    index = "homing.db-shm"  # only an index of the log, made anew by whoever comes first
    assert set(after) == set(before)
    assert {name: after[name] for name in after if name != index} == {
        name: before[name] for name in before if name != index
    }


def test_an_open_store_is_read_beside_its_writer(site: Site) -> None:
    """While it is looked at the writer goes on, and its latest commit is seen; its lock is not asked for."""

    async def story(opened: SqliteStore) -> None:
        await some_messages(opened)
        with Onlooker(site.db) as onlooker:
            assert onlooker.newest_ms() == site.clock.ms
            site.clock.ms += 5_000
            app = await add_app(opened)
            await add_user(opened, app.id, "Bob")
            await send(opened, app.id, "Bob")
            assert onlooker.newest_ms() == site.clock.ms
        assert ", running (process " in site.one("store").found

    site.fill(story)


def test_no_store_yet_is_worth_a_word(site: Site) -> None:
    """Before the first start, or when --data names another place; an empty file is no store either."""
    assert site.one("store").state is State.WARN
    assert f"no store at {site.db}" in site.one("store").found
    site.data.mkdir()
    site.db.touch()
    assert f"no store at {site.db}" in site.one("store").found


def test_a_newer_schema_fails_with_both_versions(site: Site) -> None:
    """This program must not run on it; what it would ask beyond the version is not asked."""
    site.fill()
    site.sql(f"UPDATE meta SET value = {SCHEMA + 3} WHERE name = 'schema'")
    found = site.one("store")
    assert found.state is State.FAIL
    assert f"schema {SCHEMA + 3}, but this Homing" in found.found
    assert f"up to {SCHEMA}" in found.found
    assert "newer Homing" in found.hint
    assert site.one("endpoints").state is State.WARN
    assert f"schema {SCHEMA + 3}, not {SCHEMA}" in site.one("endpoints").found
    assert "newest event" not in site.one("clock").found


def test_an_older_schema_is_told_before_it_is_changed(site: Site) -> None:
    """The next start migrates it: time for a backup."""
    site.fill()
    site.sql("UPDATE meta SET value = 1 WHERE name = 'schema'")
    found = site.one("store")
    assert found.state is State.WARN
    assert f"schema 1, which the next start brings to {SCHEMA}" in found.found
    assert "backup" in found.hint


def test_another_programs_database_is_no_store(site: Site) -> None:
    """It FAILs: a start would put its own tables there."""
    site.data.mkdir()
    site.sql("CREATE TABLE cats(name)")
    found = site.one("store")
    assert found.state is State.FAIL
    assert "holds no store of Homing's" in found.found


def test_what_is_no_database_at_all_fails(site: Site) -> None:
    """With the words of SQLite, and what to do."""
    site.data.mkdir()
    site.db.write_bytes(b"GIF89a" * 1000)
    found = site.one("store")
    assert found.state is State.FAIL
    assert "not a database" in found.found
    assert "restore" in found.hint


def test_what_cannot_be_opened_fails(site: Site) -> None:
    """A directory in the place of the file; a file that has gone meanwhile is none of Homing's faults either."""
    site.db.mkdir(parents=True)
    found = site.one("store")
    assert found.state is State.FAIL
    assert "the store cannot be read: " in found.found
    with pytest.raises(Unavailable, match="unable to open database file"), Onlooker(site.data / "none.db"):
        pass


def test_damage_within_the_file_is_found(site: Site) -> None:
    """One page overwritten with nonsense is enough."""
    site.fill(some_messages)
    with site.db.open("r+b") as file:
        file.seek(4096 * (site.db.stat().st_size // 4096 // 2))
        file.write(b"\x00\xff" * 2048)
    found = site.one("store")
    assert found.state is State.FAIL
    assert "damaged: " in found.found
    assert "restore the store from its backup" in found.hint


def test_a_large_store_is_not_looked_through(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, with the size, and is no warning by that."""
    monkeypatch.setattr(store, "LOOKED_THROUGH_BYTES", 4096)
    monkeypatch.setattr(store, "_place", lambda _data: [])
    site.fill()
    found = site.one("store")
    assert "not looked through (" in found.found
    assert "KiB)" in found.found
    assert found.state is State.OK


def test_looking_through_ends_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes longer than it may is given up, and the connection is of use again afterwards."""
    monkeypatch.setattr("homing.store.sqlite.onlooker._STEPS", 1)
    site.fill(some_messages)
    with Onlooker(site.db) as onlooker:
        with pytest.raises(TimeoutError):
            onlooker.damage(-1.0)
        assert onlooker.damage(60.0) is None
    monkeypatch.setattr(store, "_PATIENCE_S", -1.0)
    assert "not looked through (over" in site.one("store").found


def test_a_store_out_of_wal_mode_is_told(site: Site) -> None:
    """A warning while nobody has it, for the next start sets it; a FAIL if a server runs on it like that."""
    site.fill()
    site.sql("PRAGMA journal_mode=DELETE")
    assert "not in WAL mode" in site.one("store").found
    assert site.one("store").state is State.WARN
    with site.held():
        assert site.one("store").state is State.FAIL


@pytest.mark.parametrize(("version", "state"), [("3.51.2", "FAIL"), ("3.45.1", "FAIL"), ("3.51.3", "ok")])
def test_a_sqlite_that_can_corrupt_a_store_fails(version: str, state: str) -> None:
    """Those within the range, and no newer one."""
    assert store.program(version).state == state


def test_a_slow_disk_is_worth_a_word() -> None:
    """Each 201 waits for a sync."""
    assert store.speed(store.SLOW_MS - 0.01).state is State.OK
    assert store.speed(store.SLOW_MS).state is State.WARN


def test_syncing_is_measured_and_leaves_nothing(tmp_path: Path) -> None:
    """A real file was written and synced in that directory, and is gone."""
    assert store.sync_ms(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_nothing_is_measured() -> None:
    """Not even root may make a file in /proc: the item says so, and goes on."""
    first, *_ = store._place(Path("/proc"))
    assert first.state is State.WARN
    assert first.text.startswith("sync not measured: ")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "tmpfs", "overlay"])
def test_file_systems_that_are_no_place_for_a_store_are_told(kind: str) -> None:
    """By type, with why and what to do."""
    (found,) = store.place(kind)
    assert found.state is State.WARN
    assert found.text.startswith(f"on {kind}, ")
    assert found.hint


def test_a_local_disk_is_well_and_an_unknown_one_nothing() -> None:
    """ext4 is named; where the system does not tell, nothing is said."""
    assert [one.state for one in store.place("ext4")] == [State.OK]
    assert list(store.place(None)) == []


MOUNTS = r"""
rootfs / rootfs rw 0 0
/dev/sda1 / ext4 rw,relatime 0 0
srv:/export /srv/my\040data nfs4 rw 0 0
tmpfs /srv tmpfs rw 0 0
broken
/dev/sdb1 /srv/my\040data/fast xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/homing", "ext4"),
        ("/", "ext4"),
        ("/srv", "tmpfs"),
        ("/srv/my data", "nfs4"),
        ("/srv/my data/homing", "nfs4"),
        ("/srv/my data/fast/homing", "xfs"),
        ("/srv/my data/faster", "nfs4"),
        ("/srv2", "ext4"),
    ],
)
def test_the_mount_that_holds_a_path_is_found(path: str, kind: str) -> None:
    """The deepest one, the last one on the same point, spaces in names and all."""
    assert kind_of(Path(path), MOUNTS) == kind


def test_the_kernels_own_table_is_read() -> None:
    """/proc is of type proc on every Linux."""
    assert kind_of(Path("/proc/self"), TABLE.read_text()) == "proc"


def test_without_a_table_nothing_is_said_of_the_place(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the system has none, the rest is still told."""
    site.fill()
    monkeypatch.setattr(store, "TABLE", tmp_path / "none")
    found = site.one("store").found
    assert " on " not in found
    assert "fsync" in found
