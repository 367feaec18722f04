"""The schema of the embedded store: its version, how it is made and brought up to date, and what keeps it shut."""

from pathlib import Path
from typing import Final

import apsw
import uuid_utils

from homing.errors import NoSuchStore, StoreMoved, WrongMasterKey
from homing.store.migrations import Migration, pending, refuse_newer, statement
from homing.store.sql import load
from homing.store.sqlite.onlooker import MOVED, Onlooker
from homing.store.sqlite.rest import at_rest

SCHEMA: Final = 2
_META: Final = load("sqlite", "meta")


def get(connection: apsw.Connection, name: str) -> object:
    """Return what the store knows of itself under a name; None for nothing."""
    row = connection.execute(_META["get"], (name,)).fetchone()
    return None if row is None else row[0]


def put(connection: apsw.Connection, name: str, value: int | str | bytes) -> None:
    """Have the store know something of itself."""
    connection.execute(_META["put"], (name, value))


def is_there(connection: apsw.Connection) -> bool:
    """Say whether the file holds a store of any schema."""
    return connection.execute(_META["has_meta"]).fetchone() is not None


def bring(connection: apsw.Connection, key_id: str) -> list[Migration]:
    """Make the schema or bring it up to date inside the caller's transaction; return the steps that were taken.

    Raises `SchemaTooNew`, `StoreMoved`, or `WrongMasterKey` unless ``key_id`` is empty or the store's.
    """
    is_new = not is_there(connection)
    if is_new:
        connection.execute(statement("sqlite", 1))
        put(connection, "schema", 1)
        put(connection, "store_id", str(uuid_utils.uuid4()))
        put(connection, "key_id", key_id)
    schema = refuse_newer(get(connection, "schema"), SCHEMA)
    moved = get(connection, MOVED)
    if moved is not None:
        raise StoreMoved(
            f"this store was moved to {moved}: serve that; `homing migrate --reopen` is the way back"
        )
    if key_id and get(connection, "key_id") != key_id:
        raise WrongMasterKey(
            "the store's secrets are sealed under another key: check [security] master_key_file"
        )
    steps = pending("sqlite", schema, SCHEMA)
    for step in steps:
        connection.execute(statement("sqlite", step.number))
        put(connection, "schema", step.number)
    return pending("sqlite", 0, SCHEMA) if is_new else steps


def plan(path: Path) -> list[tuple[Migration, dict[str, int]]]:
    """Return the steps that are to come, each with the rows of the tables it changes. Changes nothing.

    Raises `NoSuchStore`, `SchemaTooNew`, or `Unavailable`. A server may have the store meanwhile.
    """
    if not path.is_file() or not path.stat().st_size:
        raise NoSuchStore(f"there is no store at {path}")
    with Onlooker(path) as onlooker:
        schema = onlooker.schema()
        if schema is None:
            raise NoSuchStore(f"{path} holds no store of Homing's")
        steps = pending("sqlite", refuse_newer(schema, SCHEMA), SCHEMA)
        return [(step, {table: onlooker.rows(table) for table in step.tables}) for step in steps]


def migrate(path: Path) -> list[Migration]:
    """Bring a store that nobody serves up to date; return the steps that were taken, all of them on disk, or none.

    Raises `NoSuchStore`, `StoreLocked`, and as `bring`.
    """
    with at_rest(path) as connection:
        if not is_there(connection):
            raise NoSuchStore(f"{path} holds no store of Homing's")
        connection.execute("BEGIN IMMEDIATE")
        try:
            steps = bring(connection, "")
            connection.execute("COMMIT")
        except BaseException:
            if not connection.get_autocommit():
                connection.execute("ROLLBACK")
            raise
    return steps
