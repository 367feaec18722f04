"""The questions about messages (`homing.store.archive.port.Archive`), put to whichever store: it never writes."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

from homing.model import ReplaySpec
from homing.store.archive.duties import callbacks, push_jobs, sms_job
from homing.store.archive.messages import Search, to_body, views
from homing.store.batch import ENDINGS, Attempt
from homing.store.dialogue import Asked, Row
from homing.store.replays import candidates
from homing.store.views import (
    AttemptView,
    CallbackView,
    DeadGroup,
    DeadView,
    HistoryView,
    InboxItem,
    MessageQuery,
    MessageView,
    PushJob,
    SmsJob,
)

_LAST_ID: Final = 2**63 - 1


class ArchiveQuestions(Asked):
    """Messages and what was told about them, one state of the store per question; the feed is each store's own."""

    @abstractmethod
    def now_ms(self) -> int:
        """See `port.Ledger.now_ms`."""

    async def message(self, message_id: bytes) -> MessageView | None:
        """See `port.Archive.message`."""
        found = await self._look(views([message_id], is_whole=True))
        return found[0] if found else None

    async def messages(self, query: MessageQuery) -> list[MessageView]:
        """See `port.Archive.messages`.

        The status is compared with a dispatch's latest event; with a recipient given, with that recipient's own. A
        recipient who is no user (any more) is found by the identifier as sent, in any case of its ASCII letters.
        """
        search = Search(query)
        while not search.is_done:
            await self._look(search.step())
        return search.found

    async def callbacks(self, message_id: bytes) -> list[CallbackView]:
        """See `port.Archive.callbacks`; by recipient, then endpoint."""
        return await self._look(callbacks(message_id))

    async def attempts(self, endpoint: int, before: int | None, limit: int) -> list[AttemptView]:
        """See `port.Archive.attempts`."""
        rows = await self._ask("attempts", endpoint, _LAST_ID if before is None else before, limit)
        return [AttemptView(row[0], row[1], row[2], row[3], row[4], Attempt(*row[5:])) for row in rows]

    async def dead(self, endpoint: int, after: tuple[bytes, int] | None, limit: int) -> list[DeadView]:
        """See `port.Archive.dead`."""
        key, n = (b"\xff" * 21, 0) if after is None else after
        return [DeadView(*row) for row in await self._ask("dead", endpoint, key, n, limit)]

    async def dead_groups(self, endpoint: int) -> list[DeadGroup]:
        """See `port.Archive.dead_groups`."""
        return [DeadGroup(*row) for row in await self._ask("dead_groups", endpoint)]

    async def count_replay(
        self, app: int, spec: ReplaySpec, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        """See `port.Archive.count_replay`."""
        found, on = await self._look(candidates(app, spec, after, limit, is_counting=True))
        return sum(bits.bit_count() for _endpoint, _key, bits in found), on

    async def app_of(self, message_id: bytes) -> int | None:
        """See `port.Archive.app_of`."""
        return next((row[0] for row in await self._ask("app_of", message_id)), None)

    async def inbox(self, recipient: int, after_seq: int, limit: int) -> list[InboxItem]:
        """See `port.Archive.inbox`."""
        items = []
        for seq, key, message, text, raw, sent_at_ms, expires_at_ms in await self._ask(
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
        ((start,),) = await self._ask("inbox_start", recipient, self.now_ms())
        return int(start)

    async def inbox_heads(self, recipients: Sequence[int]) -> dict[int, int]:
        """See `port.Archive.inbox_heads`."""
        return {row[0]: row[1] for row in await self._ask("inbox_heads", list(recipients))}

    async def find_dispatches(self, recipient: int, message_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `port.Archive.find_dispatches`."""
        rows = await self._ask("find_dispatches", list(message_ids), recipient)
        return {key[:16]: key for (key,) in rows}

    async def endings(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """See `port.Archive.endings`."""
        return {key: ENDINGS[message] for key, message in await self._ask("endings", list(keys))}

    async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
        """See `port.Archive.push_jobs`; only the devices that have a push token."""
        return await self._look(push_jobs(keys))

    async def sms_jobs(self, keys: Sequence[bytes]) -> list[SmsJob]:
        """See `port.Archive.sms_jobs`. What an SMS says: its own text, the application's, the recipient's, the message's."""
        return [sms_job(row) for row in await self._ask("sms_jobs", list(keys))]

    async def find_sms(self, carrier: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See `port.Archive.find_sms`."""
        return {row[0]: row[1] for row in await self._ask("find_sms", carrier, list(ids))}

    async def history(self, key: bytes) -> list[HistoryView]:
        """See `port.Archive.history`."""
        return [HistoryView(*row) for row in await self._ask("history", key)]

    async def _ask(self, name: str, *values: object) -> list[Row]:
        return await self._fetch("archive", name, *values)
