"""The archive on SQLite (`homing.store.archive.port.Archive`); what is its own is where the feed ends and where an instant is in it."""

from homing.store.archive import feed
from homing.store.archive.questions import ArchiveQuestions
from homing.store.dialogue import Dialogue
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
    """Find where an instant is; one that is to come is at the end."""
    end = yield from feed.head()
    found = yield from feed.by_halves(at_ms, end)
    return end if found is None else found
