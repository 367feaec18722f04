"""What each change of a listener does to its row, inside the caller's transaction; reading the feed is `archive.feed`'s."""

from collections.abc import Callable
from typing import Final, NamedTuple

from homing.errors import Conflict, NotFound
from homing.model import Listener
from homing.store.changes import DeleteListener, MoveListener, OpenListener
from homing.store.dialogue import Again, Dialogue, Row
from homing.store.nouns import as_json, to_listener
from homing.store.registry.rows import every, one

STALE_MS: Final = 90 * 24 * 3600 * 1000
"""How long a name is kept that nobody holds."""


class Ends(NamedTuple):
    """Where the feed ends: for who reads it now (behind that something may still come), and of all there is.

    What one node told a listener another must not take back.
    """

    readable: Callable[[], Dialogue[int]]
    last: Callable[[], Dialogue[int]]


def open_listener(change: OpenListener, ends: Ends) -> Dialogue[Listener]:
    """See `OpenListener`; a new one begins where the feed ends for readers."""
    yield from every("drop_stale_listeners", change.now_ms - STALE_MS)
    reach, apps = as_json(change.reach), None if change.apps is None else as_json(change.apps)
    found = yield from one("lock_listener", reach, change.name)
    if found is None:
        position = change.position
        if position is None:
            position = yield from ends.readable()
        added = yield from one(
            "add_listener",
            reach, change.name, apps, change.secret, position, change.holder, change.lease, change.until_ms,
            change.now_ms,
        )  # fmt: skip
        if added is None:
            raise Again("another node opened the same listener")
        return to_listener(added)
    now = to_listener(found)
    if now.lease != change.lease and now.held_until_ms > change.now_ms and not change.takes_over:
        raise _held(now)
    held = yield from one(
        "hold_listener",
        reach, change.name, apps, change.position, change.holder, change.lease, change.until_ms, change.now_ms,
    )  # fmt: skip
    return _found(held)


def move_listener(change: MoveListener, ends: Ends) -> Dialogue[Listener]:
    """See `MoveListener`."""
    reach = as_json(change.reach)
    now = _found((yield from one("lock_listener", reach, change.name)))
    if now.lease != change.lease:
        raise _held(now)
    end = yield from ends.last()
    moved = yield from one(
        "move_listener", reach, change.name, change.position, end, change.until_ms, change.now_ms
    )
    return _found(moved)


def delete_listener(change: DeleteListener) -> Dialogue[None]:
    """See `DeleteListener`."""
    if (yield from one("drop_listener", as_json(change.reach), change.name)) is None:
        raise NotFound("there is no such listener")


def _found(row: Row | None) -> Listener:
    if row is None:
        raise NotFound("there is no such listener")
    return to_listener(row)


def _held(listener: Listener) -> Conflict:
    return Conflict(f"{listener.name} is held by {listener.holder}")
