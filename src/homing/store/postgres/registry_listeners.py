"""What each change of a listener does to its row, inside the caller's transaction; reading the feed is `archive_feed`'s."""

from typing import Any, Final

from homing.errors import Conflict, NotFound
from homing.model import Listener
from homing.store.changes import DeleteListener, MoveListener, OpenListener
from homing.store.postgres import archive_feed as feed
from homing.store.postgres.database import Again
from homing.store.postgres.registry_changes import one
from homing.store.sql import load
from homing.store.sqlite.nouns import Row, as_json, to_listener
from homing.store.sqlite.registry_listeners import STALE_MS

_SQL: Final = load("postgres", "registry")


async def open_listener(connection: Any, change: OpenListener, now_ms: int, feed_lag_ms: int) -> Listener:
    """See `OpenListener`; a new one begins where the feed ends for readers, behind which something may still come."""
    await connection.execute(_SQL["drop_stale_listeners"], change.now_ms - STALE_MS)
    reach, apps = as_json(change.reach), None if change.apps is None else as_json(change.apps)
    found = await one(connection, "lock_listener", reach, change.name)
    if found is None:
        position = change.position
        if position is None:
            position = await feed.head(connection, await feed.safe_line(connection, now_ms, feed_lag_ms))
        added = await one(
            connection, "add_listener",
            reach, change.name, apps, change.secret, position, change.holder, change.lease, change.until_ms,
            change.now_ms,
        )  # fmt: skip
        if added is None:
            raise Again("another node opened the same listener")
        return to_listener(added)
    now = to_listener(found)
    if now.lease != change.lease and now.held_until_ms > change.now_ms and not change.takes_over:
        raise _held(now)
    return _found(await one(
        connection, "hold_listener",
        reach, change.name, apps, change.position, change.holder, change.lease, change.until_ms, change.now_ms,
    ))  # fmt: skip


async def move_listener(connection: Any, change: MoveListener) -> Listener:
    """See `MoveListener`; the end is that of all there is, for what one node told another must not take back."""
    reach = as_json(change.reach)
    now = _found(await one(connection, "lock_listener", reach, change.name))
    if now.lease != change.lease:
        raise _held(now)
    end = await feed.head(connection, feed.NOWHERE)
    return _found(await one(
        connection, "move_listener", reach, change.name, change.position, end, change.until_ms, change.now_ms
    ))  # fmt: skip


async def delete_listener(connection: Any, change: DeleteListener) -> None:
    """See `DeleteListener`."""
    if await one(connection, "drop_listener", as_json(change.reach), change.name) is None:
        raise NotFound("there is no such listener")


def _found(row: Row | None) -> Listener:
    if row is None:
        raise NotFound("there is no such listener")
    return to_listener(row)


def _held(listener: Listener) -> Conflict:
    return Conflict(f"{listener.name} is held by {listener.holder}")
