"""The archive on PostgreSQL (`homing.store.archive.port.Archive`); what is its own is where the feed ends."""

from collections.abc import Sequence

from homing.store.archive import feed
from homing.store.archive.duties import push_jobs, sms_job
from homing.store.archive.questions import ArchiveQuestions
from homing.store.postgres.archive_feed import line, since
from homing.store.postgres.database import NUL
from homing.store.postgres.rows import PostgresAsked, hold
from homing.store.sql import load
from homing.store.views import FeedPage, MessageQuery, MessageView, PushJob, SmsJob


class PostgresArchive(PostgresAsked, ArchiveQuestions):
    """Several nodes commit at once, so the feed ends where no commit can put anything behind any more."""

    _feed_lag_ms: int

    async def messages(self, query: MessageQuery) -> list[MessageView]:
        """See `port.Archive.messages`."""
        if NUL in (query.ref or "") or NUL in (query.recipient_folded or ""):
            return []  # no text here has it
        return await super().messages(query)

    async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
        """See `port.Archive.push_jobs`; most messages need it."""
        return await self._db.look_up(lambda c: hold(c, push_jobs(keys)))

    async def sms_jobs(self, keys: Sequence[bytes]) -> list[SmsJob]:
        """See `port.Archive.sms_jobs`."""
        sql = load("postgres", "archive")["sms_jobs"]
        return [sms_job(row) for row in await self._db.look_up(lambda c: c.fetch(sql, list(keys)))]

    async def feed(self, apps: tuple[int, ...] | None, after: int, limit: int, *, incoming: bool) -> FeedPage:
        """See `port.Archive.feed`."""
        return await self._look(feed.page(apps, after, limit, await self._line(), incoming=incoming))

    async def feed_head(self) -> int:
        """See `port.Archive.feed_head`."""
        return await self._look(feed.head(await self._line()))

    async def feed_since(self, at_ms: int) -> int:
        """See `port.Archive.feed_since`."""
        return await self._look(since(at_ms, await self._line()))

    async def _line(self) -> int:
        """The last position behind which no commit can put anything any more; asked before the feed is read."""
        until_ms = self.now_ms() - self._feed_lag_ms
        ((running_ms,),) = await self._fetch("archive", "oldest_transaction")
        return line(until_ms, running_ms)
