"""One device's place in its person's messages: what it may be sent now, what it has, how far it got. Pure.

Fed with what the store and the device say, it gives frames to send and receipts to record. It has no clock, no socket
and no store; ``now_ms`` comes in as a value. The rules (DESIGN.md §8)::

    head       the highest number the recipient's messages are known to have
    position   all messages up to here were looked at: sent, waiting, or not for this device
    cursor     all messages up to here are stored on the device (its word)

    waiting ──(fewer than WINDOW unacknowledged)──► sent, unacknowledged ──(ack or read)──► recent

A message may be offered as it is committed, in order of its number. Whatever does not fit just now is left in the
store: the session is then *behind*, and its owner feeds it from the inbox when there is room. So a device that does
not read holds at most WINDOW waiting and WINDOW unacknowledged messages, however many there are.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from homing.gateway.frames import Gone, ReadElsewhere, encode, letter, msg
from homing.lifecycle.dispatch import Message
from homing.model import DispatchKey, uuid_text
from homing.store.views import InboxItem

WINDOW: Final = 32
"""How many messages may be unacknowledged on one connection."""
RECENT: Final = 64
"""How many acknowledged messages are remembered, so that reading one soon after needs no look into the store."""
NOTICES: Final = 256
"""How many notices of reading and expiry may wait; a device that takes none of them is let go."""
LOOK: Final = 128
"""How many messages are looked through at once where only some of them are for the device."""


Open = dict[bytes, DispatchKey]
"""Messages a device was given lately, and has not heard to be read or gone: message id → dispatch key, oldest first."""


class Level(IntEnum):
    """How far a device says a message got."""

    SENT = 0
    RECEIVED = 1
    READ = 2


class _Waiting(NamedTuple):
    seq: int
    key: DispatchKey
    expires_at_ms: int
    inside: str
    is_read: bool


class _Known(NamedTuple):
    key: DispatchKey
    level: Level


class Receipts(NamedTuple):
    """What an ack or a read came to: dispatches it is news about, ids this session does not know, how many repeats."""

    news: list[DispatchKey]
    unknown: list[bytes]
    repeats: int


class Session:
    """What one connected device has and still gets.

    It may hear of messages before its `start`, while its owner asks the store where it stands: none is lost.
    """

    __slots__ = (
        "_cursor", "_is_started", "_noted", "_notices", "_recent", "_unacked", "_waiting", "head", "is_overrun",
        "open", "position",
    )  # fmt: skip

    def __init__(self) -> None:
        self._is_started = False
        self._cursor = 0
        self._noted = 0
        self.position = 0
        self.head = 0
        self.is_overrun = False
        """The device takes nothing while more and more happens: it is to be disconnected."""
        self._waiting: deque[_Waiting] = deque()
        self._unacked: dict[bytes, tuple[int, DispatchKey]] = {}
        self._recent: dict[bytes, _Known] = {}
        self._notices: deque[str] = deque()
        self.open: Open = {}

    def start(self, *, cursor: int, position: int, head: int) -> None:
        """Begin after ``cursor``; from a lower ``position`` on, what the server has no receipt for is sent again."""
        self._is_started = True
        self._cursor = self._noted = cursor
        self.position = min(position, cursor)
        self.head = max(self.head, head)

    @property
    def cursor(self) -> int:
        """The number up to which the device has everything that was for it; never moves back."""
        open_seqs = [seq for seq, _ in self._unacked.values() if seq > self._cursor]
        open_seqs.extend(waiting.seq for waiting in self._waiting if waiting.seq > self._cursor)
        reached = min(open_seqs) - 1 if open_seqs else self.position
        self._cursor = max(self._cursor, reached)
        return self._cursor

    def has_moved(self) -> bool:
        """Say whether the cursor has moved since this was last asked."""
        before, self._noted = self._noted, self.cursor
        return before != self._noted

    @property
    def has_more(self) -> bool:
        """Messages wait, here or in the store, for the window to have room."""
        return bool(self._waiting) or self.position < self.head

    @property
    def wants(self) -> int:
        """How many messages to look through in the store now; 0 while there is no room or nothing to look at."""
        if not self._is_started or self.position >= self.head:
            return 0
        if self._waiting or len(self._unacked) >= WINDOW:
            return 0
        return LOOK if self.position < self._cursor else WINDOW

    def offer(self, seq: int, key: DispatchKey, expires_at_ms: int, inside: str) -> None:
        """Take a message that was just committed; what comes out of order or without room is fetched later."""
        is_next = self._is_started and seq == self.position + 1 and seq > self.head
        if is_next and len(self._waiting) + len(self._unacked) < WINDOW:
            self._waiting.append(_Waiting(seq, key, expires_at_ms, inside, is_read=False))
            self.position = seq
        self.head = max(self.head, seq)

    def fill(self, items: Sequence[InboxItem], *, asked: int, head: int) -> None:
        """Take what the store has after `position`, in order. ``asked`` was the limit, ``head`` the one known before."""
        for item in items:
            if len(self._waiting) >= WINDOW:
                return
            if item.seq <= self.position:
                continue
            self.position = item.seq
            if item.message in {Message.EXPIRED, Message.UNKNOWN}:
                continue
            if item.seq <= self._cursor and item.message != Message.ENQUEUED:
                continue
            key = DispatchKey(item.key)
            inside = letter(item.key[:16], item.text, item.body, item.sent_at_ms, item.expires_at_ms)
            is_read = item.message == Message.READ
            self._waiting.append(_Waiting(item.seq, key, item.expires_at_ms, inside, is_read))
        if len(items) < asked:
            self.position = max(self.position, head)  # what is missing up to there was removed from the store

    def changed(self, message_id: bytes, what: str) -> None:
        """Hear that a message was read on whichever device, or is gone."""
        is_read = what == "read"
        self.open.pop(message_id, None)
        for index, waiting in enumerate(self._waiting):
            if waiting.key[:16] == message_id:
                if is_read:
                    self._waiting[index] = waiting._replace(is_read=True)
                else:
                    del self._waiting[index]
                return
        if is_read:
            known = self._recent.get(message_id)
            if known is not None and known.level is Level.READ:
                return  # it was this device that said so
            self._notify(encode(ReadElsewhere(uuid_text(message_id))))
        else:
            self._unacked.pop(message_id, None)
            self._notify(encode(Gone(uuid_text(message_id))))

    def next(self, now_ms: int) -> str | None:
        """Return the next frame to send, None when there is none just now. A message counts as sent from here on."""
        if not self._is_started:
            return None
        while self._waiting and len(self._unacked) < WINDOW:
            waiting = self._waiting.popleft()
            if waiting.expires_at_ms <= now_ms:
                continue
            message_id = waiting.key[:16]
            self._unacked[message_id] = (waiting.seq, waiting.key)
            if waiting.is_read:
                self._notices.appendleft(encode(ReadElsewhere(uuid_text(message_id))))
            else:
                keep_open(self.open, waiting.key)
            return msg(waiting.seq, waiting.inside)
        return self._notices.popleft() if self._notices else None

    def receipt(self, message_ids: Iterable[bytes], level: Level) -> Receipts:
        """Take the device's word that messages are stored or read there; repeats are told apart from news."""
        news: list[DispatchKey] = []
        unknown: list[bytes] = []
        repeats = 0
        for message_id in dict.fromkeys(message_ids):
            sent = self._unacked.pop(message_id, None)
            if sent is not None:
                self._remember(message_id, sent[1], level)
                news.append(sent[1])
                continue
            known = self._recent.get(message_id)
            if known is None:
                unknown.append(message_id)
            elif known.level < level:
                self._remember(message_id, known.key, level)
                news.append(known.key)
            else:
                repeats += 1
        return Receipts(news, unknown, repeats)

    def found(self, key: DispatchKey, level: Level) -> None:
        """Remember a message that the device spoke of and the store knew."""
        self._remember(key[:16], key, level)

    def _remember(self, message_id: bytes, key: DispatchKey, level: Level) -> None:
        self._recent[message_id] = _Known(key, level)
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        if level is Level.READ:
            self.open.pop(message_id, None)

    def _notify(self, frame: str) -> None:
        if len(self._notices) >= NOTICES:
            self.is_overrun = True
            return
        self._notices.append(frame)


def keep_open(messages: Open, key: DispatchKey) -> None:
    """Note that a device was given a message; of very many the oldest are forgotten."""
    messages[key[:16]] = key
    if len(messages) > WINDOW:
        del messages[next(iter(messages))]
