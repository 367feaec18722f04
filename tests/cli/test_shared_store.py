"""What an operator is told who names a PostgreSQL and has not all that it takes: one line, exit 2, nothing made."""

import base64
from pathlib import Path

from tests.cli.processes import run

AWAY = "postgresql://homing:hidden@127.0.0.1:1/homing"
TOKEN = "an-admin-token-of-more-than-32-characters"


def key_in(folder: Path) -> str:
    path = folder / "master.key"
    path.write_bytes(base64.b64encode(bytes(32)))
    path.chmod(0o600)
    return str(path)


def test_without_its_key_a_node_does_not_start(tmp_path: Path) -> None:
    """None is made: which of several nodes is the first none of them can know."""
    ended = run(tmp_path, "serve", HOMING_STORE__URL=AWAY, HOMING_SECURITY__MASTER_KEY_FILE="away/master.key")
    assert ended.returncode == 2
    assert "away/master.key is missing" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    """Its password is not told."""
    ended = run(
        tmp_path, "serve", "--listen", "127.0.0.1:0", HOMING_STORE__URL=AWAY,
        HOMING_SECURITY__MASTER_KEY_FILE=key_in(tmp_path), HOMING_ADMIN_TOKEN=TOKEN,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "store.url: the database cannot be reached" in ended.stderr
    assert "hidden" not in ended.stdout + ended.stderr


def test_check_says_that_a_database_is_away(tmp_path: Path) -> None:
    """A failure of its own, the rest is looked at; no password is told."""
    given = {"HOMING_STORE__URL": AWAY, "HOMING_SECURITY__MASTER_KEY_FILE": key_in(tmp_path)}
    ended = run(tmp_path, "check", **given)
    assert ended.returncode == 1
    assert "FAIL\tdatabase\t" in ended.stdout
    assert "hidden" not in ended.stdout + ended.stderr


def test_a_database_that_is_away_is_not_backed_up(tmp_path: Path) -> None:
    """5, in one line, and nothing is made."""
    given = {"HOMING_STORE__URL": AWAY, "HOMING_SECURITY__MASTER_KEY_FILE": key_in(tmp_path)}
    ended = run(tmp_path, "backup", "copy", **given)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (5, 1)
    assert "the database cannot be reached" in ended.stderr
    assert "hidden" not in ended.stderr
    assert not (tmp_path / "copy").exists()
