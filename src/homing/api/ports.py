"""What the API needs from the rest of the house, as it sees it; `node` hands in what keeps these promises."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from homing.callbacks.trial import Trial
from homing.contract.status import Status
from homing.model import Endpoint
from homing.store.batch import Accept, Accepted, Occurrence, Result


class Engine(Protocol):
    """Puts what happens on disk; see `homing.engine`."""

    async def accept(self, accept: Accept) -> Accepted:
        """Store a message; it is on disk when this returns."""
        ...

    async def record(self, occurrences: Sequence[Occurrence]) -> list[Result]:
        """Record what happened; it is on disk when this returns. One result for each, in order."""
        ...


class Vault(Protocol):
    """Seals secrets that the store keeps."""

    def seal(self, plain: bytes, context: str) -> bytes:
        """Return the bytes that only the same vault opens, and only for the same context."""
        ...

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return what was sealed for this context."""
        ...


class CheckUrl(Protocol):
    """Judges callbacks' URLs."""

    async def __call__(self, url: str, form: str) -> list[str]:
        """Judge one when it is saved: warnings for what looks wrong already, or `UrlNotAllowed`."""
        ...

    def origin(self, url: str) -> str:
        """Judge one without looking its name up, and return its scheme, host and port; `UrlNotAllowed`."""
        ...


class Tests(Protocol):
    """Sends a signed sample to an endpoint; see `homing.callbacks.tester`."""

    async def test(self, endpoint: Endpoint, status: Status) -> Trial:
        """Return what came of it."""
        ...


Ready = Callable[[], list[str]]
"""Why no work can be taken just now; empty when it can."""


class Settings(msgspec.Struct, frozen=True):
    """What the operator decides about the API. ``base_url`` is where back ends reach it; empty: where they asked."""

    base_url: str = ""
    feed_looks_s: float | None = None
    """How often who waits for events looks again where commits of others are not heard of; None: this process hears all."""
    access_token_s: int = 3600
    """How long a token from the OAuth2 endpoint is good for, at most."""
