"""`homing migrate` as an operator types it: what it plans, what it does, and what a schema that is too new ends with."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest
from tests.cli.conftest import Homing
from tests.postgres.server import Server
from tests.store.fakes import message_id
from tests.store.stocked import NOW_MS

from homing.store import sql
from homing.store.postgres.schema import SCHEMA as SHARED_SCHEMA
from homing.store.sqlite.schema import SCHEMA
from homing.vault import Vault

TOKEN = "an-admin-token-of-more-than-32-characters"
SERVE = ("serve", "--listen", "127.0.0.1:0")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store as the first release left it in ``data``: one message, which waits to be told; its key beside it."""
    data = tmp_path / "data"
    data.mkdir()
    key_in(data)
    connection = apsw.Connection(str(data / "homing.db"))
    connection.execute(sql.load("sqlite", "schema_1")["schema"])
    meta = {"schema": 1, "store_id": "old", "key_id": Vault(bytes(32)).key_id}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
    message = (message_id(NOW_MS), NOW_MS, NOW_MS)
    connection.execute("INSERT INTO message VALUES (?, 1, 'r', x'7b7d', ?, ?)", message)
    connection.execute("INSERT INTO lane(key, endpoint, pending, owner) VALUES (zeroblob(18), 1, 1, 7)")
    connection.close()
    return data / "homing.db"


