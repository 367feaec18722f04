"""The courier to customers: takes lanes, tells their events one after the other, settles what came of it.

Order is kept by never having two tries of one lane under way; isolation by a berth per endpoint. It decides nothing
about a message's life, and whether a lane holds more events only its row in the store can tell.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from homing.callbacks.directory import Directory
from homing.callbacks.job import Done, EndpointView, Job
from homing.callbacks.lanes import Berth, Lane, Lanes
from homing.callbacks.request import build, webhook_id
from homing.callbacks.schedule import next_try_at
from homing.callbacks.verdict import (
    Outcome,
    Verdict,
    outcome,
    overloaded,
    pauses_endpoint,
    retry_after_ms,
    verdict,
)
from homing.clock import Alarm, Clock
from homing.contract.errors import ContractError
from homing.contract.notification import IncomingNotification, Notification, StatusNotification
from homing.contract.status import STATUSES
from homing.errors import HomingError
from homing.model import uuid_text
from homing.store.batch import Attempt, Committed, Facts, LaneWork, Settle
from homing.store.batch import Verdict as Settled
from homing.store.changes import Change, DisableEndpoint, TouchEndpoints
from homing.store.port import Applied, Ledger
from homing.telemetry import LogEvent, logger

SWEEP_S: Final = 30.0
"""How often the store is asked for lanes of ours that are not held: a hand-over that was lost."""
_TOUCH_S: Final = 5.0
_ADOPT: Final = 500
_OURS_AGAIN_S: Final = 1.0


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


class Courier:
    """Owns the lanes this node holds; `on_committed` and `on_done` are its two ears."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        ledger: Ledger,
        changes: Changes,
        directory: Directory,
        sender: Tries,
        clock: Clock,
        delays_ms: Sequence[int],
        max_per_endpoint: int,
        max_in_flight: int,
        counts: Counts,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._recorder = recorder
        self._ledger = ledger
        self._changes = changes
        self._directory = directory
        self._sender = sender
        self._clock = clock
        self._delays_ms = tuple(delays_ms)
        self._max_in_flight = max_in_flight
        self._counts = counts
        self._chance = chance
        self._lanes = Lanes(max_per_endpoint)
        self._in_flight = 0
        self._unsettled = 0
        self._claims = 0
        self._is_stopping = False
        self._alarm: Alarm | None = None
        self._alarm_ms: int | None = None
        self._succeeded: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._missing: set[tuple[bytes, int]] = set()

    async def start(self) -> None:
        """Take up what the process before left: what it held, and what fell due meanwhile."""
        self.found((await self._ledger.outlook()).lanes_due)
        self._spawn(self._adopt())
        self._spawn(self._sweep())
        self._spawn(self._touch())

    def is_quiet(self) -> bool:
        """Say whether nothing is under way and nothing is due that could be begun."""
        if self._in_flight or self._unsettled or self._claims:
            return False
        now_ms = self._clock.now_ms()
        if self._lanes.due(now_ms):
            return False
        return all(not b.ready or b.paused_until_ms > now_ms for b in self._lanes.berths.values())

    def crowded(self) -> frozenset[int]:
        """See `Lanes.crowded` (plug this into `Engine.born_free`)."""
        return self._lanes.crowded(self._clock.now_ms())

    def waiting(self) -> dict[int, int]:
        """How many lanes are held for each endpoint, for the metrics."""
        return {berth.endpoint: berth.held for berth in self._lanes.berths.values() if berth.held}

    def on_committed(self, committed: Committed) -> None:
        """Hear what is on disk: settles of ours, and new lanes or events to tell."""
        lanes = self._lanes
        for settle in committed.settled:
            if settle.verdict is Settled.RETRY:
                self._unsettled -= 1
                continue
            lane = lanes.held.get((settle.key, settle.endpoint))
            self._unsettled -= 1
            if lane is not None:
                lane.settling -= 1
                if not lane.settling and not lane.events and not lane.is_trying:
                    lanes.drop(lane)
        for work in committed.lanes:
            lanes.add(work)
        if committed.lanes_due:
            self.found(committed.lanes_due)
        self._kick()

    def found(self, lanes_due: dict[int, int]) -> None:
        """Hear that lanes wait in the store: endpoint → when the first of them falls due."""
        for endpoint, due_ms in lanes_due.items():
            berth = self._lanes.berth(endpoint)
            if berth.due_ms is None or due_ms < berth.due_ms:
                self._lanes.set_due(berth, due_ms)
        self._look()

    def on_done(self, dones: Sequence[Done]) -> None:
        """Hear what came of tries; settle them and go on."""
        settles: list[Settle] = []
        for done in dones:
            self._in_flight -= 1
            lane = done.job.tag
            assert isinstance(lane, Lane)
            self._lanes.ended(lane)
            self._judge(lane, done, settles)
        if settles:
            self._unsettled += len(settles)
            self._recorder.settle(settles)
        self._kick()

    async def close(self, grace_s: float = 15.0) -> None:
        """Begin no more tries, let those under way end, and give the rest back to the store."""
        self._is_stopping = True
        if self._alarm is not None:
            self._alarm.cancel()
        until = asyncio.get_running_loop().time() + grace_s
        while (self._in_flight or self._claims) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.005)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(HomingError):
            await self._apply_touches()
            await self._ledger.release([key for key, lane in self._lanes.held.items() if lane.events])

    def _kick(self) -> None:
        """Begin as many tries as there is room for."""
        room = self._max_in_flight - self._in_flight
        if room <= 0 or self._is_stopping:
            return
        now_ms = self._clock.now_ms()
        started = self._lanes.start(room, now_ms)
        if started:
            jobs: list[Job] = []
            refused: list[Settle] = []
            timestamp_s = int(time.time())
            for lane in started:
                job = self._job(lane, timestamp_s, refused)
                if job is None:
                    self._lanes.ended(lane)
                else:
                    jobs.append(job)
            self._in_flight += len(jobs)
            if jobs:
                self._sender.submit(jobs)
            if refused:
                self._unsettled += len(refused)
                self._recorder.settle(refused)
        self._look()

    def _job(self, lane: Lane, timestamp_s: int, refused: list[Settle]) -> Job | None:
        view: EndpointView | None = self._directory.view(lane.berth.endpoint)
        if view is None:
            self._give_up_all(lane, "endpoint_disabled", refused)
            return None
        n = lane.events[0][0]
        said = webhook_id(lane.key, n, lane.berth.endpoint)
        try:
            return build(view, notification(lane), said, timestamp_s, n, lane.tries + 1, tag=lane)
        except ContractError:
            self._give_up(lane, "unencodable", None, refused)
            self._lanes.queue(lane)
            return None

    def _judge(self, lane: Lane, done: Done, settles: list[Settle]) -> None:
        ended = outcome(done.status, done.error)
        berth, took_ms = lane.berth, done.phases.total_ms
        self._counts.attempt(berth.endpoint, ended, took_ms / 1000)
        if ended is Outcome.SUCCESS:
            berth.pace.succeeded(took_ms, is_full=bool(berth.ready))
            self._succeeded[berth.endpoint] = lane.began_ms
            known = lane.known_after_first()
            n = lane.events.popleft()[0]
            tries, lane.tries = lane.tries, 0
            lane.settling += 1
            attempt = _attempt(lane, done, None)
            settles.append(Settle(lane.key, berth.endpoint, n, tries, Settled.DONE, attempt, 0, known))
            self._lanes.queue(lane)
            return
        if ended is Outcome.OURS:
            # Nothing was sent and it is our fault: no try is spent.
            asyncio.get_running_loop().call_later(_OURS_AGAIN_S, self._again, lane)
            return
        if overloaded(done.status, ended):
            berth.pace.overloaded()
        attempt = _attempt(lane, done, ended)
        if verdict(ended) is Verdict.DISABLE:
            self._spawn(self._disable(berth.endpoint, "answered 410"))
            self._give_up(lane, "endpoint_gone", attempt, settles)
            self._lanes.queue(lane)
            return
        now_ms = self._clock.now_ms()
        wait_ms = retry_after_ms(done.retry_after, int(time.time() * 1000))
        if wait_ms and pauses_endpoint(done.status):
            self._pause(berth, now_ms + wait_ms)
        at_ms = next_try_at(
            lane.tries + 1, now_ms, self._delays_ms, 2 * self._chance() - 1, wait_ms, lane.events[0][2]
        )
        if at_ms is None:
            self._give_up(lane, "tries_spent", attempt, settles)
            self._lanes.queue(lane)
            return
        n = lane.events[0][0]
        settles.append(
            Settle(lane.key, berth.endpoint, n, lane.tries, Settled.RETRY, attempt, at_ms, 0, str(ended))
        )
        self._lanes.drop(lane)

    def _give_up(self, lane: Lane, reason: str, attempt: Attempt | None, settles: list[Settle]) -> None:
        """The first event is dead; the next one is tried at once, with tries of its own."""
        known = lane.known_after_first()
        n = lane.events.popleft()[0]
        tries, lane.tries = lane.tries, 0
        lane.settling += 1
        logger().warning(LogEvent.CALLBACK_DEAD, endpoint=lane.berth.endpoint, n=n, reason=reason)
        settles.append(
            Settle(lane.key, lane.berth.endpoint, n, tries, Settled.DEAD, attempt, 0, known, reason)
        )

    def _give_up_all(self, lane: Lane, reason: str, settles: list[Settle]) -> None:
        while lane.events:
            self._give_up(lane, reason, None, settles)

    def _again(self, lane: Lane) -> None:
        self._lanes.queue(lane)
        self._kick()

    def _pause(self, berth: Berth, until_ms: int) -> None:
        if until_ms > berth.paused_until_ms:
            berth.paused_until_ms = until_ms
            self._clock.at(until_ms, lambda: self._unpause(berth))

    def _unpause(self, berth: Berth) -> None:
        if berth.paused_until_ms > self._clock.now_ms():
            self._clock.at(berth.paused_until_ms, lambda: self._unpause(berth))
            return
        self._lanes.enter(berth)
        self._kick()

    async def _disable(self, endpoint: int, reason: str) -> None:
        with contextlib.suppress(HomingError):
            await self._changes.apply(DisableEndpoint(endpoint, reason))
            logger().warning(LogEvent.ENDPOINT_DISABLED, endpoint=endpoint, reason=reason)

    def _look(self) -> None:
        """Claim for every endpoint whose lanes in the store are due, and be woken for the next."""
        if self._is_stopping:
            return
        now_ms = self._clock.now_ms()
        for berth in self._lanes.due(now_ms):
            if not berth.is_claiming and berth.wants_more() and berth.paused_until_ms <= now_ms:
                berth.is_claiming = True
                self._claims += 1
                self._spawn(self._claim(berth))
        self._arm()

    def _arm(self) -> None:
        due_ms = self._lanes.next_due_ms()
        now_ms = self._clock.now_ms()
        if (
            due_ms is None
            or due_ms <= now_ms
            or (self._alarm_ms is not None and now_ms < self._alarm_ms <= due_ms)
        ):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = due_ms
        self._alarm = self._clock.at(due_ms, self._ring)

    def _ring(self) -> None:
        self._alarm_ms = None
        self._look()

    async def _claim(self, berth: Berth) -> None:
        try:
            claimed = await self._ledger.claim_lanes(berth.endpoint, berth.claim_size())
        except HomingError as error:
            logger().error(LogEvent.STORE_FULL, error=str(error))
            await asyncio.sleep(1.0)
            return
        finally:
            berth.is_claiming = False
            self._claims -= 1
        self._lanes.set_due(berth, claimed.next_due_ms)
        for work in claimed.lanes:
            self._take(work)
        self._kick()

    def _take(self, work: LaneWork) -> None:
        if work.events:
            self._lanes.add(work)

    async def _adopt(self) -> None:
        """Walk once over the lanes that processes before this one held."""
        after: tuple[bytes, int] = (b"", 0)
        count = 0
        self._claims += 1
        try:
            while works := await self._ledger.adopt_lanes(after, _ADOPT):
                count += len(works)
                after = (works[-1].key, works[-1].endpoint)
                for work in works:
                    self._take(work)
                self._kick()
        finally:
            self._claims -= 1
        if count:
            logger().info(LogEvent.CALLBACK_ADOPTED, lanes=count)

    async def _sweep(self) -> None:
        """Find lanes that the store says are ours and that are not held; seen so twice, they were forgotten."""
        while True:
            await asyncio.sleep(SWEEP_S)
            missing: set[tuple[bytes, int]] = set()
            after: tuple[bytes, int] = (b"", 0)
            with contextlib.suppress(HomingError):
                while works := await self._ledger.held_lanes(after, _ADOPT):
                    after = (works[-1].key, works[-1].endpoint)
                    for work in works:
                        if (work.key, work.endpoint) in self._lanes.held:
                            continue
                        if (work.key, work.endpoint) in self._missing:
                            self._take(work)
                        else:
                            missing.add((work.key, work.endpoint))
                self.found((await self._ledger.outlook()).lanes_due)
            self._missing = missing
            self._kick()

    async def _touch(self) -> None:
        while True:
            await asyncio.sleep(_TOUCH_S)
            with contextlib.suppress(HomingError):
                await self._apply_touches()

    async def _apply_touches(self) -> None:
        if self._succeeded:
            succeeded, self._succeeded = self._succeeded, {}
            await self._changes.apply(TouchEndpoints(tuple(succeeded.items())))

    def _spawn(self, work: "asyncio.coroutines.Coroutine[object, object, None]") -> None:  # type: ignore[name-defined]
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def notification(lane: Lane) -> Notification:
    """What the lane's first event says on the wire."""
    _n, status, at_ms = lane.events[0]
    facts = lane.facts
    if isinstance(facts, Facts):
        return StatusNotification(
            at_ms, str(facts.app), uuid_text(lane.key), facts.identifier, STATUSES[status],
            facts.message_ref, facts.recipient_ref, facts.fallback_ref,
        )  # fmt: skip
    reply = None if facts.in_reply_to is None else uuid_text(facts.in_reply_to)
    return IncomingNotification(
        facts.identifier, facts.text, str(facts.app), at_ms, uuid_text(lane.key), facts.channel, reply, None
    )


def _attempt(lane: Lane, done: Done, ended: Outcome | None) -> Attempt:
    return Attempt(
        lane.began_ms, done.phases.total_ms, done.status, None if ended is None else str(ended), done.address,
        done.answer or None,
    )  # fmt: skip
