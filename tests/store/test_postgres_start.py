"""How nodes start on one database: its tables are made once, and what it is not is said."""

import asyncio
import os
from typing import Any

import asyncpg
import pytest
from tests.store import databases
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock
from tests.store.steps import closing, node

from homing.errors import SchemaTooNew, Unavailable, WrongMasterKey
from homing.store.postgres import SCHEMA

pytestmark = needs_postgres


def test_nodes_that_start_at_once_make_the_tables_once(run: Run) -> None:
    """Four on an empty database: one makes the tables, each gets an epoch of its own; the store is one and the same."""

    async def story() -> None:
        name = f"homing_race_{os.getpid()}"
        await databases.administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        stores = await asyncio.gather(*(node(databases.address(name)) for _ in range(4)))
        assert len({store.epoch for store in stores}) == 4
        assert len({store.store_id for store in stores}) == 1
        for store in stores:
            await store.close()
        await databases.administer(f"DROP DATABASE {name} WITH (FORCE)")

    run(closing(story()))


def test_a_store_of_a_newer_homing_is_refused(database: str, clock: StillClock, run: Run) -> None:
    """Naming both versions; so is one whose secrets are sealed under another key."""

    async def story() -> None:
        store = await node(database, clock=clock)
        await store._db.write(lambda c: c.execute("UPDATE meta SET number = 99 WHERE name = 'schema'"))
        await store.close()
        with pytest.raises(SchemaTooNew, match=rf"99.*{SCHEMA}"):
            await node(database, clock=clock)

    async def other_key() -> None:
        store = await node(database, clock=clock)
        await store._db.write(lambda c: c.execute("UPDATE meta SET number = 1 WHERE name = 'schema'"))

    run(closing(story()))

    async def sealed() -> None:
        connection: Any = await asyncpg.connect(database)
        await connection.execute("UPDATE meta SET number = 1 WHERE name = 'schema'")
        await connection.close()
        with pytest.raises(WrongMasterKey):
            await node(database, clock=clock, key_id="another")

    run(closing(sealed()))


def test_a_server_that_cannot_be_reached_is_said_to_be(run: Run) -> None:
    """Nobody listens there."""

    async def story() -> None:
        with pytest.raises(Unavailable):
            await node("postgresql://homing@127.0.0.1:1/none")

    run(closing(story()))
