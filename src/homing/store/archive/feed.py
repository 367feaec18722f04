"""All events in the order in which they were recorded, for whoever follows: by position, which only grows."""

from typing import Final

from homing.model import INCOMING_POSITION, DispatchKey, MessageId, dispatch_key
from homing.store.batch import Facts, IncomingFacts
from homing.store.dialogue import Ask, Dialogue, Row
from homing.store.views import FeedItem, FeedPage

_LOOKED_AT: Final = 2_000
"""How many positions one question looks at: who wants few of many goes on from `FeedPage.last`."""
NOWHERE: Final = 2**63 - 1
"""A position that none is behind."""


def page(
    apps: tuple[int, ...] | None, after: int, limit: int, until: int, *, incoming: bool
) -> Dialogue[FeedPage]:
    """See `port.Archive.feed`; nothing behind position ``until`` is looked at."""
    wanted = None if apps is None else frozenset(apps)
    look = limit if wanted is None else max(limit, _LOOKED_AT)
    rows = yield Ask("archive", "feed", (after, until, look + 1))
    is_end = len(rows) <= look
    rows = rows[:look]
    last = (yield from _end_behind(after, until)) if is_end else rows[-1][0]
    items = [
        FeedItem(position, key, app, n, status, at_ms, Facts(app, *facts))
        for position, key, app, n, status, at_ms, *facts in rows
        if wanted is None or app in wanted
    ]
    if incoming:
        others = yield Ask("archive", "feed_incoming", (after, last, look + 1))
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


def head(until: int = NOWHERE) -> Dialogue[int]:
    """See `port.Archive.feed_head`; up to a position."""
    ((last,),) = yield Ask("archive", "feed_head", (until,))
    return int(last)


def _end_behind(after: int, until: int) -> Dialogue[int]:
    """Return the end for who stands at ``after``: another node may have told more already, but not more than there is."""
    last = yield from head(until)
    return last if after <= last else min(after, (yield from head()))


def by_halves(at_ms: int, last: int) -> Dialogue[int | None]:
    """Return behind which position an instant begins, among those up to the last that are given one by one; None: behind it.

    Found among the first events of dispatches, which alone are stamped with the time of their commit: receipts
    may be stamped with a phone's time of yesterday, and deadlines that passed in a downtime with their own. From the last
    one that is older it is looked on, past whatever is older too.
    """
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        found = yield Ask("archive", "first_accept_from", (middle + 1, last))
        if not found or found[0][1] >= at_ms:
            high = middle
        else:
            low = found[0][0]
    ((first,),) = yield Ask("archive", "first_from", (low, last, at_ms))
    return None if first is None else int(first) - 1
