"""`homing backup` and `homing restore` as an operator types them: what they print, what they refuse, how they end."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.processes import run, running

FACTS = ["path", "format", "homing", "schema", "madeAt", "storeId", "keyId", "sizeBytes", "sha256"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a data directory that no server has any more, and its backup ``copy``."""
    folder = tmp_path_factory.mktemp("site")
    with running(folder, "serve", "--data", "data", "--listen", "127.0.0.1:0") as node:
        node.until(r"^http://")
        node.end(signal.SIGTERM)
    assert run(folder, "backup", "copy", "--data", "data").returncode == 0
    return folder


@pytest.fixture
def new(place: Path) -> Iterator[str]:
    """A name in that directory that is free."""
    yield from ("new",)
    subprocess.run(["rm", "-rf", str(place / "new")], check=True)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_backup_tells_what_it_holds(place: Path, new: str) -> None:
    """Path, schema, time, size, SHA-256, and each table's rows; that the key is not in it is said beside."""
    ended = run(place, "backup", new, "--data", "data")
    assert ended.returncode == 0
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    assert [line[0] for line in lines][: len(FACTS)] == FACTS
    assert ["rows message", "0"] in lines
    told = dict(line.split("\t") for line in ended.stdout.splitlines())
    summed = subprocess.run(
        ["sha256sum", place / new / "homing.db"], capture_output=True, text=True, check=True
    )
    assert told["sha256"] == summed.stdout.split()[0]
    assert f"not in it: the master key {told['keyId']}" in ended.stderr
    key = (place / "data" / "master.key").read_bytes().strip()
    assert [name for name, content in files(place / new).items() if key in content] == []


def test_as_json_it_is_the_manifest(place: Path, new: str) -> None:
    """The same facts under the same names."""
    shown = json.loads(run(place, "backup", new, "--data", "data", "--json").stdout)
    assert shown == {"path": new, **json.loads((place / new / "manifest.json").read_text())}


def test_a_backup_takes_the_place_of_nothing(place: Path) -> None:
    """6, one line, and the first backup stays byte for byte."""
    before = files(place / "copy")
    ended = run(place, "backup", "copy", "--data", "data")
    assert (ended.returncode, ended.stdout) == (6, "")
    assert ended.stderr == "homing backup: copy exists; nothing is ever overwritten\n"
    assert files(place / "copy") == before


def test_verify_alone_makes_nothing(place: Path) -> None:
    """The manifest on stdout, the verdict beside, no file changed."""
    before = files(place / "copy")
    ended = run(place, "restore", "copy", "--verify")
    assert (ended.returncode, ended.stderr) == (
        0,
        "sound: SHA-256, structure and counts are as its manifest says\n",
    )
    assert ended.stdout.splitlines()[0] == "path\tcopy"
    assert files(place / "copy") == before


def test_a_restore_tells_old_and_new_counts_and_what_to_do_next(place: Path, new: str) -> None:
    """Each table twice, another store id, where the key belongs; and that callbacks may come again."""
    ended = run(place, "restore", "copy", "--verify", "--into", new)
    assert ended.returncode == 0
    told = dict(line.split("\t") for line in ended.stdout.splitlines())
    manifest = json.loads((place / "copy" / "manifest.json").read_text())
    assert told["rows meta"] == f"{manifest['counts']['meta']} → {manifest['counts']['meta']}"
    assert told["storeId"] != manifest["storeId"]
    assert f"put the master key {manifest['keyId']} into new/master.key (0600)" in ended.stderr
    assert "may be told again" in ended.stderr
    assert sorted(files(place / new)) == ["homing.db", "homing.lock"]
    again = run(place, "restore", "copy", "--into", new, "--json")
    assert (again.returncode, again.stdout) == (6, "")


def test_a_restored_store_is_not_served_under_another_key(place: Path, new: str) -> None:
    """Without its key it ends with 2 and says which file is missing; none is made. With it, it serves."""
    assert run(place, "restore", "copy", "--into", new).returncode == 0
    ended = run(place, "serve", "--data", new, "--listen", "127.0.0.1:0")
    assert ended.returncode == 2
    assert "new/master.key is missing: put it back from its copy" in ended.stderr
    assert not (place / new / "master.key").exists()
    (place / new / "master.key").write_bytes((place / "data" / "master.key").read_bytes())
    (place / new / "master.key").chmod(0o600)
    with running(place, "serve", "--data", new, "--listen", "127.0.0.1:0") as node:
        node.until(r"^http://")
        assert node.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("backup",), 2, "missing argument"),
        (("backup", "new", "--data", "nowhere"), 3, "there is no store at nowhere/homing.db"),
        (("backup", "new", "--data", "data", "--with-key"), 2, "no such option: --with-key"),
        (("backup", "data/admin-token/x", "--data", "data"), 2, "data/admin-token: file exists"),
        (("restore", "copy"), 2, "--into DIR"),
        (("restore", "data", "--verify"), 3, "data is no backup"),
        (("restore", "nowhere", "--into", "new"), 3, "nowhere is no backup"),
        (("restore", "copy", "--into", "data"), 6, "data is not empty"),
    ],
)
def test_what_is_refused(place: Path, words: tuple[str, ...], code: int, told: str) -> None:
    """One line that says why, no data, nothing made."""
    ended = run(place, *words)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (code, "", 1)
    assert told in ended.stderr.lower() or told in ended.stderr
    assert not (place / "new").exists()


def test_a_damaged_backup_is_exit_1(place: Path, new: str) -> None:
    """A byte that was changed is found out, and nothing is made of it."""
    assert run(place, "backup", new, "--data", "data").returncode == 0
    with (place / new / "homing.db").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    for more in (("--verify",), ("--into", "other")):
        ended = run(place, "restore", new, *more)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "has the SHA-256" in ended.stderr
    assert not (place / "other").exists()


def test_check_and_metrics_know_of_the_last_backup(place: Path, tmp_path: Path) -> None:
    """A warning before the first one, then when and where."""
    with running(tmp_path, "serve", "--data", "data", "--listen", "127.0.0.1:0") as node:
        url = node.until(r"^(http://\S+)$")[1]
        only = ("check", "--data", "data", "--listen", url.removeprefix("http://"), "--only", "backup")
        assert run(tmp_path, *only).stdout == "warn\tbackup\tnever\thoming backup TO\n"
        assert run(tmp_path, "backup", "copy", "--data", "data").returncode == 0
        assert run(tmp_path, *only).stdout.startswith("ok\tbackup\tlast ")
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        (age,) = [line for line in lines if line.startswith("homing_backup_age_seconds ")]
        assert 0 <= float(age.split()[1]) < 600
        assert node.end(signal.SIGTERM)[0] == 0
