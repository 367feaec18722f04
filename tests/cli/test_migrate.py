"""`homing migrate` as an operator types it: what it plans, what it does, and what a schema that is too new ends with."""

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest
from tests.cli.processes import run as homing
from tests.postgres.server import Server
from tests.store.fakes import NOON_MS, message_id

from homing.store import sql
from homing.store.postgres.schema import SCHEMA as SHARED_SCHEMA
from homing.store.sqlite.schema import SCHEMA

TOKEN = "an-admin-token-of-more-than-32-characters"
Run = Callable[[Coroutine[Any, Any, None]], None]


def first_schema(data: Path) -> Path:
    """A store as the first release left it: one message, which waits to be told."""
    data.mkdir()
    file = data / "homing.db"
    connection = apsw.Connection(str(file))
    connection.execute(sql.load("sqlite", "schema_1")["schema"])
    connection.execute("INSERT INTO meta VALUES ('schema', 1), ('store_id', 'old'), ('key_id', '')")
    connection.execute(
        "INSERT INTO message VALUES (?, 1, 'r', x'7b7d', ?, ?)", (message_id(NOON_MS), NOON_MS, NOON_MS)
    )
    connection.execute("INSERT INTO lane(key, endpoint, pending, owner) VALUES (zeroblob(18), 1, 1, 7)")
    connection.close()
    return file


def ask(file: Path, statement: str) -> Any:
    connection = apsw.Connection(str(file))
    try:
        return connection.execute(statement).get
    finally:
        connection.close()


@pytest.fixture
def shared(postgres: Server, fresh_database: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a node on an empty database, its key and its token made."""
    key = tmp_path / "master.key"
    key.write_bytes(base64.b64encode(bytes(32)))
    key.chmod(0o600)
    return {
        "HOMING_STORE__URL": postgres.dsn(fresh_database),
        "HOMING_SECURITY__MASTER_KEY_FILE": str(key),
        "HOMING_ADMIN_TOKEN": TOKEN,
    }


async def there(dsn: str, statement: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def test_a_plan_names_each_step_and_what_it_changes_and_changes_nothing(tmp_path: Path) -> None:
    """Number, what it brings, the tables with their rows; the file stays byte for byte."""
    file = first_schema(tmp_path / "data")
    before = file.read_bytes()
    ended = homing(tmp_path, "migrate", "--plan", "--data", "data")
    assert ended.returncode == 0
    (line,) = [line.split("\t") for line in ended.stdout.splitlines()]
    assert (line[0], line[1][:30]) == ("2", "options and health of endpoint")
    assert "message (1 rows), " in line[2]
    assert "lane (1 rows), " in line[2]
    assert "nothing was changed" in ended.stderr
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == ["homing.db"]
    shown = json.loads(homing(tmp_path, "migrate", "--plan", "--data", "data", "--json").stdout)
    assert {"table": "lane", "rows": 1} in shown["items"][0]["changes"]


def test_without_plan_the_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    """What the store held is there; a second time there is nothing to do."""
    file = first_schema(tmp_path / "data")
    assert homing(tmp_path, "migrate", "--data", "data").returncode == 0
    assert ask(file, "SELECT value FROM meta WHERE name = 'schema'") == SCHEMA
    assert ask(file, "SELECT pending, job FROM lane") == (1, 0)
    assert ask(file, "SELECT count(*) FROM message") == 1
    again = homing(tmp_path, "migrate", "--data", "data")
    assert (again.returncode, again.stdout) == (0, "")
    assert f"nothing to do: the store has schema {SCHEMA}" in again.stderr


def test_on_a_postgresql_it_makes_the_schema_under_the_nodes_key(
    shared: dict[str, str], tmp_path: Path, run: Run
) -> None:
    """A plan makes nothing; then the tables are there, sealed for the key that nodes have."""

    async def story() -> None:
        dsn = shared["HOMING_STORE__URL"]
        planned = await asyncio.to_thread(homing, tmp_path, "migrate", "--plan", **shared)
        assert planned.returncode == 0, planned.stderr
        assert [line.split("\t")[0] for line in planned.stdout.splitlines()] == [
            str(number) for number in range(1, SHARED_SCHEMA + 1)
        ]
        assert await there(dsn, "SELECT to_regclass('meta')") is None
        done = await asyncio.to_thread(homing, tmp_path, "migrate", **shared)
        assert done.returncode == 0, done.stderr
        assert await there(dsn, "SELECT number FROM meta WHERE name = 'schema'") == SHARED_SCHEMA
        assert len(await there(dsn, "SELECT words FROM meta WHERE name = 'key_id'")) == 16
        assert "nothing to do" in (await asyncio.to_thread(homing, tmp_path, "migrate", **shared)).stderr

    run(story())


@pytest.mark.parametrize("verb", ["serve --listen 127.0.0.1:0", "migrate", "migrate --plan"])
def test_an_older_homing_refuses_a_newer_store(tmp_path: Path, verb: str) -> None:
    """One line that names both versions, exit 6, and the store stays as it is."""
    file = first_schema(tmp_path / "data")
    ask(file, "UPDATE meta SET value = 99 WHERE name = 'schema' RETURNING 1")
    (file.parent / "master.key").write_bytes(base64.b64encode(bytes(32)))
    (file.parent / "master.key").chmod(0o600)
    ended = homing(tmp_path, *verb.split(), "--data", "data")
    told = f"the store has schema 99; this Homing knows schemas up to {SCHEMA}\n"
    assert (ended.returncode, ended.stdout) == (6, "")
    assert ended.stderr == f"homing {verb.split(maxsplit=1)[0]}: {told}"
    assert ask(file, "SELECT value FROM meta WHERE name = 'schema'") == 99


def test_an_older_homing_refuses_a_newer_postgresql(shared: dict[str, str], tmp_path: Path, run: Run) -> None:
    """The same line and exit, whichever verb meets it."""

    async def story() -> None:
        assert (await asyncio.to_thread(homing, tmp_path, "migrate", **shared)).returncode == 0
        dsn = shared["HOMING_STORE__URL"]
        await there(dsn, "UPDATE meta SET number = 99 WHERE name = 'schema'")
        for verb in ("serve --listen 127.0.0.1:0", "migrate", "migrate --plan"):
            ended = await asyncio.to_thread(homing, tmp_path, *verb.split(), **shared)
            assert (ended.returncode, ended.stdout) == (6, ""), verb
            told = f"the store has schema 99; this Homing knows schemas up to {SHARED_SCHEMA}\n"
            assert ended.stderr == f"homing {verb.split()[0]}: {told}"

    run(story())


def test_without_a_store_there_is_nothing_to_migrate(tmp_path: Path) -> None:
    """3, and none is made."""
    for words in (("migrate",), ("migrate", "--plan")):
        ended = homing(tmp_path, *words, "--data", "data")
        assert (ended.returncode, ended.stdout) == (3, "")
        assert "there is no store at data/homing.db" in ended.stderr
    assert list(tmp_path.iterdir()) == []
