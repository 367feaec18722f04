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
    rows = fetch(connection, _SQL["feed"], (after, look + 1))
    is_end = len(rows) <= look
    rows = rows[:look]
    last = head(connection) if is_end else rows[-1][0]
    items = [
        FeedItem(position, key, app, n, status, at_ms, Facts(app, *facts))
        for position, key, app, n, status, at_ms, *facts in rows
        if wanted is None or app in wanted
    ]
    if incoming:
        others = fetch(connection, _SQL["feed_incoming"], (after, last, look + 1))
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
    """See `port.Archive.feed_since`.

    Found by halves among the first events of dispatches, which alone are stamped with the time of their commit: receipts
    may be stamped with a phone's time of yesterday, and deadlines that passed in a downtime with their own. From the last
    one that is older it is looked on, past whatever is older too.
    """
    low, high = 0, head(connection)
    end = high
    while low < high:
        middle = (low + high) // 2
        found = fetch(connection, _SQL["first_accept_from"], (middle + 1,))
        if not found or found[0][1] >= at_ms:
            high = middle
        else:
            low = found[0][0]
    first = fetch(connection, _SQL["first_from"], (low, at_ms))[0][0]
    return end if first is None else int(first) - 1