@pytest.fixture
def dsn(postgres: Server, fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database that the settings name, with the key and the token of its nodes."""
    address = postgres.dsn(fresh_database)
    monkeypatch.setenv("HOMING_STORE__URL", address)
    monkeypatch.setenv("HOMING_SECURITY__MASTER_KEY_FILE", str(key_in(tmp_path)))
    monkeypatch.setenv("HOMING_ADMIN_TOKEN", TOKEN)
    return address


def key_in(folder: Path) -> Path:
    key = folder / "master.key"
    key.write_bytes(base64.b64encode(bytes(32)))
    key.chmod(0o600)
    return key


def ask(file: Path, statement: str) -> Any:
    connection = apsw.Connection(str(file))
    try:
        return connection.execute(statement).get
    finally:
        connection.close()


def there(dsn: str, statement: str) -> Any:
    async def asked() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(asked())


def test_a_plan_names_each_step_and_what_it_changes_and_changes_nothing(file: Path, homing: Homing) -> None:
    """Number, what it brings, the tables with their rows; the file stays byte for byte."""
    before = file.read_bytes()
    ended = homing("migrate", "--plan", "--data", "data")
    assert ended.code == 0
    (line,) = [line.split("\t") for line in ended.out.splitlines()]
    assert (line[0], line[1][:30]) == ("2", "options and health of endpoint")
    assert "message (1 rows), " in line[2]
    assert "lane (1 rows), " in line[2]
    assert "nothing was changed" in ended.err
    assert file.read_bytes() == before
    assert sorted(one.name for one in file.parent.iterdir()) == ["homing.db", "master.key"]
    shown = json.loads(homing("migrate", "--plan", "--data", "data", "--json").out)
    assert {"table": "lane", "rows": 1} in shown["items"][0]["changes"]


def test_without_plan_the_schema_is_brought_up_to_date(file: Path, homing: Homing) -> None:
    """What the store held is there; a second time there is nothing to do."""
    assert homing("migrate", "--data", "data").code == 0
    assert ask(file, "SELECT value FROM meta WHERE name = 'schema'") == SCHEMA
    assert ask(file, "SELECT pending, job FROM lane") == (1, 0)
    assert ask(file, "SELECT count(*) FROM message") == 1
    again = homing("migrate", "--data", "data")
    assert (again.code, again.out) == (0, "")
    assert f"nothing to do: the store has schema {SCHEMA}" in again.err


def test_on_a_postgresql_it_makes_the_schema_under_the_nodes_key(dsn: str, homing: Homing) -> None:
    """A plan makes nothing; then the tables are there, sealed for the key that nodes have."""
    planned = homing("migrate", "--plan")
    assert planned.code == 0, planned.err
    numbers = [line.split("\t")[0] for line in planned.out.splitlines()]
    assert numbers == [str(number) for number in range(1, SHARED_SCHEMA + 1)]
    assert there(dsn, "SELECT to_regclass('meta')") is None
    done = homing("migrate")
    assert done.code == 0, done.err
    assert there(dsn, "SELECT number FROM meta WHERE name = 'schema'") == SHARED_SCHEMA
    assert there(dsn, "SELECT words FROM meta WHERE name = 'key_id'") == Vault(bytes(32)).key_id
    assert "nothing to do" in homing("migrate").err


def test_an_older_homing_refuses_a_newer_store(file: Path, homing: Homing) -> None:
    """Whichever verb meets it: one line that names both versions, exit 6, and the store stays as it is."""
    ask(file, "UPDATE meta SET value = 99 WHERE name = 'schema' RETURNING 1")
    for words in (
        SERVE,
        ("migrate",),
        ("migrate", "--plan"),
        ("migrate", "--to", "postgresql://127.0.0.1:1/x"),
    ):
        ended = homing(*words, "--data", "data")
        told = f"the store has schema 99; this Homing knows schemas up to {SCHEMA}"
        assert ended == (6, "", f"homing {words[0]}: {told}\n"), words
    assert ask(file, "SELECT value FROM meta WHERE name = 'schema'") == 99


def test_an_older_homing_refuses_a_newer_postgresql(dsn: str, homing: Homing) -> None:
    """The same line and exit."""
    assert homing("migrate").code == 0
    there(dsn, "UPDATE meta SET number = 99 WHERE name = 'schema'")
    for words in (SERVE, ("migrate",), ("migrate", "--plan")):
        told = f"the store has schema 99; this Homing knows schemas up to {SHARED_SCHEMA}"
        assert homing(*words) == (6, "", f"homing {words[0]}: {told}\n"), words


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--data", "nowhere"), 3, "there is no store at nowhere/homing.db"),
        (("--data", "nowhere", "--plan"), 3, "there is no store at nowhere/homing.db"),
        (("--data", "nowhere", "--reopen"), 3, "there is no store at nowhere/homing.db"),
        (("--data", "data", "--to", "mysql://127.0.0.1/x"), 2, "give postgresql://"),
        (("--data", "data", "--to", "postgresql://127.0.0.1/x", "--plan"), 2, "give one of them"),
        (("--data", "data", "--to", "postgresql://me:hidden@127.0.0.1:1/x"), 2, "`homing migrate`"),
        (("--data", "nowhere", "--to", "postgresql://127.0.0.1:1/x"), 2, "the master key cannot be read"),
    ],
)
def test_what_cannot_begin_says_why(
    file: Path, homing: Homing, words: tuple[str, ...], code: int, told: str
) -> None:
    """One line, no password in it, and nothing is made or changed."""
    before = file.read_bytes()
    ended = homing("migrate", *words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)
    assert told in ended.err
    assert "hidden" not in ended.err
    assert file.read_bytes() == before
    assert not Path("nowhere").exists()


def test_a_move_is_told_table_by_table_and_taken_back_by_one_word(
    file: Path, homing: Homing, postgres: Server, fresh_database: str
) -> None:
    """Rows and checksums of each; what comes next; afterwards the old store is shut until it is opened again."""
    dsn = postgres.dsn(fresh_database)
    assert homing("migrate", "--data", "data").code == 0
    away = homing("migrate", "--data", "data", "--to", "postgresql://me:hidden@127.0.0.1:1/x")
    assert away.code == 5
    assert "run the same again, and it goes on where it was" in away.err
    ended = homing("migrate", "--data", "data", "--to", dsn)
    assert ended.code == 0, ended.err
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert {(line[0], *line[1:3]) for line in lines} >= {
        ("message", "1", "1"),
        ("lane", "1", "1"),
        ("event", "0", "0"),
    }
    assert {line[4] for line in lines} == {"equal"}
    assert "next: " in ended.err
    assert postgres.password not in ended.out + ended.err
    refused = homing(*SERVE, "--data", "data")
    place = dsn.replace(f"homing:{postgres.password}@", "")
    assert refused.code == 6
    assert f"this store was moved to {place}: serve that" in refused.err
    assert "already" in homing("migrate", "--data", "data", "--to", dsn).err
    back = homing("migrate", "--reopen", "--data", "data")
    assert back.code == 0
    assert f"what {place} took since is not in it" in back.err
    assert "was not moved" in homing("migrate", "--reopen", "--data", "data").err
    taken = homing("migrate", "--data", "data", "--to", dsn)
    assert (taken.code, taken.out) == (6, "")
    assert "is not empty" in taken.err
