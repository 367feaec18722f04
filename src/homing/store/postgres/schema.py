"""The schema on PostgreSQL: its version, how it is made and brought up to date, and what keeps it shut."""

from typing import Any, Final, NamedTuple

import uuid_utils

from homing.errors import StoreMoved, WrongMasterKey
from homing.store.migrations import Migration, pending, refuse_newer, statement
from homing.store.postgres import partitions
from homing.store.sql import load

SCHEMA: Final = 2
MOVING: Final = "moving"
"""Name in ``meta`` under which a copy that is not finished says what it is of (`homing migrate --to`)."""
_LONGEST_S: Final = 7 * 24 * 3_600.0
"""No step takes so long; without a limit of its own each has the connection's."""
_META: Final = load("postgres", "meta")
_NODES: Final = load("postgres", "nodes")
_SQL: Final = load("postgres", "schema")


class State(NamedTuple):
    """What a database holds of ours: its schema (0: nothing yet), and how many nodes live on it."""

    schema: int
    nodes: int


async def bring(connection: Any, key_id: str, now_ms: int) -> str:
    """Make the schema or bring it up to date, one node at a time; return the store's id.

    Raises `SchemaTooNew`, `StoreMoved` while a copy into it is not finished, or `WrongMasterKey`.
    """
    await connection.execute(_META["lock_schema"])
    if not await connection.fetchval(_META["has_meta"]):
        await create(connection, str(uuid_utils.uuid4()), key_id, 1)
    schema = refuse_newer(await connection.fetchval(_META["number"], "schema"), SCHEMA)
    moving = await connection.fetchval(_META["words"], MOVING)
    if moving is not None:
        raise StoreMoved(
            "a copy into this database is not finished: run the same `homing migrate --to` again"
        )
    if key_id and await connection.fetchval(_META["words"], "key_id") != key_id:
        raise WrongMasterKey(
            "the store's secrets are sealed under another key: check [security] master_key_file"
        )
    await _step(connection, schema, SCHEMA)
    await partitions.make_due(connection, now_ms)
    return str(await connection.fetchval(_META["words"], "store_id"))


async def create(connection: Any, store_id: str, key_id: str, schema: int) -> None:
    """Make the tables of a schema in a database that has none of ours; no partition yet."""
    await connection.execute(statement("postgres", 1))
    await connection.execute(_META["put_number"], "schema", 1)
    await connection.execute(_META["put_words"], "store_id", store_id)
    await connection.execute(_META["put_words"], "key_id", key_id)
    await _step(connection, 1, schema)


async def look(connection: Any) -> State:
    """Return what a database holds; `SchemaTooNew` where this program does not know it. Changes nothing."""
    if not await connection.fetchval(_META["has_meta"]):
        return State(0, 0)
    schema = refuse_newer(await connection.fetchval(_META["number"], "schema"), SCHEMA)
    return State(schema, await connection.fetchval(_SQL["living_nodes"]))


async def plan(connection: Any) -> list[tuple[Migration, dict[str, tuple[int, int]]]]:
    """Return the steps that are to come, each with the tables it changes: about how many rows, and bytes with indexes."""
    steps = pending("postgres", (await look(connection)).schema, SCHEMA)
    return [
        (step, {table: await _size(connection, table) for table in step.tables if step.number > 1})
        for step in steps
    ]


async def migrate(connection: Any, key_id: str) -> list[Migration]:
    """Bring a database up to date in one transaction, nodes or not; return the steps that were taken. Raises as `bring`."""
    async with connection.transaction():
        await connection.execute(_META["lock_schema"])
        steps = pending("postgres", (await look(connection)).schema, SCHEMA)
        await bring(connection, key_id, await connection.fetchval(_NODES["clock"]))
    return steps


async def _size(connection: Any, table: str) -> tuple[int, int]:
    rows, size_bytes = await connection.fetchrow(_SQL["size_of_table"], table)
    return rows or 0, size_bytes or 0


async def _step(connection: Any, have: int, wanted: int) -> None:
    """Take the steps, however long the tables make them: one that was cut off would begin anew each time, and never end."""
    steps = pending("postgres", have, wanted)
    if not steps:
        return
    await connection.execute(_SQL["lift_limit"])
    for step in steps:
        await connection.execute(statement("postgres", step.number), timeout=_LONGEST_S)
        await connection.execute(_META["put_number"], "schema", step.number)
    await connection.execute(_SQL["limit_again"])
