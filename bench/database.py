"""The PostgreSQL that P8 measures: the tests' own server, but durable, on disk and of a usual size; on the load's core.

It counts what it is asked by ``pg_stat_statements``, which both an installed PostgreSQL and the tools' wheel bring.
"""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import asyncpg
import psutil
from tests.postgres.server import Server

from bench.served import TOKEN
from bench.sizes import Home, Spent
from bench.subject import USERS, add_phone, settings_in, unsynced
from homing.store.changes import CreateApp

SETTINGS: dict[str, str | int | bool] = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "max_connections": 100,
    "shared_preload_libraries": "pg_stat_statements",
}
"""Beside the defaults: fsync, full_page_writes and synchronous_commit are on."""
_SPENT = """
SELECT json_build_array(sum(s.calls), coalesce(sum(s.calls) FILTER (WHERE s.query = 'COMMIT'), 0),
  sum(s.wal_bytes))::text
FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = $1
"""
_ROWS = "SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE datname = $1"
_MORE_USERS = """
INSERT INTO recipient(app, folded, identifier, password_hash, wakeable, created_at)
SELECT r.app, 'user' || n, 'user' || n, r.password_hash, r.wakeable, r.created_at
FROM recipient AS r CROSS JOIN generate_series(1, $1::integer) AS n ORDER BY n
"""
_THEIR_PHONES = """
INSERT INTO device(id, recipient, app, platform, token_digest, push_platform, push_token, created_at, last_seen_at)
SELECT replace(r.folded, 'user', 'device'), r.id, d.app, d.platform, sha256(r.folded::bytea), d.push_platform,
  replace(r.folded, 'user', 'token'), d.created_at, d.last_seen_at
FROM device AS d JOIN recipient AS r ON r.id <> d.recipient ORDER BY r.id
"""


class Database:
    """One server for all of P8; each part has a copy of a database with the users in it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="homing-bench-key-"))
        (self.folder / "admin-token").write_text(TOKEN)
        self.server = Server(name="bench")
        self.server.settings |= SETTINGS
        self._templates: dict[bool, str] = {}

    async def start(self) -> None:
        """Start it and make the users, once with phones that can be woken, once without."""
        self.server.initialise("--wal-segsize", "16")
        self.server.start()
        self.server.ask("CREATE EXTENSION pg_stat_statements")
        with_phones = self.server.create()
        url = self.server.dsn(with_phones)
        async with unsynced(settings_in(self.folder, url)) as (_, store):
            await store.apply(CreateApp(name="bench", app_key="bench"))
            await add_phone(store, 0, wakeable=True)
        await self._run(with_phones, _MORE_USERS, USERS - 1)
        await self._run(with_phones, _THEIR_PHONES)
        without = self.server.create(with_phones)
        await self._run(without, "UPDATE recipient SET wakeable = 0")
        for name in (with_phones, without):
            await self._run(name, "VACUUM (FULL) recipient")
            # As an idle store is: the planner was told that the tables are empty, and believes it for a while.
            await self._run(name, "VACUUM (ANALYZE)")
        self._templates = {True: with_phones, False: without}

    def home(self, *, is_wakeable: bool) -> Home:
        """A new database of it."""
        name = self.server.create(self._templates[is_wakeable])
        self.server.ask("CHECKPOINT")
        return Home(self.folder, self.server.dsn(name), Asked(self.server, name))

    def close(self) -> None:
        """End it, and remove everything of it."""
        self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _run(self, database: str, statement: str, *values: object) -> None:
        connection = await asyncpg.connect(self.server.dsn(database))
        await connection.execute(statement, *values)
        await connection.close()


class Asked:
    """What was asked of one database, and what the whole server spent (`bench.sizes.Meter`)."""

    def __init__(self, server: Server, database: str) -> None:
        self._server = server
        self._database = database

    def spent(self) -> Spent:
        """Read the counters; what reading costs the server is in the next reading."""
        statements, commits, log_bytes = json.loads(self._server.ask(_SPENT, self._database))
        return Spent(_cpu_s(self._server.pid), statements or 0, commits, log_bytes or 0)

    def rows_written(self) -> float:
        """Since it was made; a session counts its own at its end, if not before."""
        return float(self._server.ask(_ROWS, self._database))


def _cpu_s(first: int) -> float:
    """The CPU of a server so far: of its first process, of those it had, and of those it has."""
    process = psutil.Process(first)
    user, system, of_former_user, of_former_system, *_ = process.cpu_times()
    spent_s: float = user + system + of_former_user + of_former_system
    for child in process.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker of autovacuum that just ended
            spent_s += sum(child.cpu_times()[:2])
    return spent_s
