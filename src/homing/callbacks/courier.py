"""The courier to customers: takes lanes, tells their events one after the other, settles what came of it.

Order is kept by never having two tries of one lane under way; isolation by a berth per endpoint. It decides nothing
about a message's life, and whether a lane holds more events only its row in the store can tell.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from homing.callbacks.chores import Chores
from homing.callbacks.directory import Directory
from homing.callbacks.job import Done, EndpointView, Job
from homing.callbacks.lanes import Berth, Lane, Lanes
from homing.callbacks.leftovers import Leftovers
from homing.callbacks.ports import Changes, Counts, Recorder, Tries
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
from homing.clock import Clock
from homing.contract.errors import ContractError
from homing.contract.notification import IncomingNotification, Notification, StatusNotification
from homing.contract.status import STATUSES
from homing.errors import HomingError
from homing.model import uuid_text
from homing.store.batch import Attempt, Batch, Committed, Facts, Settle
from homing.store.batch import Verdict as Settled
from homing.store.changes import DisableEndpoint, TouchEndpoints
from homing.store.port import Ledger
from homing.telemetry import LogEvent, logger

_TOUCH_S: Final = 5.0
_OURS_AGAIN_S: Final = 1.0
_FOR_NOW_MS: Final = 2**62
"""Until further notice."""


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
        self._leftovers = Leftovers(ledger, self._lanes, clock, self._kick)
        self._in_flight = 0
        self._unsettled = 0
        self._held_back = 0
        self._is_stopping = False
        self._landed = asyncio.Event()
        self._succeeded: dict[int, int] = {}
        self._disabling: set[int] = set()
        self._chores = Chores()

    async def start(self) -> None:
        """Take up what the process before left: what it held, and what fell due meanwhile."""
        await self._leftovers.start()
        self._chores.spawn(self._touch())

    def is_quiet(self) -> bool:
        """Say whether nothing is under way and nothing is due that could be begun."""
        now_ms = self._clock.now_ms()
        if self._in_flight or self._unsettled or self._held_back or self._disabling:
            return False
        if not self._leftovers.is_quiet(now_ms):
            return False
        return all(not b.ready or b.paused_until_ms > now_ms for b in self._lanes.berths.values())

    def crowded(self) -> frozenset[int]:
        """See `Lanes.crowded` (plug this into `Engine.born_free`)."""
        return self._lanes.crowded(self._clock.now_ms())

    def waiting(self) -> dict[int, int]:
        """How many lanes are held for each endpoint, for the metrics."""
        return {berth.endpoint: berth.held for berth in self._lanes.berths.values() if berth.held}

    def oldest_due_ms(self) -> int | None:
        """See `Lanes.oldest_due_ms`, for the metrics."""
        return self._lanes.oldest_due_ms()

    def on_committed(self, committed: Committed) -> None:
        """Hear what is on disk: settles of ours, and new lanes or events to tell."""
        lanes = self._lanes
        # First what is new, so that no lane is let go that has more to tell.
        for work in committed.lanes:
            lanes.add(work)
        for settle in committed.settled:
            self._unsettled -= 1
            if settle.verdict is Settled.RETRY:
                continue
            lane = lanes.held.get((settle.key, settle.endpoint))
            if lane is not None and lane.settling:
                lane.settling -= 1
                if lane.events:
                    lanes.queue(lane)
                elif not lane.settling and not lane.is_trying:
                    lanes.drop(lane)
        if committed.lanes_due:
            self._leftovers.found(committed.lanes_due)
        self._kick()

    def on_unknown(self, batch: Batch) -> None:
        """Hear that a batch may be on disk (plug this into `Engine.on_unknown`): what it made ours is looked for."""
        self._leftovers.look_for(batch)

    def on_refused(self, batch: Batch) -> None:
        """Hear that settles could not be stored (plug this into `Engine.on_refused`): their lanes are let go.

        The store still says that they are ours, so the sweep finds them, and their events are told once more.
        """
        for settle in batch.settles:
            self._unsettled -= 1
            lane = self._lanes.held.get((settle.key, settle.endpoint))
            if lane is not None:
                self._lanes.drop(lane)
                lane.events.clear()

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
        if not self._in_flight:
            self._landed.set()
        self._kick()

    async def close(self, grace_s: float = 15.0) -> None:
        """Begin no more tries, let those under way end, and give the rest back to the store."""
        self._is_stopping = True
        self._leftovers.stop()
        if self._in_flight:
            self._landed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._landed.wait(), grace_s)
        await self._leftovers.close()
        await self._chores.end()
        with contextlib.suppress(HomingError):
            await self._apply_touches()
        with contextlib.suppress(HomingError):
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
        self._leftovers.look()

    def _job(self, lane: Lane, timestamp_s: int, refused: list[Settle]) -> Job | None:
        endpoint = lane.berth.endpoint
        view: EndpointView | None = self._directory.view(endpoint)
        if view is None and self._directory.is_refused(endpoint):
            attempt = Attempt(lane.began_ms, 0, 0, str(Outcome.REFUSED_BY_GUARD))
            self._put_off(lane, attempt, str(Outcome.REFUSED_BY_GUARD), None, refused)
            return None
        if view is None:
            while lane.events:
                self._give_up(lane, "endpoint_disabled", None, refused)
            return None
        n = lane.events[0][0]
        said = webhook_id(lane.key, n, endpoint)
        try:
            return build(view, notification(lane), said, timestamp_s, n, lane.tries + 1, tag=lane)
        except ContractError:
            self._give_up(lane, "unencodable", None, refused)
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
            return
        if ended is Outcome.OURS:
            # Nothing was sent and it is our fault: no try is spent.
            self._held_back += 1
            asyncio.get_running_loop().call_later(_OURS_AGAIN_S, self._again, lane)
            return
        if overloaded(done.status, ended):
            berth.pace.overloaded()
        attempt = _attempt(lane, done, ended)
        if verdict(ended) is Verdict.DISABLE:
            if berth.endpoint not in self._disabling:
                self._disabling.add(berth.endpoint)
                berth.paused_until_ms = _FOR_NOW_MS
                self._chores.spawn(self._disable(berth, "answered 410"))
            self._give_up(lane, "endpoint_gone", attempt, settles)
            return
        wait_ms = retry_after_ms(done.retry_after, int(time.time() * 1000))
        if wait_ms and pauses_endpoint(done.status):
            self._pause(berth, self._clock.now_ms() + wait_ms)
        self._put_off(lane, attempt, str(ended), wait_ms, settles)

    def _put_off(
        self, lane: Lane, attempt: Attempt, reason: str, wait_ms: int | None, settles: list[Settle]
    ) -> None:
        """A try was spent in vain: let the lane go until the next one, or give its first event up."""
        now_ms, endpoint = self._clock.now_ms(), lane.berth.endpoint
        at_ms = next_try_at(
            lane.tries + 1, now_ms, self._delays_ms, 2 * self._chance() - 1, wait_ms, lane.events[0][2]
        )
        if at_ms is None:
            self._give_up(lane, "tries_spent", attempt, settles)
            return
        n = lane.events[0][0]
        logger().info(
            LogEvent.CALLBACK_FAILED, message_id=uuid_text(lane.key), endpoint=endpoint, n=n,
            attempt=lane.tries + 1, outcome=reason, retry_in_ms=at_ms - now_ms,
        )  # fmt: skip
        settles.append(Settle(lane.key, endpoint, n, lane.tries, Settled.RETRY, attempt, at_ms, 0, reason))
        self._lanes.drop(lane)
        lane.events.clear()  # the store has them; a lane that is let go is told no more

    def _give_up(self, lane: Lane, reason: str, attempt: Attempt | None, settles: list[Settle]) -> None:
        """The first event is dead; the next one is tried once that is on disk, with tries of its own."""
        known = lane.known_after_first()
        n = lane.events.popleft()[0]
        tries, lane.tries = lane.tries, 0
        lane.settling += 1
        logger().warning(LogEvent.CALLBACK_DEAD, endpoint=lane.berth.endpoint, n=n, reason=reason)
        settles.append(
            Settle(lane.key, lane.berth.endpoint, n, tries, Settled.DEAD, attempt, 0, known, reason)
        )

    def _again(self, lane: Lane) -> None:
        self._held_back -= 1
        self._lanes.queue(lane)
        self._kick()

    def _pause(self, berth: Berth, until_ms: int) -> None:
        if until_ms > berth.paused_until_ms:
            berth.paused_until_ms = until_ms
            self._clock.at(until_ms, lambda: self._unpause(berth))

    def _unpause(self, berth: Berth) -> None:
        if berth.endpoint in self._disabling:
            return
        if berth.paused_until_ms > self._clock.now_ms():
            self._clock.at(berth.paused_until_ms, lambda: self._unpause(berth))
            return
        self._lanes.enter(berth)
        self._kick()

    async def _disable(self, berth: Berth, reason: str) -> None:
        endpoint = berth.endpoint
        try:
            await self._changes.apply(DisableEndpoint(endpoint, reason))
            logger().warning(LogEvent.ENDPOINT_DISABLED, endpoint=endpoint, reason=reason)
        except HomingError as error:
            logger().error(LogEvent.STORE_FULL, error=str(error))
        finally:
            self._disabling.discard(endpoint)
            berth.paused_until_ms = 0
        self._lanes.enter(berth)
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
