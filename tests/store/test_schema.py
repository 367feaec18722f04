"""The schema's steps: what a plan says of them, and that a store of the step before keeps what it held."""

import pytest
from tests.postgres.address import USER, free_port
from tests.postgres.address import dsn as address
from tests.postgres.server import Server
from tests.store import later
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock
from tests.store.ledger import build_town, post, told

from homing.errors import SchemaTooNew, StoreMoved, Unavailable
from homing.store import migrations
from homing.store.migrations import pending
from homing.store.postgres import PostgresStore, schema
from homing.store.postgres.beside import beside


def test_a_step_says_what_it_changes() -> None:
    """Tables that were there and are altered, indexed or written; not what it makes, nor what a function does later."""
    step = migrations._described(99, later.NEXT)
    assert step == (99, "what a later release brings", ("app", "recipient", "lane"))
    (second,) = pending("sqlite", 1, 2)
    assert second.tables == ("app", "endpoint", "dispatch", "lane", "attempt", "message", "event", "incoming")
    assert all(step.title for store in ("sqlite", "postgres") for step in pending(store, 0, 1))


@needs_postgres
def test_a_later_release_keeps_what_the_database_held(
    database: str, run: Run, a_later_release: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan tells rows and bytes and changes nothing; a start takes the step once, and this release refuses it then."""

    async def story() -> None:
        clock = StillClock()
        store = await PostgresStore.open(database, clock=clock, beats=False)
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        async with beside(database) as connection:
            assert (await schema.look(connection)).nodes == 1
        await store.close()
        with monkeypatch.context() as patched:
            patched.setattr(schema, "SCHEMA", a_later_release)
            async with beside(database) as connection:
                ((step, sizes),) = await schema.plan(connection)
                assert step.number == a_later_release
                assert sizes["lane"][1] > 0
                assert (await schema.look(connection)).schema == a_later_release - 1
                assert [one.number for one in await schema.migrate(connection, "")] == [a_later_release]
                assert await schema.migrate(connection, "") == []
                assert await connection.fetchval("SELECT later FROM app") == "as before"
            store = await PostgresStore.open(database, clock=clock, beats=False)
            assert await told(store, key)
            await store.close()
        with pytest.raises(SchemaTooNew, match=rf"{a_later_release}.*{schema.SCHEMA}"):
            await PostgresStore.open(database, clock=clock, beats=False)

    run(story())


@needs_postgres
def test_a_step_that_fails_leaves_the_database_as_it_was(
    database: str, run: Run, a_later_release: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statements are one transaction: half of a step is none."""
    monkeypatch.setattr(schema, "SCHEMA", a_later_release)
    monkeypatch.setattr(later, "NEXT", later.NEXT + "ALTER TABLE nowhere ADD COLUMN no TEXT;")

    async def story() -> None:
        async with beside(database) as connection:
            with pytest.raises(Exception, match="nowhere"):
                await schema.migrate(connection, "")
            assert (await schema.look(connection)).schema == a_later_release - 1
            assert await connection.fetchval("SELECT to_regclass('later')") is None

    run(story())


@needs_postgres
def test_no_node_starts_on_a_copy_that_is_not_finished(database: str, run: Run) -> None:
    """It would tell what it has twice, and never what is missing."""

    async def story() -> None:
        async with beside(database) as connection:
            await connection.execute("INSERT INTO meta(name, words) VALUES ('moving', 'x')")
        with pytest.raises(StoreMoved, match="not finished"):
            await PostgresStore.open(database, clock=StillClock(), beats=False)

    run(story())


def test_a_verb_finds_the_server_that_answers(postgres: Server, fresh_database: str, run: Run) -> None:
    """An address may name several; where none answers, each is told with what was wrong, and no password."""
    nobody = free_port()

    async def story() -> None:
        several = address([nobody, postgres.port], USER, postgres.password, fresh_database)
        async with beside(several) as connection:
            assert (await schema.look(connection)).schema == 0
        with pytest.raises(Unavailable, match=f"cannot be reached: 127.0.0.1:{nobody}: ") as refused:
            async with beside(address([nobody], USER, "hidden", fresh_database)):
                pass
        assert "hidden" not in str(refused.value)

    run(story())
