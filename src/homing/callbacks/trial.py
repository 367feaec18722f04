"""One signed sample, sent to an endpoint now, and what came of it told step by step: for the one who set it up."""

import msgspec

from homing.callbacks.job import Phases


class Step(msgspec.Struct, frozen=True):
    """One step of an exchange: name, address, connect, tls or answer."""

    name: str
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
