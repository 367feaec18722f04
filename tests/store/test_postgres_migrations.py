"""A database that an earlier release left is opened, migrated, and goes on with what it held."""

import asyncpg
import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import NOON_MS, StillClock, message_id
from tests.store.steps import closing, node

from homing.errors import SchemaTooNew
from homing.model import dispatch_key
from homing.store import sql
from homing.store.postgres import SCHEMA, partitions
from homing.store.postgres.partitions import WEEK_MS

pytestmark = needs_postgres

_META = sql.load("postgres", "meta")


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
