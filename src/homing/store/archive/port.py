"""The archive's promises: the questions about messages, which every store answers alike."""

from collections.abc import Sequence
from typing import Protocol

from homing.model import ReplaySpec
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


class Archive(Protocol):
    """Questions about messages; answers are as of one commit."""

    async def message(self, message_id: bytes) -> MessageView | None:
        """A message with its dispatches, events and histories."""
        ...

    async def messages(self, query: MessageQuery) -> list[MessageView]:
        """Messages, newest first, without histories."""
        ...

    async def callbacks(self, message_id: bytes) -> list[CallbackView]:
        """What every endpoint was told and must be told about a message."""
        ...

    async def attempts(self, endpoint: int, before: int | None, limit: int) -> list[AttemptView]:
        """An endpoint's attempt log, newest first, before the given attempt id."""
        ...

    async def feed(self, apps: tuple[int, ...] | None, after: int, limit: int, *, incoming: bool) -> FeedPage:
        """Events in the order of their commits after a position; nothing can appear behind what was once returned.

        With ``incoming`` messages from devices too. A page may be empty though there is more: go on from ``last``.
        A position beyond the end (a store that was put back has one) counts as the end.
        """
        ...

    async def feed_head(self) -> int:
        """The last position there is: where someone begins who wants only what is new."""
        ...

    async def feed_since(self, at_ms: int) -> int:
        """A position up to which everything happened before ``at_ms``; what was recorded late may follow all the same."""
        ...

    async def dead(self, endpoint: int, after: tuple[bytes, int] | None, limit: int) -> list[DeadView]:
        """What was given up at an endpoint, newest message first, after (key, n)."""
        ...

    async def dead_groups(self, endpoint: int) -> list[DeadGroup]:
        """What was given up at an endpoint, by reason and status, the largest group first."""
        ...

    async def count_replay(
        self, app: int, spec: ReplaySpec, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        """Count the callbacks of a replay among the next ``limit`` messages after a key; where to go on, None at the end."""
        ...

    async def app_of(self, message_id: bytes) -> int | None:
        """The application of a message, outgoing or incoming; None if there is no such."""
        ...

    async def inbox(self, recipient: int, after_seq: int, limit: int) -> list[InboxItem]:
        """A recipient's messages by number after the given one, whatever their state."""
        ...

    async def inbox_start(self, recipient: int) -> int:
        """The number before the first message that is neither read nor expired (where a new device starts)."""
        ...

    async def inbox_heads(self, recipients: Sequence[int]) -> dict[int, int]:
        """The number of the last message of each recipient (for the heartbeat that finds lost hints)."""
        ...

    async def find_dispatches(self, recipient: int, message_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Message id → dispatch key, for those messages that went to this recipient."""
        ...

    async def endings(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Of these dispatches, those that were ``read`` or are ``gone`` (for the heartbeat that finds lost hints)."""
        ...

    async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
        """What a courier needs to push; keys that are unknown are left out."""
        ...

    async def sms_jobs(self, keys: Sequence[bytes]) -> list[SmsJob]:
        """What a courier needs to send an SMS; keys that are unknown are left out."""
        ...

    async def find_sms(self, carrier: str, ids: Sequence[str]) -> dict[str, bytes]:
        """Message id at the carrier → dispatch key."""
        ...

    async def history(self, key: bytes) -> list[HistoryView]:
        """A dispatch's history, oldest first."""
        ...
