"""The harness's server: it starts and ends as told, keeps what it answered, and leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from tests.postgres.home import account
from tests.postgres.server import FAST, Server
from tests.postgres.waiting import ServerError, until

Run = Callable[..., Any]
LOST = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError, OSError)
"""What a client sees of a server's end."""


async def one(dsn: str, sql: str) -> Any:
    """Connect, ask for one value, leave."""
    connection = await asyncpg.connect(dsn, timeout=20)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def noted(dsn: str, text: str) -> None:
    """Write one row that must last."""
    connection = await asyncpg.connect(dsn, timeout=20)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        await connection.execute("INSERT INTO note VALUES ($1)", text)
    finally:
        connection.terminate()


def notes(server: Server, database: str) -> Any:
    """Return how many rows lasted."""
    return asyncio.run(one(server.dsn(database), "SELECT count(*) FROM note"))


def test_a_fresh_database_is_empty_and_its_own(postgres: Server, fresh_database: str, run: Run) -> None:
    """It holds no table, belongs to an ordinary role, and is not the one of another test."""
    dsn = postgres.dsn(fresh_database)
    assert run(one(dsn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 0
    assert run(one(dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")) is False
    other = postgres.create()
    try:
        assert run(one(postgres.dsn(other), "SELECT current_database()")) == other != fresh_database
    finally:
        postgres.drop(other)


def test_a_database_is_dropped_with_its_sessions(postgres: Server, run: Run) -> None:
    """A test that leaves a connection open does not keep its database alive."""
    name = postgres.create()

    async def stays() -> None:
        connection = await asyncpg.connect(postgres.dsn(name))
        await asyncio.to_thread(postgres.drop, name)
        with pytest.raises(LOST):
            await connection.fetchval("SELECT 1")
        await connection.close()

    run(stays())
    assert postgres.ask("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 0


def test_a_template_is_filled_once(postgres: Server, run: Run) -> None:
    """A schema is made once for a run; each database copied from it has it."""
    filled: list[str] = []

    def fill(dsn: str) -> None:
        filled.append(dsn)
        run(one(dsn, "CREATE TABLE made (it int)"))

    names = [postgres.create(postgres.template("harness_template", fill)) for _ in range(2)]
    for name in names:
        assert run(one(postgres.dsn(name), "SELECT count(*) FROM made")) == 0
        postgres.drop(name)
    assert len(filled) == 1


def test_the_shared_server_waits_for_no_disk(postgres: Server, run: Run) -> None:
    """What functional tests pay for is milliseconds: nothing of theirs has to last."""
    for setting in FAST:
        assert run(one(postgres.dsn("postgres"), f"SHOW {setting}")) == "off"


def test_it_does_not_run_as_root(postgres: Server) -> None:
    """PostgreSQL refuses root; where we are root it runs as somebody else, and else as us."""
    user = account()
    assert psutil.Process(postgres.pid).uids().real == (user.pw_uid if user else os.geteuid()) != 0


def test_it_asks_for_a_password(postgres: Server, run: Run) -> None:
    """Nobody else on this machine gets in."""
    with pytest.raises(asyncpg.InvalidPasswordError):
        run(one(postgres.dsn("postgres").replace(postgres.password, "guess"), "SELECT 1"))


def test_its_application_name_is_the_clients(postgres: Server, run: Run) -> None:
    """Parameters of the DSN reach the server, spaces and all."""
    dsn = postgres.dsn("postgres", application_name="a node & more")
    assert run(one(dsn, "SHOW application_name")) == "a node & more"


def test_backends_are_terminated_by_name(postgres: Server, run: Run) -> None:
    """Only the sessions of that name end, and they are gone when the call returns."""

    async def two() -> None:
        victim = await asyncpg.connect(postgres.dsn("postgres", application_name="victim"))
        other = await asyncpg.connect(postgres.dsn("postgres", application_name="other"))
        assert postgres.terminate_backends("victim") == 1
        assert postgres.sessions("victim") == 0
        with pytest.raises(LOST):
            await victim.fetchval("SELECT 1")
        assert await other.fetchval("SELECT 1") == 1
        await other.close()
        await victim.close()

    run(two())


def test_it_makes_what_lasts_durable(mortal_postgres: Server, run: Run) -> None:
    """Unless it is told to be fast, the settings that make a commit last are PostgreSQL's own."""
    for setting in FAST:
        assert run(one(mortal_postgres.dsn("postgres"), f"SHOW {setting}")) == "on"


@pytest.mark.parametrize("end", ["kill", "kill_postmaster", "immediate", "fast", "smart"])
def test_what_was_answered_outlives_every_end(mortal_postgres: Server, end: str) -> None:
    """After a kill, a kill of the first process, and each stop, the same port serves the same rows."""
    port, name = mortal_postgres.port, mortal_postgres.create()
    asyncio.run(noted(mortal_postgres.dsn(name), end))
    pid = mortal_postgres.pid
    ends: dict[str, Callable[[], None]] = {
        "kill": mortal_postgres.kill,
        "kill_postmaster": mortal_postgres.kill_postmaster,
    }
    ends.get(end, lambda: mortal_postgres.stop(end))()  # type: ignore[arg-type]
    assert not mortal_postgres.is_running
    assert not psutil.pid_exists(pid)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        notes(mortal_postgres, name)
    mortal_postgres.start()
    assert mortal_postgres.port == port
    assert notes(mortal_postgres, name) == 1
    mortal_postgres.drop(name)


def test_a_death_nobody_ordered_is_noticed(mortal_postgres: Server) -> None:
    """A first process that dies by itself counts as dead; kill clears what is left of it, and it starts again."""
    os.kill(mortal_postgres.pid, signal.SIGKILL)
    until(lambda: not mortal_postgres.is_running, 10, lambda: "it lives")
    mortal_postgres.kill()
    mortal_postgres.start()
    assert mortal_postgres.ask("SELECT 1") == 1


def test_a_frozen_server_answers_later(mortal_postgres: Server, run: Run) -> None:
    """While it stands still nobody gets an answer, not even a new client; thawed, the same connection goes on."""

    async def through_the_cold() -> None:
        connection = await asyncpg.connect(mortal_postgres.dsn("postgres"))
        with mortal_postgres.frozen():
            asked = asyncio.create_task(connection.fetchval("SELECT 7"))
            with pytest.raises(TimeoutError):
                await asyncpg.connect(mortal_postgres.dsn("postgres"), timeout=0.2)
            assert not asked.done()
        assert await asked == 7
        await connection.close()

    run(through_the_cold())


@pytest.mark.parametrize("time", ["first", "second"])
@pytest.mark.parametrize("how", ["kill", "freeze", "stop"])
def test_the_next_test_finds_it_well(mortal_postgres: Server, how: str, time: str) -> None:
    """A test may leave it dead, still, stopped or with settings of its own: the next one gets what the first one got."""
    assert mortal_postgres.ask("SELECT current_setting('work_mem')") == "4MB"
    mortal_postgres.configure(work_mem="8MB")
    {"kill": mortal_postgres.kill, "freeze": mortal_postgres.freeze, "stop": mortal_postgres.stop}[how]()


def test_a_frozen_server_can_be_stopped(mortal_postgres: Server) -> None:
    """Whoever forgets to thaw hangs nobody."""
    mortal_postgres.freeze()
    mortal_postgres.stop()
    assert not mortal_postgres.is_running


def test_settings_change_while_it_runs(mortal_postgres: Server) -> None:
    """A changed setting holds when the call returns, and after a restart."""
    mortal_postgres.configure(statement_timeout="4321ms")
    assert mortal_postgres.ask("SELECT current_setting('statement_timeout')") == "4321ms"
    mortal_postgres.restart()
    assert mortal_postgres.ask("SELECT current_setting('statement_timeout')") == "4321ms"


def test_a_setting_that_cannot_change_is_refused(mortal_postgres: Server) -> None:
    """What needs a restart, or is nonsense, is told at once instead of being silently ignored."""
    for wrong in ({"shared_buffers": "16MB"}, {"work_mem": "much"}):
        with pytest.raises(ServerError, match=next(iter(wrong))):
            mortal_postgres.configure(**wrong)


def test_connections_run_out(mortal_postgres: Server, run: Run) -> None:
    """With few connections allowed, the one too many is refused while the superuser still gets in."""
    mortal_postgres.settings |= {"max_connections": 5, "superuser_reserved_connections": 2}
    mortal_postgres.restart()

    async def exhaust() -> None:
        held = [await asyncpg.connect(mortal_postgres.dsn("postgres")) for _ in range(3)]
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await asyncpg.connect(mortal_postgres.dsn("postgres"))
        assert mortal_postgres.ask("SELECT 1") == 1
        for connection in held:
            await connection.close()

    run(exhaust())


def test_a_server_that_cannot_start_says_why(mortal_postgres: Server) -> None:
    """The error holds the server's own words."""
    mortal_postgres.settings["shared_preload_libraries"] = "no_such_library"
    with pytest.raises(ServerError, match="no_such_library"):
        mortal_postgres.restart()


KILLED = """
import os, signal, sys
from tests.postgres.server import FAST, Server
server = Server(fast=True)
server.__enter__()
lock_file = (server.home.data / "postmaster.pid").read_text().splitlines()
print(server.pid, server.home.path, lock_file[6].split()[1], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_when_pytest_is_killed() -> None:
    """Killed without a chance to clean up, a run leaves no process, no folder and no shared memory."""
    died = in_another_python("-c", KILLED)
    assert died.returncode == -signal.SIGKILL
    pid, home, segment = died.stdout.split()
    until(lambda: not Path(home).exists(), 30, lambda: f"{home} is still there")
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    assert not [it for it in psutil.process_iter(["cwd"]) if (it.info["cwd"] or "").startswith(home)]
    assert segment not in shared_memory()


def test_nothing_is_left_of_a_killed_server() -> None:
    """A server that was killed and never started again takes its shared memory with it when it is closed."""
    with Server(fast=True, name="doomed") as server:
        segment = (server.home.data / "postmaster.pid").read_text("utf-8").splitlines()[6].split()[1]
        server.kill()
        assert segment in shared_memory()
    assert segment not in shared_memory()
    assert not server.home.path.exists()


def shared_memory() -> set[str]:
    """Return the System V segments of this machine, which outlive a process that is killed."""
    rows = Path("/proc/sysvipc/shm").read_text("ascii").splitlines()[1:]
    return {row.split()[1] for row in rows}


FAILING = '''
import pytest

@pytest.mark.parametrize("column", ["early", "late"])
def test_that_fails(postgres, column):
    """It fails on purpose."""
    postgres.ask(f"SELECT {column}")
'''


def test_a_failure_shows_what_the_server_logged(tmp_path: Path) -> None:
    """Beside the traceback stands what the server had to say since that test began, and no more."""
    (tmp_path / "test_failing.py").write_text(FAILING, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    failed = in_another_python(
        *("-m", "pytest", "-p", "tests.postgres.fixtures", str(tmp_path)), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"
    )
    assert failed.returncode == pytest.ExitCode.TESTS_FAILED
    early, late = failed.stdout.split("PostgreSQL's log: shared")[1:]
    assert 'ERROR:  column "early" does not exist' in early
    assert 'ERROR:  column "late" does not exist' in late
    log, _, _ = late.partition("short test summary")  # which CI does not cut short
    assert 'column "early"' not in log


def in_another_python(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run Python on this tree and return its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        timeout=50,
        check=False,
    )
