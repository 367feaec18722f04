"""All events in the order of their commits, for whoever follows: by position, which only grows. It never writes."""

from typing import Final

import apsw

from homing.model import INCOMING_POSITION, DispatchKey, MessageId, dispatch_key
from homing.store.batch import Facts, IncomingFacts
from homing.store.sql import load
from homing.store.sqlite.nouns import Row, fetch
from homing.store.views import FeedItem, FeedPage

_SQL: Final = load("sqlite", "archive")
_LOOKED_AT: Final = 2_000
"""How many positions one question looks at: who wants few of many goes on from `FeedPage.last`."""


def page(
    connection: apsw.Connection, apps: tuple[int, ...] | None, after: int, limit: int, *, incoming: bool
) -> FeedPage:
    """See `port.Archive.feed`. One writer commits at a time, so nothing appears behind what is there."""
    wanted = None if apps is None else frozenset(apps)
    look = limit if wanted is None else max(limit, _LOOKED_AT)
    rows = fetch(connection, _SQL["feed"], (after, look))
    last = rows[-1][0] if len(rows) == look else head(connection)
    items = [
        FeedItem(position, key, app, n, status, at_ms, Facts(app, *facts))
        for position, key, app, n, status, at_ms, *facts in rows
        if wanted is None or app in wanted
    ]
    if incoming:
        others = fetch(connection, _SQL["feed_incoming"], (after, last, look))
        if len(others) == look:
            last = others[-1][0]
            items = [item for item in items if item.position <= last]
        items += _incoming(others, wanted)
        items.sort(key=_position)
    if len(items) > limit:
        items = items[:limit]
        last = items[-1].position
    return FeedPage(tuple(items), max(last, after))


def _incoming(rows: list[Row], wanted: frozenset[int] | None) -> list[FeedItem]:
    items = []
    for position, id_, app, at_ms, identifier, text, channel, reply in rows:
        if wanted is None or app in wanted:
            facts = IncomingFacts(app, identifier, text, channel, None if reply is None else MessageId(reply))
            key = DispatchKey(dispatch_key(id_, INCOMING_POSITION))
            items.append(FeedItem(position, key, app, 1, 0, at_ms, facts))
    return items


def _position(item: FeedItem) -> int:
    return item.position


def head(connection: apsw.Connection) -> int:
    """See `port.Archive.feed_head`."""
    return int(fetch(connection, _SQL["feed_head"], ())[0][0])


def since(connection: apsw.Connection, at_ms: int) -> int:
    """See `port.Archive.feed_since`: found by halves, for times grow with positions but for deadlines told late.

    Those are stamped with their own time and stand further on, so nothing is passed over that happened from then on.
    """
    low, high = 0, head(connection)
    while low < high:
        middle = (low + high) // 2
        found = fetch(connection, _SQL["first_event_from"], (middle + 1,))
        if not found or found[0][1] >= at_ms:
            high = middle
        else:
            low = found[0][0]
    return low
