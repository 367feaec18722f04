"""Works off durable jobs that tell callbacks again: counts, opens a few lanes at a time, and hands them to the courier.

All that a job must remember is in the store: where its walk stands, what it opened, what was answered. A restart goes on
from there; lanes that were open are adopted like any other. It sends nothing itself.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, Protocol

from homing.callbacks import shares
from homing.callbacks.chores import Chores
from homing.callbacks.meanwhile import Says
from homing.clock import Clock
from homing.errors import HomingError
from homing.model import Job
from homing.store.archive.port import Archive
from homing.store.batch import Committed, LaneWork
from homing.store.changes import Change, UpdateJob
from homing.store.port import Ledger, Registry, Share
from homing.telemetry import LogEvent, logger

WINDOW: Final = 200
"""Callbacks of one job that may be on their way at a time: a pause holds soon, and live events are never far behind."""
_COUNTED: Final = 1_000
"""Messages looked at in one question while counting."""
_PAGE: Final = 200
_LOOK_AGAIN_MS: Final = 2_000
"""How soon a job looks again whether its endpoint takes callbacks, if nothing woke it before."""
_AGAIN_S: Final = 1.0


class Teller(Protocol):
    """The part of the courier this needs."""

    def is_open(self, endpoint: int) -> bool:
        """Say whether an endpoint would be told now."""
        ...

    def claiming(self) -> contextlib.AbstractContextManager[Says]:
        """See `Meanwhile.claiming`."""
        ...

    def take(self, works: Sequence[LaneWork]) -> None:
        """Tell these lanes."""
        ...


class Replays:
    """One task for each job that runs; plug `changed` and `on_committed` in."""

    def __init__(
        self, ledger: Ledger, registry: Registry, archive: Archive, teller: Teller, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._archive = archive
        self._teller = teller
        self._clock = clock
        self._chores = Chores()
        self._running: dict[str, asyncio.Event] = {}
        self._waiting = 0
        self._share = Share()

    async def start(self) -> None:
        """Go on with every job that was running."""
        before: int | None = None
        while jobs := await self._registry.jobs(None, before, _PAGE):
            before = jobs[-1].id
            for job in jobs:
                self._begin(job)

    def is_quiet(self) -> bool:
        """Say whether every job waits for something else."""
        return self._waiting == len(self._running) and not any(w.is_set() for w in self._running.values())

    def changed(self, _change: Change, value: object) -> None:
        """Hear of a change of the registry: a new job, one that pauses or goes on, an endpoint that is well again."""
        if isinstance(value, Job):
            self._begin(value)
        for woken in self._running.values():
            woken.set()

    def on_committed(self, committed: Committed) -> None:
        """Hear what is on disk: answers to replays make room for more."""
        if self._running and any(len(settle.key) > 18 for settle in committed.settled):
            for woken in self._running.values():
                woken.set()

    def share(self, share: Share) -> None:
        """Hear how many go on with jobs, and which of them this is (plug this into `Ownership.on_share`)."""
        self._share = share

    async def close(self) -> None:
        """Stop; the next start goes on."""
        await self._chores.end()

    def _begin(self, job: Job) -> None:
        if job.state == "running" and job.uid not in self._running:
            self._running[job.uid] = asyncio.Event()
            self._chores.spawn(self._work(job.uid))

    async def _work(self, uid: str) -> None:
        try:
            while True:
                try:
                    if not await self._go_on(uid):
                        return
                except HomingError as error:
                    logger().error(LogEvent.STORE_FULL, error=str(error))
                    await asyncio.sleep(_AGAIN_S)
        finally:
            del self._running[uid]

    async def _go_on(self, uid: str) -> bool:
        """Do the next thing a job needs; False when it needs nothing any more, or is paused."""
        job = await self._registry.job(uid)
        if job is None or job.state != "running":
            if job is not None and job.ended_at_ms is not None:
                logger().info(LogEvent.JOB_ENDED, job=uid, state=job.state, done=job.done, failed=job.failed)
            return False
        if job.total is None:
            await self._count(job)
            return True
        room = WINDOW - (job.opened - job.done - job.failed)
        endpoint = job.spec.endpoint
        if job.is_walked or room <= 0 or (endpoint is not None and not self._teller.is_open(endpoint)):
            await self._wait(uid, self._clock.now_ms() + _LOOK_AGAIN_MS)
            return True
        began_ms = self._clock.now_ms()
        rate = shares.rate(self._share, job.rate)
        limit = room if rate is None else max(1, min(room, int(rate / 5)))
        with self._teller.claiming() as is_news:
            step = await self._ledger.replay_step(uid, limit)
            self._teller.take([work for work in step.lanes if is_news(work)])
        if rate is not None:
            opened = sum(len(work.events) for work in step.lanes)
            await self._pass(uid, began_ms + round(1000 * opened / rate))
        return True

    async def _count(self, job: Job) -> None:
        total, after = 0, b""
        while True:
            count, on = await self._archive.count_replay(job.app, job.spec, after, _COUNTED)
            total += count
            if on is None:
                break
            after = on
        with contextlib.suppress(HomingError):  # it may have been cancelled meanwhile
            await self._registry.apply(UpdateJob(job.uid, total=total))

    async def _pass(self, uid: str, at_ms: int) -> None:
        """Let time pass until an instant, whatever happens meanwhile: this is the job's rate."""
        while self._clock.now_ms() < at_ms:
            await self._wait(uid, at_ms)

    async def _wait(self, uid: str, at_ms: int) -> None:
        """Wait until something changed, at most until an instant."""
        woken = self._running[uid]
        woken.clear()
        alarm = self._clock.at(at_ms, woken.set)
        self._waiting += 1
        try:
            await woken.wait()
        finally:
            self._waiting -= 1
            alarm.cancel()
