"""The same verbs over plain HTTP: messages by long poll, receipts by POST (API.md §2).

A poll has no window: it gives up to `PAGE` messages after the cursor the device shows, and what was read or is gone since
its last poll. The store is asked afresh each time; kept between polls are only those notices, for a minute.
"""

import asyncio
from collections import OrderedDict, deque
from typing import Final

import msgspec
from msgspec import Raw

from homing.gateway import frames
from homing.gateway.frames import Gone, ReadElsewhere, encode, letter, msg, times
from homing.gateway.parts import Parts
from homing.gateway.receipts import ids, look_up, occurrences
from homing.gateway.session import LOOK, NOTICES, WINDOW, Level, Open, keep_open
from homing.lifecycle.dispatch import Message
from homing.model import Device, DispatchKey, uuid_text
from homing.store.views import InboxItem

PAGE: Final = WINDOW
MAX_WAIT_S: Final = 30
KEPT_S: Final = 60.0
"""A device that has not polled for so long is resuming: what the server has no receipt for is sent again."""
MAX_MAILBOXES: Final = 10_000


class Polled(msgspec.Struct, frozen=True):
    """The answer to a poll. ``cursor`` is what to poll with next, once the frames are stored."""

    epoch: str
    cursor: int
    frames: list[Raw]


class ReceiptsRequest(msgspec.Struct, frozen=True):
    """The body of ``POST /device/1/receipts``."""

    received: list[str] = []
    read: list[str] = []
    at: object = None


class _Box:
    """What one polling device has to be told; a `hub.Mailbox`."""

    __slots__ = (
        "asked_at_s", "device", "head", "is_rung", "is_waiting", "mine", "notices", "open", "recipient", "waiting",
    )  # fmt: skip

    def __init__(self, device: str, recipient: int) -> None:
        self.device = device
        self.recipient = recipient
        self.head = 0
        self.asked_at_s = 0.0
        self.notices: deque[tuple[bytes, str]] = deque(maxlen=NOTICES)
        # What this device itself said was read is no news to it.
        self.mine: deque[bytes] = deque(maxlen=WINDOW)
        self.open: Open = {}
        self.waiting: asyncio.Future[None] | None = None
        self.is_waiting = False
        self.is_rung = False

    def ring(self) -> None:
        self.is_rung = True
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    def changed(self, message_id: bytes, what: str) -> None:
        self.open.pop(message_id, None)
        if what == "read" and message_id in self.mine:
            return
        self.notices.append((message_id, what))
        self.ring()

    def take(self) -> list[str]:
        """Return the notices as frames, and forget them."""
        taken = []
        while self.notices:
            message_id, what = self.notices.popleft()
            name = uuid_text(message_id)
            taken.append(encode(ReadElsewhere(name) if what == "read" else Gone(name)))
        return taken


