"""Sends one signed sample to an endpoint at once, whatever its state, and tells step by step what came of it.

Nothing is recorded, no try is spent and no health is counted: the sample carries ``homing-test: true``.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from homing.callbacks.certificate import describe
from homing.callbacks.diagnosis import better_url, note
from homing.callbacks.job import Done, EndpointView, Job, Reached
from homing.callbacks.operations import OperationNotification
from homing.callbacks.request import build, shown, webhook_id
from homing.callbacks.trial import Step, Trial
from homing.callbacks.verdict import Outcome, Verdict, outcome, verdict
from homing.contract.notification import IncomingNotification, Notification, StatusNotification
from homing.contract.status import Status
from homing.model import Endpoint, EndpointKind, dispatch_key, uuid_text

RECIPIENT: Final = "homing-test"
AT_ONCE: Final = 8
"""Samples under way at a time: a test may wait for the whole deadline, and must not take callbacks' places."""
_SETTLED: Final = "a callback would be settled"


class Looks(Protocol):
    """The part of the directory this needs."""

    def look(self, endpoint: Endpoint) -> EndpointView:
        """How to send to an endpoint, whatever its state; raises `UrlRefused`."""
        ...


class Sends(Protocol):
    """The part of the sender this needs."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin these tries; each comes back once."""
        ...

    def forget(self, endpoint_id: int) -> None:
        """Free what is kept for an endpoint."""
        ...


class Tester:
    """Plug `take` in before the courier: it keeps what is its own."""

    def __init__(
        self,
        directory: Looks,
        sender: Sends,
        now_ms: Callable[[], int],
        certificate: Callable[[EndpointView, str], Awaitable[str | None]] = describe,
    ) -> None:
        self._directory = directory
        self._sender = sender
        self._now_ms = now_ms
        self._certificate = certificate
        self._room = asyncio.Semaphore(AT_ONCE)
        self._waiting: dict[int, asyncio.Future[Done]] = {}

    @property
    def is_waiting(self) -> bool:
        """Say whether a sample is under way."""
        return bool(self._waiting)

    def take(self, dones: list[Done]) -> list[Done]:
        """Keep the samples among these tries; return the others."""
        others = []
        for done in dones:
            waiting = self._waiting.pop(id(done.job), None)
            if waiting is None:
                others.append(done)
            elif not waiting.done():
                waiting.set_result(done)
        return others

    async def test(self, endpoint: Endpoint, status: Status = Status.ENQUEUED) -> Trial:
        """Send the sample and return what came of it; raises `UrlRefused` for a URL that today's rules refuse."""
        # Pooled apart from the live callbacks, whose connections it must neither use nor close.
        view = msgspec.structs.replace(self._directory.look(endpoint), id=-endpoint.id)
        async with self._room:
            at_ms = self._now_ms()
            message = at_ms.to_bytes(6, "big") + os.urandom(10)
            said = webhook_id(dispatch_key(message, 0), 1, endpoint.id)
            sample = _sample(endpoint, message, at_ms, status)
            job = build(view, sample, said, int(time.time()), 1, 1, test=True)
            done = await self._sent(job)
            certificate = None
            if view.url.scheme == "https" and done.phases.tls_ms and done.address:
                certificate = await self._certificate(view, done.address)
        line, headers = shown(job)
        ended = outcome(done.status, done.error)
        is_ok = verdict(ended) is Verdict.SETTLED
        return Trial(
            webhook_id=said,
            started_at_ms=at_ms,
            line=line,
            headers=headers,
            status=done.status or None,
            answer=done.answer,
            address=None if ended is Outcome.REFUSED_BY_GUARD else done.address,
            error=None if done.error is None else str(done.error),
            phases=done.phases,
            steps=tuple(_steps(done, ended, certificate)),
            ok=is_ok,
            verdict=note(done) or (_SETTLED if is_ok else str(ended)),
            better_url=better_url(done),
        )

    async def _sent(self, job: Job) -> Done:
        waiting: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting[id(job)] = waiting  # the job lives as long as this call does, so its id is its own
        try:
            self._sender.submit([job])
            return await waiting
        finally:
            self._waiting.pop(id(job), None)
            self._sender.forget(job.endpoint.id)


def _sample(
    endpoint: Endpoint, message: bytes, at_ms: int, status: Status
) -> Notification | OperationNotification:
    app, id_ = str(endpoint.app), uuid_text(message)
    if endpoint.kind == EndpointKind.INBOX:
        return IncomingNotification(RECIPIENT, "A test message", app, at_ms, id_)
    if endpoint.kind == EndpointKind.OPERATIONS:
        return OperationNotification("endpoint.resting", at_ms, app, endpoint.uid, "a test")
    return StatusNotification(at_ms, app, id_, RECIPIENT, status)


def _steps(done: Done, ended: Outcome, certificate: str | None) -> list[Step]:
    """The exchange in the order in which it happened, up to where it failed."""
    view, phases = done.job.endpoint, done.phases
    said = note(done) or str(ended)
    steps: list[Step] = []
    url = view.url
    if ended is Outcome.OURS:
        return [Step("sent", ok=False, detail=said)]
    was_refused = ended is Outcome.REFUSED_BY_GUARD
    if not url.literal:
        if done.reached is Reached.NOTHING:
            return [Step("name", ok=False, detail=said, took_ms=phases.dns_ms or phases.total_ms)]
        found = url.host if was_refused else f"{url.host} → {done.address}"
        steps.append(Step("name", ok=True, detail=found, took_ms=phases.dns_ms))
    if was_refused:
        return [*steps, Step("address", ok=False, detail=said)]
    steps.append(Step("address", ok=True, detail=f"{done.address or url.host} may be called"))
    if done.reached is Reached.ADDRESS:
        took_ms = phases.total_ms - phases.dns_ms
        return [*steps, Step("connect", ok=False, detail=said, took_ms=took_ms)]
    steps.append(
        Step("connect", ok=True, detail=f"port {url.port}", took_ms=max(0, phases.connect_ms - phases.dns_ms))
    )
    if url.scheme == "https":
        if done.reached is Reached.CONNECTION:
            took_ms = phases.total_ms - phases.connect_ms
            return [*steps, Step("tls", ok=False, detail=said, took_ms=took_ms)]
        took_ms = max(0, phases.tls_ms - phases.connect_ms)
        steps.append(Step("tls", ok=True, detail=certificate or "TLS", took_ms=took_ms))
    there = f" → {done.location[:200]}" if done.location and done.status // 100 == 3 else ""
    answer = f"{done.status}{there}" if done.status else "no answer"
    took_ms = phases.total_ms - max(phases.connect_ms, phases.tls_ms)
    return [*steps, Step("answer", ok=ended is Outcome.SUCCESS, detail=answer, took_ms=took_ms)]
