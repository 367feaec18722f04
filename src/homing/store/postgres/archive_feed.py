"""All events in the order in which they were recorded, for whoever follows: up to where nothing can come behind.

A transaction takes its positions at its beginning and may commit later. So what is read ends a few seconds ago, and
before the oldest transaction of any node that still runs (ADR 0008). It never writes.
"""

from typing import Any, Final

from homing.model import INCOMING_POSITION, DispatchKey, MessageId, dispatch_key
from homing.store.batch import Facts, IncomingFacts
from homing.store.postgres.positions import first_of
from homing.store.sql import load
from homing.store.views import FeedItem, FeedPage

_SQL: Final = load("postgres", "archive")
_LOOKED_AT: Final = 2_000
"""How many positions one question looks at: who wants few of many goes on from `FeedPage.last`."""
_CLOCKS_MS: Final = 1_000
"""By so much a node's idea of the database's clock may be wrong."""

NOWHERE: Final = 2**63 - 1
"""A position that none is behind."""


def line(until_ms: int, running_ms: int | None) -> int:
    """Return the last position that is safe to read: before an instant, and before what began then and still runs."""
    if running_ms is not None:
        until_ms = min(until_ms, running_ms - _CLOCKS_MS)
    return first_of(until_ms + 1) - 1


async def safe_line(connection: Any, now_ms: int, lag_ms: int) -> int:
    """Return the line for whoever reads in statements after this one."""
    return line(now_ms - lag_ms, await connection.fetchval(_SQL["oldest_transaction"]))


async def page(
    connection: Any, apps: tuple[int, ...] | None, after: int, limit: int, until: int, *, incoming: bool
) -> FeedPage:
    """See `port.Archive.feed`; nothing behind position ``until`` is looked at."""
    wanted = None if apps is None else frozenset(apps)
    look = limit if wanted is None else max(limit, _LOOKED_AT)
    rows = await connection.fetch(_SQL["feed"], after, until, look + 1)
    is_end = len(rows) <= look
    rows = rows[:look]
    last = await _end_behind(connection, after, until) if is_end else rows[-1][0]
    items = [
        FeedItem(position, key, app, n, status, at_ms, Facts(app, *facts))
        for position, key, app, n, status, at_ms, *facts in rows
        if wanted is None or app in wanted
    ]
    if incoming:
        others = await connection.fetch(_SQL["feed_incoming"], after, last, look + 1)
        if len(others) > look:
            others, is_end = others[:look], False
            last = others[-1][0]
            items = [item for item in items if item.position <= last]
        items += _incoming(others, wanted)
        items.sort(key=_position)
    if len(items) > limit:
        items, is_end = items[:limit], False
        last = items[-1].position
    return FeedPage(tuple(items), last, is_end)


def _incoming(rows: list[Any], wanted: frozenset[int] | None) -> list[FeedItem]:
    items = []
    for position, id_, app, at_ms, identifier, text, channel, reply in rows:
        if wanted is None or app in wanted:
            facts = IncomingFacts(app, identifier, text, channel, None if reply is None else MessageId(reply))
            key = DispatchKey(dispatch_key(id_, INCOMING_POSITION))
            items.append(FeedItem(position, key, app, 1, 0, at_ms, facts))
    return items


def _position(item: FeedItem) -> int:
    return item.position


async def head(connection: Any, until: int) -> int:
    """See `port.Archive.feed_head`; up to a position."""
    return int(await connection.fetchval(_SQL["feed_head"], until))


async def _end_behind(connection: Any, after: int, until: int) -> int:
    """Return the end for who stands at ``after``: another node may have told more already, but not more than there is."""
    last = await head(connection, until)
    return last if after <= last else min(after, await head(connection, NOWHERE))


async def since(connection: Any, at_ms: int, until: int) -> int:
    """See `port.Archive.feed_since`: nothing is recorded before it happens, so what is behind this holds all of it."""
    return min(max(first_of(at_ms) - 1, 0), await head(connection, until))