class LongPoll:
    """Answers polls and takes receipts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._boxes: OrderedDict[str, _Box] = OrderedDict()
        self._is_closed = False

    async def poll(self, device: Device, *, cursor: int, epoch: str | None, wait_s: float) -> Polled:
        """Return what is there, or what comes within ``wait_s``; nothing at the end of that."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        box, is_resuming = self._box_of(device, loop.time())
        # By this name the cursor is understood: should it change meanwhile, the device hears of that with its next poll.
        ours = self._parts.epoch()
        start = await self._parts.inbox.inbox_start(device.recipient)
        head = (await self._parts.inbox.inbox_heads([device.recipient])).get(device.recipient, 0)
        box.head = max(box.head, head)
        is_known = epoch in {None, ours} and 0 < cursor <= head
        has = cursor if is_known else start
        position = min(start, has) if is_resuming else has
        while True:
            box.is_rung = False
            found, position = await self._look(box, position, has)
            found += box.take()
            left_s = until_s - loop.time()
            if found or left_s <= 0 or self._is_closed or ours != self._parts.epoch():
                box.asked_at_s = loop.time()
                return Polled(ours, max(position, has), [Raw(frame.encode()) for frame in found])
            if not await self._wait(box, left_s):
                until_s = 0.0  # a newer poll of this device took over

    async def receipts(self, device: Device, request: ReceiptsRequest) -> None:
        """Record what the device says; on disk when it returns. What it does not name rightly is ignored."""
        named = [*request.received, *request.read]
        at_ms = times(request.at, named)
        names = ids(named)
        keys = {key[:16]: key for key in await look_up(self._parts.inbox, device.recipient, names)}
        link = self._parts.hub.link_of(device.id)
        happened = []
        for texts, level in ((request.received, Level.RECEIVED), (request.read, Level.READ)):
            spoken = [keys[message_id] for message_id in ids(texts) if message_id in keys]
            happened += occurrences(spoken, level, names, at_ms)
            if level is Level.READ and (box := self._boxes.get(device.id)) is not None:
                box.mine.extend(key[:16] for key in spoken)
                for key in spoken:
                    box.open.pop(key[:16], None)
            if link is not None:
                link.session.receipt([key[:16] for key in spoken], level)
                link.wake()
        await self._parts.recorder.record(happened)

    def forget(self, device: str) -> None:
        """Drop what is kept for a device that logged out."""
        box = self._boxes.pop(device, None)
        if box is not None:
            self._parts.hub.shut(box)
            box.ring()

    def count_resting(self) -> int:
        """How many polls wait and have nothing to say yet."""
        return sum(box.is_waiting and not box.is_rung for box in self._boxes.values())

    def rewound(self) -> None:
        """Forget what was to be told, and let the polls that wait answer: each device must begin anew."""
        for box in self._boxes.values():
            box.notices.clear()
            box.ring()

    def close(self) -> None:
        """Let the polls that wait answer now; later ones answer at once."""
        self._is_closed = True
        for box in self._boxes.values():
            box.ring()

    def _box_of(self, device: Device, now_s: float) -> tuple[_Box, bool]:
        """Return the device's mailbox, and whether it had none: then it is resuming."""
        # In the order of their last polls: the oldest is in front.
        while self._boxes and _is_old(next(iter(self._boxes.values())), now_s):
            self.forget(next(iter(self._boxes)))
        box = self._boxes.get(device.id)
        if box is not None:
            self._boxes.move_to_end(device.id)
            return box, False
        box = self._boxes[device.id] = _Box(device.id, device.recipient)
        box.asked_at_s = now_s
        self._parts.hub.open(box)
        if len(self._boxes) > MAX_MAILBOXES:
            self.forget(next(iter(self._boxes)))
        return box, True

    async def _look(self, box: _Box, position: int, has: int) -> tuple[list[str], int]:
        """Return up to `PAGE` messages as frames, and up to where was looked."""
        found: list[str] = []
        now_ms = self._parts.clock.now_ms()
        while True:
            items = await self._parts.inbox.inbox(box.recipient, position, LOOK if position < has else PAGE)
            for item in items:
                if len(found) >= PAGE:
                    return found, position
                position = item.seq
                told = _frames(item, has, now_ms)
                if told and item.message != Message.READ:
                    keep_open(box.open, DispatchKey(item.key))
                found += told
            if found or not items:
                return found, position

    async def _wait(self, box: _Box, left_s: float) -> bool:
        """Wait for news; False when a newer poll of the device waits instead."""
        if box.is_rung:
            return True
        if box.waiting is not None and not box.waiting.done():
            box.waiting.cancel()
        mine = box.waiting = asyncio.get_running_loop().create_future()
        box.is_waiting = True
        self._parts.hub.refresh(box.recipient)
        try:
            await asyncio.wait((mine,), timeout=left_s)
        finally:
            if box.waiting is mine:
                box.waiting, box.is_waiting = None, False
                box.asked_at_s = asyncio.get_running_loop().time()
                self._parts.hub.refresh(box.recipient)
        return not mine.cancelled()


def _is_old(box: _Box, now_s: float) -> bool:
    return not box.is_waiting and now_s - box.asked_at_s > KEPT_S


def _frames(item: InboxItem, has: int, now_ms: int) -> list[str]:
    """Return the frames that tell of one message to a device that has all up to ``has``."""
    if item.expires_at_ms <= now_ms or item.message in {Message.EXPIRED, Message.UNKNOWN}:
        return []
    if item.seq <= has and item.message != Message.ENQUEUED:
        return []
    message_id = item.key[:16]
    told = [msg(item.seq, letter(message_id, item.text, item.body, item.sent_at_ms, item.expires_at_ms))]
    if item.message == Message.READ:
        told.append(frames.encode(ReadElsewhere(uuid_text(message_id))))
    return told
