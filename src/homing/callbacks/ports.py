"""What the courier to customers needs of others, each as small as it needs it."""

from collections.abc import Sequence
from typing import Protocol

from homing.callbacks.job import Job
from homing.callbacks.verdict import Outcome
from homing.store.batch import Settle
from homing.store.changes import Change
from homing.store.port import Applied


class Recorder(Protocol):
    """The part of the engine this needs."""

    def settle(self, settles: Sequence[Settle]) -> None:
        """Record outcomes with the next batch."""
        ...


class Changes(Protocol):
    """The part of the registry this needs."""

    async def apply(self, change: Change) -> Applied:
        """Make one change durable."""
        ...


class Tries(Protocol):
    """What sends: every job that is submitted comes back once, as a `Done`."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin these tries."""
        ...


class Counts(Protocol):
    """Where outcomes are counted."""

    def attempt(self, endpoint: int, ended: Outcome, took_s: float) -> None:
        """Count one try."""
        ...

    def connected(self, dns_ms: int, connect_ms: int, tls_ms: int) -> None:
        """Count how long a connection took to open, from the start of its try to the end of each phase."""
        ...
