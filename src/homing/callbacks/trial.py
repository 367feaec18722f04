"""One signed sample, sent to an endpoint now, and what came of it told step by step: for the one who set it up."""

from typing import Literal

import msgspec

from homing.callbacks.job import Phases


class Step(msgspec.Struct, frozen=True):
    """One step of an exchange; ``sent`` where nothing could be."""

    name: Literal["name", "address", "connect", "tls", "answer", "sent"]
    ok: bool
    detail: str
    took_ms: int | None = None


class Trial(msgspec.Struct, frozen=True):
    """A sample that was sent. ``verdict`` says in words what it means and what to do; ``ok``: a callback would be settled."""

    webhook_id: str
    started_at_ms: int
    line: str
    headers: dict[str, str]
    """As sent, secrets hidden."""
    status: int | None
    answer: bytes
    address: str | None
    error: str | None
    phases: Phases
    steps: tuple[Step, ...]
    ok: bool
    verdict: str
    better_url: str | None = None
    """Where a redirect says that the endpoint should be, if only slash or scheme differ."""
