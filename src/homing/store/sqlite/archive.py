"""The archive on SQLite (`homing.store.archive.port.Archive`); what is its own is where the feed ends and where an instant is in it."""

from homing.store.archive import feed
from homing.store.archive.questions import ArchiveQuestions
from homing.store.dialogue import Ask, Dialogue
from homing.store.sqlite.rows import SqliteAsked
from homing.store.views import FeedPage


class SqliteArchive(SqliteAsked, ArchiveQuestions):
    """One writer commits at a time, so nothing appears behind what is there."""

    async def feed(self, apps: tuple[int, ...] | None, after: int, limit: int, *, incoming: bool) -> FeedPage:
        """See `port.Archive.feed`."""
        return await self._look(feed.page(apps, after, limit, feed.NOWHERE, incoming=incoming))

    async def feed_head(self) -> int:
        """See `port.Archive.feed_head`."""
        return await self._look(feed.head())

    async def feed_since(self, at_ms: int) -> int:
        """See `port.Archive.feed_since`."""
        return await self._look(_since(at_ms))


def _since(at_ms: int) -> Dialogue[int]:
    """Find by halves where an instant is.

    Among the first events of dispatches, which alone are stamped with the time of their commit: receipts
    may be stamped with a phone's time of yesterday, and deadlines that passed in a downtime with their own. From the last
    one that is older it is looked on, past whatever is older too.
    """
    low, high = 0, (yield from feed.head())
    end = high
    while low < high:
        middle = (low + high) // 2
        found = yield Ask("archive", "first_accept_from", (middle + 1,))
        if not found or found[0][1] >= at_ms:
            high = middle
        else:
            low = found[0][0]
    ((first,),) = yield Ask("archive", "first_from", (low, at_ms))
    return end if first is None else int(first) - 1
