"""What each change of a listener does to its row, inside the caller's transaction; reading the feed is `archive_feed`'s."""

from typing import Final

import apsw

from homing.errors import Conflict, NotFound
from homing.model import Listener
from homing.store.changes import DeleteListener, MoveListener, OpenListener
from homing.store.sql import load
from homing.store.sqlite.archive_feed import head
from homing.store.sqlite.nouns import Row, as_json, to_listener
from homing.store.sqlite.registry_changes import one

STALE_MS: Final = 90 * 24 * 3600 * 1000
"""How long a name is kept that nobody holds."""
_SQL: Final = load("sqlite", "registry")


def open_listener(connection: apsw.Connection, change: OpenListener) -> Listener:
    """See `OpenListener`."""
    connection.execute(_SQL["drop_stale_listeners"], (change.now_ms - STALE_MS,))
    reach, apps = as_json(change.reach), None if change.apps is None else as_json(change.apps)
    found = one(connection, "listener", reach, change.name)
    if found is None:
        position = head(connection) if change.position is None else change.position
        return _row(one(
            connection, "add_listener",
            reach, change.name, apps, change.secret, position, change.holder, change.lease, change.until_ms,
            change.now_ms,
        ))  # fmt: skip
    now = to_listener(found)
    if now.lease != change.lease and now.held_until_ms > change.now_ms and not change.takes_over:
        raise _held(now)
    return _row(one(
        connection, "hold_listener",
        reach, change.name, apps, change.position, change.holder, change.lease, change.until_ms, change.now_ms,
    ))  # fmt: skip


def move_listener(connection: apsw.Connection, change: MoveListener) -> Listener:
    """See `MoveListener`."""
    reach = as_json(change.reach)
    now = _row(one(connection, "listener", reach, change.name))
    if now.lease != change.lease:
        raise _held(now)
    return _row(one(
        connection, "move_listener",
        reach, change.name, change.position, head(connection), change.until_ms, change.now_ms,
    ))  # fmt: skip


def delete_listener(connection: apsw.Connection, change: DeleteListener) -> None:
    """See `DeleteListener`."""
    if one(connection, "drop_listener", as_json(change.reach), change.name) is None:
        raise NotFound("there is no such listener")


def _row(row: Row | None) -> Listener:
    if row is None:
        raise NotFound("there is no such listener")
    return to_listener(row)


def _held(listener: Listener) -> Conflict:
    return Conflict(f"{listener.name} is held by {listener.holder}")
