"""What the gateway needs from the rest of the house, each promise in one place; `node` plugs it in."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol, TypeAlias

from homing.model import Credentials, Device, MessageId
from homing.store.batch import Incoming, Occurrence, Result
from homing.store.changes import Change
from homing.store.port import Applied
from homing.store.views import InboxItem

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]


class Recorder(Protocol):
    """The engine, as far as devices tell it things."""

    async def record(self, occurrences: Sequence[Occurrence]) -> list[Result]:
        """On disk when it returns; what each came to."""
        ...

    def submit(self, occurrences: Sequence[Occurrence]) -> None:
        """On disk soon; nobody waits."""
        ...

    async def take_in(self, incoming: Incoming) -> MessageId:
        """A message from a device is on disk when it returns; a repeated ``client_ref`` gets the first one's id."""
        ...


class Devices(Protocol):
    """The registry, as far as devices are concerned."""

    async def apply(self, change: Change) -> Applied:
        """Make one change durable."""
        ...

    def watch(self, changed: Callable[[Change, object], None]) -> None:
        """Hear of every change on the event loop."""
        ...

    async def credentials(self, app_key: str, folded: str) -> Credentials | None:
        """What a login is checked against."""
        ...

    async def device(self, digest: bytes) -> Device | None:
        """The device that has this token."""
        ...


class Inbox(Protocol):
    """The archive, as far as a recipient's messages are concerned."""

    async def inbox(self, recipient: int, after_seq: int, limit: int) -> list[InboxItem]:
        """Messages by number after the given one."""
        ...

    async def inbox_start(self, recipient: int) -> int:
        """Where a new device starts."""
        ...

    async def inbox_heads(self, recipients: Sequence[int]) -> dict[int, int]:
        """The number of each recipient's last message."""
        ...

    async def find_dispatches(self, recipient: int, message_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Message id → dispatch key, of those that went to this recipient."""
        ...

    async def endings(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Of these dispatches, those that were ``read`` or are ``gone``."""
        ...
