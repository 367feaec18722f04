"""What a deleted endpoint leaves on PostgreSQL: gone for everybody at once, deleted by steps, whoever dies in between."""

import asyncio
import os
import time
from typing import Any, Final

import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock
from tests.store.ledger import Town, build_town, post, settle, settled
from tests.store.steps import closing, node, somebody_is_held_up
from tests.store.test_postgres_weeks import session

from homing.errors import NotFound
from homing.store.batch import Verdict
from homing.store.changes import DeleteApp, DeleteEndpoint
from homing.store.port import Retention
from homing.store.postgres import PostgresStore, remains
from homing.store.postgres.rows import hold
from homing.store.registry import endpoints

pytestmark = needs_postgres

LANES: Final = 50_000 if os.environ.get("HOMING_CHAOS") == "full" else 500
FILL: Final = """
INSERT INTO lane(key, endpoint, pending, due, owner)
SELECT substr(int8send(1700000000000 + n), 3) || int8send(n) || '\\x00000000', $1, 1,
  CASE WHEN n % 2 = 0 THEN 1700000000000 + n END, CASE WHEN n % 2 = 0 THEN 0 ELSE $2 END
FROM generate_series(1::bigint, $3::bigint) AS n
"""
"""Every other lane waits in the store; the rest is held by a node, and is in no index."""


async def owe(store: PostgresStore, endpoint: int, lanes: int = LANES) -> None:
    """Have very many callbacks waiting for an endpoint."""
    await store._db.write(lambda c: c.execute(FILL, endpoint, store.epoch, lanes))


async def left(store: PostgresStore, table: str, endpoint: int) -> int:
    """Return how many rows of an endpoint there are."""
    rows = await store._db.fetch(f"SELECT count(*) FROM {table} WHERE endpoint = $1", endpoint)
    return int(rows[0][0])


async def swept(store: PostgresStore) -> None:
    """Return when what the store does beside everything else is done."""
    while store._tasks:
        await next(iter(store._tasks))


async def given_up(store: PostgresStore, town: Town) -> None:
    """Have one callback given up."""
    key = await post(store, town.app, "nobody")
    await settle(store, settled(key, town.endpoint.id, 1, Verdict.DEAD, reason="gave_up"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("whole_app", [False, True])
def test_deleting_what_is_owed_very_much_answers_before_all_is_deleted(
    whole_app: bool, database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is gone with the answer, no statement deletes more than a stride, and afterwards nothing is left."""
    monkeypatch.setattr(remains.sweep, "__defaults__", (max(LANES // 10, 1),))

    async def story() -> None:
        store = await node(database, clock=clock)
        town, other = await build_town(store), await build_town(store)
        await given_up(store, town)
        await owe(store, town.endpoint.id)
        await owe(store, other.endpoint.id, 10)
        began_s = time.monotonic()
        change = DeleteApp(town.app) if whole_app else DeleteEndpoint(town.app, town.endpoint.uid)
        await store.apply(change)
        answered_s = time.monotonic() - began_s
        assert await store.endpoint(town.app, town.endpoint.uid) is None
        assert (await store.outlook()).lanes_due.keys() == {other.endpoint.id}
        with pytest.raises(NotFound):
            await store.apply(DeleteEndpoint(town.app, town.endpoint.uid))
        await swept(store)
        print(
            f"{LANES} lanes: answered after {answered_s:.3f} s, swept after {time.monotonic() - began_s:.2f} s"
        )
        assert [await left(store, table, town.endpoint.id) for table in ("lane", "dead", "doomed")] == [
            0,
            0,
            0,
        ]
        assert await left(store, "lane", other.endpoint.id) == 10

    run(closing(story()))


def test_another_node_ends_what_one_that_died_began(database: str, clock: StillClock, run: Run) -> None:
    """The walk goes on from where it stood, with the other's next upkeep."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        await given_up(store, town)
        await owe(store, town.endpoint.id, 50)

        async def begin(connection: Any) -> None:
            await hold(
                connection, endpoints.delete_endpoint(DeleteEndpoint(town.app, town.endpoint.uid), clock.ms)
            )
            assert await remains.sweep(connection, 20)

        await store._db.write(begin)
        assert 0 < await left(store, "lane", town.endpoint.id) < 50
        other = await node(database, clock=clock)
        await other.prune(Retention(None, None, None), 500)
        assert [await left(other, table, town.endpoint.id) for table in ("lane", "dead", "doomed")] == [
            0,
            0,
            0,
        ]

    run(closing(story()))


async def delete(store: PostgresStore, town: Town) -> None:
    """Delete an endpoint, and leave the sweep to the test."""
    change = DeleteEndpoint(town.app, town.endpoint.uid)
    await store._db.write(lambda c: hold(c, endpoints.delete_endpoint(change, store.now_ms())))


def test_what_is_given_up_while_another_node_is_at_the_lanes_goes(
    database: str, clock: StillClock, run: Run
) -> None:
    """A second node leaves the endpoint's dead letters until its lanes are gone: there may be more of them until then."""

    async def story() -> None:
        first, second = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(first)
        key = await post(first, town.app, "nobody", at_ms=clock.ms + 1_000)
        await owe(first, town.endpoint.id, 50)
        await delete(first, town)

        async def walk(connection: Any) -> None:
            assert await remains.sweep(connection, 20)
            await second.sweep()

        await first._db.write(walk)
        await settle(first, settled(key, town.endpoint.id, 1, Verdict.DEAD, reason="gave_up"))
        assert await left(first, "dead", town.endpoint.id) == 1
        await first.sweep()
        for table in ("lane", "dead", "doomed"):
            assert await left(first, table, town.endpoint.id) == 0

    run(closing(story()))


def test_a_dead_letter_that_somebody_has_locked_goes_too(database: str, clock: StillClock, run: Run) -> None:
    """The sweep waits for whoever has it, instead of taking what it cannot have for the end."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        await given_up(store, town)
        async with session(database) as other:
            await other.execute("BEGIN")
            await other.execute("SELECT 1 FROM dead FOR UPDATE")
            await delete(store, town)
            sweeping = asyncio.ensure_future(store.sweep())
            await somebody_is_held_up(other)
            await other.execute("ROLLBACK")
            await sweeping
        for table in ("dead", "doomed"):
            assert await left(store, table, town.endpoint.id) == 0

    run(closing(story()))
