"""The archive on PostgreSQL: questions about messages (`homing.store.port.Archive`). It never writes."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from homing.model import INCOMING_POSITION, Device, FallbackSettings, ReplaySpec, dispatch_key, dispatch_of
from homing.store.batch import Attempt
from homing.store.postgres import archive_feed as feed
from homing.store.postgres.archive_messages import Search, views
from homing.store.postgres.database import NUL, Database
from homing.store.postgres.replays import candidates
from homing.store.sql import load
from homing.store.sqlite.archive_messages import to_body, to_state
from homing.store.sqlite.nouns import to_device
from homing.store.views import (
    AttemptView,
    CallbackView,
    DeadGroup,
    DeadView,
    FeedPage,
    HistoryView,
    InboxItem,
    MessageQuery,
    MessageView,
    PushJob,
    SmsJob,
)

T = TypeVar("T")

_SQL: Final = load("postgres", "archive")
_LAST_ID: Final = 2**63 - 1
_settings: Final = msgspec.json.Decoder(FallbackSettings).decode


class PostgresArchive:
    """Messages and what was told about them, one transaction per question."""

    _db: Database
    """Set by the store that is made of this."""
    _feed_lag_ms: int

    async def message(self, message_id: bytes) -> MessageView | None:
        """See `port.Archive.message`."""
        found = await self._look(lambda c: views(c, [message_id], is_whole=True))
        return found[0] if found else None

    async def messages(self, query: MessageQuery) -> list[MessageView]:
        """See `port.Archive.messages`.

        The status is compared with a dispatch's latest event; with a recipient given, with that recipient's own. A
        recipient who is no user (any more) is found by the identifier as sent, in any case of its ASCII letters.
        """
        if NUL in (query.ref or "") or NUL in (query.recipient_folded or ""):
            return []  # no text here has it
        search = Search(query)
        while not search.is_done:
            await self._look(search.step)
        return search.found

    async def callbacks(self, message_id: bytes) -> list[CallbackView]:
        """See `port.Archive.callbacks`; by recipient, then endpoint."""
        return await self._look(lambda c: _callbacks(c, message_id))

    async def attempts(self, endpoint: int, before: int | None, limit: int) -> list[AttemptView]:
        """See `port.Archive.attempts`."""
        rows = await self._fetch("attempts", endpoint, _LAST_ID if before is None else before, limit)
        return [AttemptView(row[0], row[1], row[2], row[3], row[4], Attempt(*row[5:])) for row in rows]

    async def feed(self, apps: tuple[int, ...] | None, after: int, limit: int, *, incoming: bool) -> FeedPage:
        """See `port.Archive.feed`."""
        line = await self._line()
        return await self._look(lambda c: feed.page(c, apps, after, limit, line, incoming=incoming))

    async def feed_head(self) -> int:
        """See `port.Archive.feed_head`."""
        line = await self._line()
        return await self._look(lambda c: feed.head(c, line))

    async def feed_since(self, at_ms: int) -> int:
        """See `port.Archive.feed_since`."""
        line = await self._line()
        return await self._look(lambda c: feed.since(c, at_ms, line))

    async def dead(self, endpoint: int, after: tuple[bytes, int] | None, limit: int) -> list[DeadView]:
        """See `port.Archive.dead`."""
        key, n = (b"\xff" * 21, 0) if after is None else after
        return [DeadView(*row) for row in await self._fetch("dead", endpoint, key, n, limit)]

    async def dead_groups(self, endpoint: int) -> list[DeadGroup]:
        """See `port.Archive.dead_groups`."""
        return [DeadGroup(*row) for row in await self._fetch("dead_groups", endpoint)]

    async def count_replay(
        self, app: int, spec: ReplaySpec, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        """See `port.Archive.count_replay`."""
        found, on = await self._look(lambda c: candidates(c, app, spec, after, limit, is_counting=True))
        return sum(bits.bit_count() for _endpoint, _key, bits in found), on

    async def app_of(self, message_id: bytes) -> int | None:
        """See `port.Archive.app_of`."""
        return next((row[0] for row in await self._fetch("app_of", message_id)), None)

    async def inbox(self, recipient: int, after_seq: int, limit: int) -> list[InboxItem]:
        """See `port.Archive.inbox`."""
        items = []
        for seq, key, message, text, raw, sent_at_ms, expires_at_ms in await self._fetch(
            "inbox", recipient, after_seq, limit
        ):
            body = to_body(raw)
            items.append(
                InboxItem(
                    seq, key, message, body.text if text is None else text, body, sent_at_ms, expires_at_ms
                )
            )
        return items

    async def inbox_start(self, recipient: int) -> int:
        """See `port.Archive.inbox_start`; where nothing is waiting, the number of the last message, or 0."""
        ((start,),) = await self._fetch("inbox_start", recipient, self._db.clock.now_ms())
        return int(start)

    async def inbox_heads(self, recipients: Sequence[int]) -> dict[int, int]:
        """See `port.Archive.inbox_heads`."""
        return {row[0]: row[1] for row in await self._fetch("inbox_heads", list(recipients))}

    async def find_dispatches(self, recipient: int, message_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `port.Archive.find_dispatches`."""
        rows = await self._fetch("find_dispatches", list(message_ids), recipient)
        return {key[:16]: key for (key,) in rows}

    async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
        """See `port.Archive.push_jobs`; only the devices that have a push token."""
        return await self._look(lambda c: _push_jobs(c, keys))

    async def sms_jobs(self, keys: Sequence[bytes]) -> list[SmsJob]:
        """See `port.Archive.sms_jobs`. What an SMS says: its own text, the application's, the recipient's, the message's."""
        return [_sms_job(row) for row in await self._fetch("sms_jobs", list(keys))]

    async def find_sms(self, carrier: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See `port.Archive.find_sms`."""
        return {row[0]: row[1] for row in await self._fetch("find_sms", carrier, list(ids))}

    async def history(self, key: bytes) -> list[HistoryView]:
        """See `port.Archive.history`."""
        return [HistoryView(*row) for row in await self._fetch("history", key)]

    async def _look(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return await self._db.look(work)

    async def _fetch(self, name: str, *values: object) -> list[Any]:
        return await self._db.fetch(_SQL[name], *values)

    async def _line(self) -> int:
        """The last position behind which no commit can put anything any more; asked before the feed is read."""
        until_ms = self._db.clock.now_ms() - self._feed_lag_ms
        running_ms = (await self._fetch("oldest_transaction"))[0][0]
        return feed.line(until_ms, running_ms)


async def _callbacks(connection: Any, message_id: bytes) -> list[CallbackView]:
    """One view for each dispatch and endpoint, whatever lanes there are: what waits in any of them is pending."""
    first, last = dispatch_key(message_id, 0), dispatch_key(message_id, INCOMING_POSITION)
    names: dict[bytes, str] = dict(
        map(tuple, await connection.fetch(_SQL["identifiers"], first, last, message_id))
    )
    told: dict[tuple[bytes, int], CallbackView] = {}
    for key, endpoint, uid, done, dead in await connection.fetch(_SQL["settled"], first, last):
        told[key, endpoint] = CallbackView(key, names.get(key, ""), uid, 0, done, dead, 0, None, owned=False)
    for lane, endpoint, uid, pending, tries, due_ms in await connection.fetch(
        _SQL["lanes"], first, last + b"\xff"
    ):
        key = dispatch_of(lane)
        before = told.get((key, endpoint))
        if before is None:
            before = CallbackView(key, names.get(key, ""), uid, 0, 0, 0, 0, None, owned=False)
        dues = [ms for ms in (before.due_ms, due_ms) if ms is not None]
        told[key, endpoint] = msgspec.structs.replace(
            before,
            pending=before.pending | pending,
            tries=max(before.tries, tries),
            due_ms=min(dues, default=None),
            owned=before.owned or due_ms is None,
        )
    return [told[place] for place in sorted(told)]


async def _push_jobs(connection: Any, keys: Sequence[bytes]) -> list[PushJob]:
    rows = await connection.fetch(_SQL["push_jobs"], list(keys))
    devices: dict[int, list[Device]] = defaultdict(list)
    recipients = sorted({row[3] for row in rows})
    for row in await connection.fetch(_SQL["push_devices"], recipients):
        devices[row[1]].append(to_device(row))
    jobs = []
    for key, app, mode, recipient, message, override, raw, expires_at_ms in rows:
        body = to_body(raw)
        text = body.text if override is None else override
        jobs.append(
            PushJob(
                key,
                app,
                mode,
                recipient,
                message,
                text,
                body,
                expires_at_ms,
                tuple(devices.get(recipient, ())),
            )
        )
    return jobs


def _sms_job(row: Any) -> SmsJob:
    key, app, mode, fallback, number, text, raw, *state = row
    body, settings = to_body(raw), _settings(fallback)
    return SmsJob(
        key=key,
        app=app,
        app_mode=mode,
        state=to_state(state),
        number=number,
        text=body.sms_text or settings.text or text or body.text,
        sender=body.sms_sender or settings.sender,
        default_region=settings.default_region,
    )
