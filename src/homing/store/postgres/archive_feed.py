"""All events in the order in which they were recorded, for whoever follows: up to where nothing can come behind.

A transaction takes its positions at its beginning and may commit later. So what is read ends a few seconds ago, and
before the oldest transaction of any node that still runs (ADR 0007). It never writes.
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


def line(until_ms: int, running_ms: int | None) -> int:
    """Return the last position that is safe to read: before an instant, and before what began then and still runs."""
    if running_ms is not None:
        until_ms = min(until_ms, running_ms - _CLOCKS_MS)
    return first_of(until_ms + 1) - 1


async def page(
    connection: Any, apps: tuple[int, ...] | None, after: int, limit: int, until: int, *, incoming: bool
) -> FeedPage:
    """See `port.Archive.feed`; nothing behind position ``until`` is looked at."""
    wanted = None if apps is None else frozenset(apps)
    look = limit if wanted is None else max(limit, _LOOKED_AT)
    rows = await connection.fetch(_SQL["feed"], after, until, look)
    last = rows[-1][0] if len(rows) == look else await head(connection, until)
    items = [
        FeedItem(position, key, app, n, status, at_ms, Facts(app, *facts))
        for position, key, app, n, status, at_ms, *facts in rows
        if wanted is None or app in wanted
    ]
    if incoming:
        others = await connection.fetch(_SQL["feed_incoming"], after, last, look)
        if len(others) == look:
            last = others[-1][0]
            items = [item for item in items if item.position <= last]
        items += _incoming(others, wanted)
        items.sort(key=_position)
    if len(items) > limit:
        items = items[:limit]
        last = items[-1].position
    return FeedPage(tuple(items), max(last, after))


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


def since(at_ms: int) -> int:
    """See `port.Archive.feed_since`: nothing is recorded before it happens, so what is behind this holds all of it."""
    return first_of(at_ms) - 1
