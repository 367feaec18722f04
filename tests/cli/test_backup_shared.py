"""`homing backup` and `homing restore` of a PostgreSQL, as an operator types them."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Homing
from tests.cli.test_migrate import key_in
from tests.postgres.server import Server

from homing.vault import Vault

FACTS = [
    "path",
    "format",
    "homing",
    "schema",
    "madeAt",
    "storeId",
    "keyId",
    "server",
    "partitions",
    "sequences",
]
KEY_ID = Vault(bytes(32)).key_id


@pytest.fixture
def dsn(
    postgres: Server, fresh_database: str, tmp_path: Path, homing: Homing, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A store in a database that the settings name; its key in a directory of its own."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("HOMING_STORE__URL", postgres.dsn(fresh_database))
    monkeypatch.setenv("HOMING_SECURITY__MASTER_KEY_FILE", str(key_in(tmp_path / "data")))
    assert homing("migrate").code == 0
    return postgres.dsn(fresh_database)


def test_a_backup_is_made_verified_and_restored(dsn: str, homing: Homing, postgres: Server) -> None:
    """Each tells what it holds, with rows old and new, and what to do next; the note of it is in the data directory."""
    made = homing("backup", "copy")
    assert made.code == 0, made.err
    lines = [line.split("\t") for line in made.out.splitlines()]
    assert [line[0] for line in lines][: len(FACTS)] == FACTS
    assert ["rows message", "0"] in lines
    assert f"not in it: the master key {KEY_ID}" in made.err
    note = json.loads(Path("data/last-backup.json").read_text())
    assert note["to"] == str(Path("copy").absolute())
    sound = homing("restore", "copy", "--verify")
    assert (sound.code, sound.err) == (0, "sound: SHA-256, structure and counts are as its manifest says\n")
    assert json.loads(homing("restore", "copy", "--verify", "--json").out) == {
        "path": "copy",
        **json.loads(Path("copy/manifest.json").read_text()),
        "counts": {
            line[0].removeprefix("rows "): int(line[1]) for line in lines if line[0].startswith("rows ")
        },
    }
    name = postgres.create()
    try:
        new = postgres.dsn(name)
        done = homing("restore", "copy", "--verify", "--into", new)
        assert done.code == 0, done.err
        told = dict(line.split("\t", 1) for line in done.out.splitlines())
        count = dict(lines)["rows meta"]
        assert told["rows meta"] == f"{count} → {count}"
        assert told["storeId"] != dict(lines[: len(FACTS)])["storeId"]
        assert f"each node needs the master key {KEY_ID}" in done.err
        assert postgres.password not in done.out + done.err
        again = homing("restore", "copy", "--into", new)
        assert (again.code, again.out) == (6, "")
        assert "is not empty" in again.err
    finally:
        postgres.drop(name)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("backup", "copy"), 6, "copy exists; nothing is ever overwritten"),
        (("restore", "copy"), 2, "--into postgresql://"),
        (("restore", "copy", "--into", "new"), 2, "copy is of a PostgreSQL: --into postgresql://"),
        (
            ("restore", "copy", "--into", "postgresql://me:hidden@127.0.0.1:1/x"),
            5,
            "the database cannot be reached",
        ),
        (("restore", "data", "--verify"), 3, "data is no backup"),
    ],
)
def test_what_is_refused(dsn: str, homing: Homing, words: tuple[str, ...], code: int, told: str) -> None:
    """One line that says why, no password in it, nothing made."""
    assert homing("backup", "copy").code == 0
    ended = homing(*words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)
    assert told in ended.err
    assert "hidden" not in ended.err
    assert not Path("new").exists()


def test_a_damaged_backup_is_exit_1(dsn: str, homing: Homing) -> None:
    """A byte that was changed is found out."""
    assert homing("backup", "copy").code == 0
    with Path("copy/meta.copy").open("r+b") as file:
        file.seek(40)
        file.write(b"\xfe")
    ended = homing("restore", "copy", "--verify")
    assert (ended.code, ended.out) == (1, "")
    assert "meta.copy has the SHA-256" in ended.err
