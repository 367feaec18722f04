"""A database that an earlier release left is opened, migrated, and goes on with what it held."""

from typing import Any

import asyncpg
import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import NOON_MS, StillClock, message_id
from tests.store.steps import closing, node

from homing.errors import SchemaTooNew
from homing.model import dispatch_key
from homing.store import sql
from homing.store.postgres import SCHEMA, partitions, schema
from homing.store.postgres.database import _HOT
from homing.store.postgres.dial import ANSWER_S
from homing.store.postgres.partitions import WEEK_MS

pytestmark = needs_postgres

_META = sql.load("postgres", "meta")
DAY_S = 24 * 3_600
NOTE_LIMITS = """
CREATE TABLE noted(words TEXT);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO noted VALUES (current_setting('statement_timeout')); END $$;
CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION note();
"""
"""Have the database write down under which limit each index is made."""


async def left_by_the_first_release(database: str) -> bytes:
    """Write what schema 1 held: its tables and weeks, and a message whose callback is due. Return the dispatch's key."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.execute(sql.load("postgres", "schema_1")["schema"])
        await connection.execute(_META["put_number"], "schema", 1)
        await connection.execute(_META["put_words"], "store_id", "s")
        await connection.execute(_META["put_words"], "key_id", "")
        await partitions.make(connection, NOON_MS)
        id_ = message_id(NOON_MS)
        key = dispatch_key(id_, 0)
        await connection.execute("INSERT INTO app VALUES (1, 'bank', 'live', NULL, '{}', 'key', $1)", NOON_MS)
        await connection.execute(
            "INSERT INTO endpoint(uid, app, kind, url, form, timestamp_unit, state, secret, created_at)"
            " VALUES ('e', 1, 'status', 'http://127.0.0.1/', 'json', 's', 'active', 'x', $1)",
            NOON_MS,
        )
        await connection.execute(
            'INSERT INTO message VALUES ($1, 1, NULL, \'{"text":"hi"}\', $2, $2)', id_, NOON_MS
        )
        await connection.execute(
            "INSERT INTO dispatch(key, app, seq, identifier, message, fallback, emitted, events, last_at, expires_at, mode)"
            " VALUES ($1, 1, 1, 'Ann', 1, 0, 1, 1, $2, $2, 0)",
            key,
            NOON_MS,
        )
        await connection.execute("INSERT INTO event VALUES ($1, 1, 0, $2, 1)", key, NOON_MS)
        await connection.execute(
            "INSERT INTO lane(key, endpoint, pending, due, owner) SELECT $1, id, 1, $2, 0 FROM endpoint",
            key,
            NOON_MS,
        )
    finally:
        await connection.close()
    return key


def test_what_the_first_release_left_is_told_and_its_weeks_go(
    database: str, clock: StillClock, run: Run
) -> None:
    """Lanes are taken up; what is new (dropping weeks, what endpoints leave, tables' settings) works on the old tables."""

    async def story() -> None:
        key = await left_by_the_first_release(database)
        store = await node(database, clock=clock)
        assert store.schema == SCHEMA
        assert await store._fetchval(_META["size"]) > 0
        [row] = await store._db.fetch(_META["number"], "schema")
        assert row[0] == SCHEMA
        [endpoint] = await store.endpoints(1)
        [work] = (await store.claim_lanes(endpoint.id, 9)).lanes
        assert work.key == key
        clock.ms += 3 * WEEK_MS
        assert (await store.drop_messages(clock.ms - WEEK_MS, 1)).kept_by == "lane"
        await store._db.write(lambda c: c.execute("DELETE FROM lane"))
        assert (await store.drop_messages(clock.ms - WEEK_MS, 1)).count == 1
        assert await store.message(key[:16]) is None

    run(closing(story()))


def test_a_migration_that_is_cut_off_leaves_the_database_as_it_was(
    database: str, clock: StillClock, run: Run
) -> None:
    """All of it is one transaction: a node that dies in between is as if it had not begun."""

    async def story() -> None:
        await left_by_the_first_release(database)
        connection = await asyncpg.connect(database)
        await connection.execute("BEGIN")
        await connection.execute(sql.load("postgres", "schema_2")["migrate"])
        connection.terminate()
        assert (await node(database, clock=clock)).schema == SCHEMA

    run(closing(story()))


class Patient(asyncpg.Connection):  # type: ignore[misc] # the library has no types of its own
    """A connection that remembers how long it was to wait for what takes long."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.waited_s: list[float | None] = []

    async def execute(self, query: str, *values: Any, timeout: float | None = None) -> Any:
        if "CREATE INDEX dead_key" in query:
            self.waited_s.append(timeout)
        return await super().execute(query, *values, timeout=timeout)


def test_a_step_through_large_tables_has_no_limit(database: str, run: Run) -> None:
    """An index of millions of rows takes longer than any statement of a node may: neither side gives it up, then all is as before."""

    async def story() -> None:
        await left_by_the_first_release(database)
        connection = await asyncpg.connect(
            database, server_settings=_HOT, command_timeout=ANSWER_S, connection_class=Patient
        )
        try:
            await connection.execute(NOTE_LIMITS)
            async with connection.transaction():
                await schema.bring(connection, "", NOON_MS)
                assert await connection.fetchval("SHOW statement_timeout") == "9s"
            noted = await connection.fetch("SELECT DISTINCT words FROM noted")
            assert [row[0] for row in noted] == ["0"]
            [waited_s] = connection.waited_s
            assert waited_s is not None
            assert waited_s >= DAY_S
        finally:
            connection.terminate()

    run(story())


def test_a_newer_schema_is_refused_with_both_versions(database: str, clock: StillClock, run: Run) -> None:
    """An older program does not touch what it does not know."""

    async def story() -> None:
        store = await node(database, clock=clock)
        await store._db.write(lambda c: c.execute(_META["put_number"], "schema", SCHEMA + 1))
        with pytest.raises(SchemaTooNew, match=f"schema {SCHEMA + 1}; .* up to {SCHEMA}"):
            await node(database, clock=clock)

    run(closing(story()))


@pytest.mark.parametrize(
    ("table", "setting"),
    [
        ("idempotency", "autovacuum_vacuum_scale_factor=0"),
        ("recipient", "autovacuum_vacuum_scale_factor=0.02"),
        ("lane", "autovacuum_vacuum_scale_factor=0"),
        ("dispatch_", "fillfactor=50"),
        ("settled_", "fillfactor=50"),
    ],
)
def test_hot_tables_of_an_older_store_have_their_settings(
    table: str, setting: str, database: str, clock: StillClock, run: Run
) -> None:
    """Also every week of them: those there were, and those made since."""

    async def story() -> None:
        await left_by_the_first_release(database)
        clock.ms += 9 * WEEK_MS
        store = await node(database, clock=clock)
        await store.upkeep()
        sql_ = "SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND relname LIKE $1"
        found = await store._db.fetch(sql_, f"{table}w%" if table.endswith("_") else table)
        assert len(found) == (6 if table.endswith("_") else 1)
        for name, options in found:
            assert setting in options, name

    run(closing(story()))
