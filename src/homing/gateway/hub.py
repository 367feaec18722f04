"""Which devices have a live link, by recipient; and what was just committed handed to those it is for.

It never waits and never looks into the store: a device that cannot take a message now fetches it later.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar

from homing.gateway.frames import letter
from homing.gateway.session import Open, Session
from homing.store.batch import Changed, Committed, NewMessage

T = TypeVar("T")

REPLACED: Final = 4409
BAD_TOKEN: Final = 4401


class Online(set[int]):
    """Recipients that have a live link, as the store knows them; ``said`` hears of each that begins or ends to have one."""

    def __init__(self) -> None:
        super().__init__()
        self.said: Callable[[int, bool], None] = lambda _recipient, _is_linked: None

    def add(self, recipient: int, /) -> None:
        """A recipient has a link."""
        if recipient not in self:
            super().add(recipient)
            self.said(recipient, True)

    def discard(self, recipient: object, /) -> None:
        """It has none any more."""
        if isinstance(recipient, int) and recipient in self:
            super().discard(recipient)
            self.said(recipient, False)


class Holder(NamedTuple):
    """A device that was given messages, and how to tell it that one was read or is gone."""

    open: Open
    tell: Callable[[bytes, str], None]


class Link(Protocol):
    """A device's live connection."""

    device: str
    token_digest: bytes
    recipient: int
    app: int
    session: Session

    def wake(self) -> None:
        """Look at the session: there may be something to send."""
        ...

    def end(self, code: int, reason: str) -> None:
        """Close, soon, with this code."""
        ...


class Mailbox(Protocol):
    """What a device that polls is told between its polls and while one waits."""

    recipient: int
    is_waiting: bool
    head: int
    open: Open

    def ring(self) -> None:
        """There is a new message; it is in the store."""
        ...

    def changed(self, message_id: bytes, what: str) -> None:
        """A message was read, or is gone."""
        ...


class Hub:
    """The live links. ``online`` is shared with the store, which lets a push wait for those who have a link."""

    def __init__(self, online: set[int]) -> None:
        self.online = online
        self._by_recipient: dict[int, tuple[Link, ...]] = {}
        self._by_device: dict[str, Link] = {}
        self._mailboxes: dict[int, tuple[Mailbox, ...]] = {}
        self._last: tuple[bytes, str] = (b"", "")
        self._inside = ""

    def __len__(self) -> int:
        return len(self._by_device)

    def __iter__(self) -> Iterator[Link]:
        return iter(list(self._by_device.values()))

    def join(self, link: Link) -> None:
        """Add a link; an older one of the same device is ended."""
        older = self._by_device.get(link.device)
        if older is not None:
            self.leave(older)
            older.end(REPLACED, "a newer connection of this device")
        self._by_device[link.device] = link
        _add(self._by_recipient, link.recipient, link)
        self.online.add(link.recipient)

    def leave(self, link: Link) -> None:
        """Take a link out; harmless when repeated."""
        if self._by_device.get(link.device) is link:
            del self._by_device[link.device]
            _drop(self._by_recipient, link.recipient, link)
            self.refresh(link.recipient)

    def link_of(self, device: str) -> Link | None:
        """Return a device's live link."""
        return self._by_device.get(device)

    def open(self, mailbox: Mailbox) -> None:
        """Tell this mailbox too, from now on."""
        _add(self._mailboxes, mailbox.recipient, mailbox)

    def shut(self, mailbox: Mailbox) -> None:
        """Tell it no more."""
        _drop(self._mailboxes, mailbox.recipient, mailbox)
        self.refresh(mailbox.recipient)

    def refresh(self, recipient: int) -> None:
        """Look again whether somebody is online, after one of their mailboxes began or ended to wait."""
        waits = any(mailbox.is_waiting for mailbox in self._mailboxes.get(recipient, ()))
        if waits or recipient in self._by_recipient:
            self.online.add(recipient)
        else:
            self.online.discard(recipient)

    def end_devices(self, devices: Sequence[str]) -> None:
        """End the links of devices that are no longer logged in."""
        for device in devices:
            if (link := self._by_device.get(device)) is not None:
                link.end(BAD_TOKEN, "logged out")

    def end_app(self, app: int) -> None:
        """End the links of an application that is no more."""
        for link in self:
            if link.app == app:
                link.end(BAD_TOKEN, "logged out")

    def committed(self, committed: Committed) -> None:
        """Offer new messages to the links of those they are for, and tell of what was read or is gone."""
        links_of, mailboxes_of = self._by_recipient, self._mailboxes
        if not links_of and not mailboxes_of:
            return
        for message in committed.messages:
            if (links := links_of.get(message.recipient)) is not None:
                self._offer(message, links)
            for mailbox in mailboxes_of.get(message.recipient, ()):
                mailbox.ring()
        self.changed(committed.changes)

    def changed(self, changes: Sequence[Changed]) -> None:
        """Tell of what was read or is gone, here or at another node."""
        for change in changes:
            message_id = change.key[:16]
            for link in self._by_recipient.get(change.recipient, ()):
                _tell(link, message_id, change.what)
            for mailbox in self._mailboxes.get(change.recipient, ()):
                mailbox.changed(message_id, change.what)

    def stored(self, heads: Mapping[int, int]) -> None:
        """Hear how far each of these recipients' inbox reaches: what was not offered here is fetched."""
        for recipient, head in heads.items():
            for link in self._by_recipient.get(recipient, ()):
                link.session.head = max(link.session.head, head)
                if link.session.has_more:
                    link.wake()
            for mailbox in self._mailboxes.get(recipient, ()):
                if head > mailbox.head:
                    mailbox.head = head
                    mailbox.ring()

    def holders(self) -> Iterator[Holder]:
        """Yield whoever was given messages of which they have not heard that they were read or are gone."""
        for link in self:
            if link.session.open:
                yield Holder(link.session.open, partial(_tell, link))
        for mailboxes in tuple(self._mailboxes.values()):
            for mailbox in mailboxes:
                if mailbox.open:
                    yield Holder(mailbox.open, mailbox.changed)

    def _offer(self, message: NewMessage, links: tuple[Link, ...]) -> None:
        message_id = message.key[:16]
        if self._last != (message_id, message.text):
            # Recipients of one message follow one another: what they have in common is encoded once.
            self._last = (message_id, message.text)
            self._inside = letter(
                message_id, message.text, message.body, message.sent_at_ms, message.expires_at_ms
            )
        for link in links:
            link.session.offer(message.seq, message.key, message.expires_at_ms, self._inside)
            link.wake()


def _tell(link: Link, message_id: bytes, what: str) -> None:
    link.session.changed(message_id, what)
    link.wake()


def _add(places: dict[int, tuple[T, ...]], recipient: int, one: T) -> None:
    places[recipient] = (*places.get(recipient, ()), one)


def _drop(places: dict[int, tuple[T, ...]], recipient: int, one: T) -> None:
    others = tuple(other for other in places.get(recipient, ()) if other is not one)
    if others:
        places[recipient] = others
    else:
        places.pop(recipient, None)
