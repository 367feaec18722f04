"""What the couriers to people need from the rest of the house, each promise in one place; `node` plugs it in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from homing.channels.push import Platform, PushService
from homing.channels.sms import Carrier
from homing.store.batch import CommandDone, CommandWork, Note, Occurrence, Outlook, Result
from homing.store.changes import Change
from homing.store.port import Applied
from homing.store.views import PushJob, SmsJob


class Recorder(Protocol):
    """The engine, as far as couriers tell it things."""

    async def record(self, occurrences: Sequence[Occurrence]) -> list[Result]:
        """On disk when it returns; what each came to."""
        ...

    def submit(self, occurrences: Sequence[Occurrence]) -> None:
        """On disk soon; nobody waits."""
        ...

    def finish(self, commands: Sequence[CommandDone]) -> None:
        """The outcome of commands, with or after what was submitted before."""
        ...

    def note(self, notes: Sequence[Note]) -> None:
        """Lines for histories."""
        ...


class Commands(Protocol):
    """The ledger, as far as commands are concerned."""

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        """Take due commands nobody holds."""
        ...

    async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
        """Read what this node owns, in order after (key, kind)."""
        ...

    async def outlook(self) -> Outlook:
        """When the next one falls due."""
        ...


class Jobs(Protocol):
    """The archive, as far as couriers ask it."""

    async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
        """All that is needed to push."""
        ...

    async def sms_jobs(self, keys: Sequence[bytes]) -> list[SmsJob]:
        """All that is needed to send SMS."""
        ...

    async def find_sms(self, carrier: str, ids: Sequence[str]) -> dict[str, bytes]:
        """Message id at the carrier → dispatch key."""
        ...


class Devices(Protocol):
    """The registry, as far as push tokens are retired."""

    async def apply(self, change: Change) -> Applied:
        """Make a change durable."""
        ...


class Counts(Protocol):
    """The metrics, as far as channels are counted."""

    def push(self, service: str, outcome: str) -> None:
        """One answer of a push service."""
        ...

    def sms(self, carrier: str, outcome: str) -> None:
        """One answer or receipt of a carrier."""
        ...


class Uncounted:
    """Nobody counts."""

    def push(self, service: str, outcome: str) -> None:
        """See `Counts.push`."""

    def sms(self, carrier: str, outcome: str) -> None:
        """See `Counts.sms`."""


class Channels(msgspec.Struct, frozen=True):
    """The ways to people that an application has; a platform without a service cannot be woken."""

    push: Mapping[Platform, PushService] = {}
    carrier: Carrier | None = None


ChannelsFor: TypeAlias = Callable[[str], Channels]
"""The channels of applications in this mode (`model.AppMode`); `node` decides, the couriers do not know why."""
