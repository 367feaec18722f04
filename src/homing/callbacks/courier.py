"""The courier to customers: takes lanes, tells their events one after the other, settles what came of it.

Order is kept by never having two tries of one lane under way; isolation by a berth per endpoint. It decides nothing
about a message's life, and whether a lane holds more events only its row in the store can tell.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from homing.callbacks.berth import Berth, Lane
from homing.callbacks.chores import Chores
from homing.callbacks.directory import Directory
from homing.callbacks.doctor import Doctor
from homing.callbacks.doubts import Doubts
from homing.callbacks.faults import wait_s
from homing.callbacks.job import Done, EndpointView, Job
from homing.callbacks.judge import Judge
from homing.callbacks.lanes import PUT_OFF, ROOM_PER_ENDPOINT, Lanes
from homing.callbacks.leftovers import Leftovers
from homing.callbacks.meanwhile import Says
from homing.callbacks.ports import Changes, Counts, Recorder, Tries
from homing.callbacks.request import build, destination, webhook_id
from homing.callbacks.telling import notification
from homing.callbacks.verdict import Outcome
from homing.clock import Clock
from homing.contract.errors import ContractError
from homing.errors import HomingError
from homing.store.batch import Attempt, Batch, Committed, Facts, LaneWork, Settle
from homing.store.changes import Change, TouchEndpoints
from homing.store.port import Ledger, Share
from homing.telemetry import going_on

_TOUCH_S: Final = 5.0
_TERM_AGAIN_S: Final = 1.0


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
        may_start: Callable[[], bool] = lambda: True,
        catch_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``may_start``: see `Ownership.may_start_try`; ``catch_up``, where there are other nodes: see `Registry.catch_up`."""
        self._recorder = recorder
        self._ledger = ledger
        self._changes = changes
        self._directory = directory
        self._sender = sender
        self._clock = clock
        self._max_in_flight = max_in_flight
        self._may_start_try = may_start
        self._waits_for_term: asyncio.TimerHandle | None = None
        self._lanes = lanes = Lanes(max_per_endpoint, max_in_flight, self._furnish)
        self._leftovers = Leftovers(ledger, lanes, clock, self._kick_soon, self._stored)
        self._doctor = Doctor(
            lanes, self._leftovers, ledger, changes, directory, clock,
            kick=self._kick, probe=self._probe, chance=chance,
        )  # fmt: skip
        self._judge = Judge(lanes, self._doctor, directory, changes, clock, counts, delays_ms, chance)
        self._doubts = Doubts(directory, catch_up, self._resolved)
        self._in_flight = 0
        self._unsettled = 0
        self._held_back = 0
        self._kick_is_due = False
        self._is_stopping = False
        self._landed = asyncio.Event()
        self._chores = Chores()

    async def start(self) -> None:
        """Take up what the process before left: what it held, and what fell due meanwhile."""
        for endpoint, view in self._directory.views().items():
            if view.is_resting or view.is_paused:
                self._lanes.berth(endpoint)
        await self._leftovers.start()
        self._chores.spawn(self._touch())

    def is_quiet(self) -> bool:
        """Say whether nothing is under way and nothing is due that could be begun."""
        now_ms = self._clock.now_ms()
        if self._in_flight or self._unsettled or self._held_back or self._lanes.stranded:
            return False
        if not (self._doctor.is_quiet() and self._judge.is_quiet() and self._leftovers.is_quiet(now_ms)):
            return False
        if not self._doubts.is_quiet():
            return False
        return not any(
            berth.waiting and self._may_start(berth, now_ms) for berth in self._lanes.berths.values()
        )

    def crowded(self) -> frozenset[int]:
        """See `Lanes.crowded`; asked before each batch (plug this into `Engine.born_free`)."""
        self._lanes.meanwhile.batch_begins()
        return self._lanes.crowded(self._clock.now_ms())

    def waiting(self) -> dict[int, int]:
        """How many lanes are held for each endpoint, for the metrics."""
        return {berth.endpoint: berth.held for berth in self._lanes.berths.values() if berth.held}

    def health(self) -> Mapping[str, int]:
        """How many endpoints are active, resting and paused, for the metrics."""
        return self._doctor.health()

    def oldest_due_ms(self) -> int | None:
        """See `Lanes.oldest_due_ms`, for the metrics."""
        return self._lanes.oldest_due_ms()

    def is_open(self, endpoint: int) -> bool:
        """Say whether an endpoint would be told now, and there is room for more of its lanes."""
        berth = self._lanes.berth(endpoint)
        if self._directory.view(endpoint) is None or berth.held >= ROOM_PER_ENDPOINT // 2:
            return False
        return not berth.is_blocked and berth.paused_until_ms <= self._clock.now_ms()

    def claiming(self) -> contextlib.AbstractContextManager[Says]:
        """See `Meanwhile.claiming`, for lanes that are taken here."""
        return self._lanes.meanwhile.claiming()

    def take(self, works: Sequence[LaneWork]) -> None:
        """Tell these lanes too, which are ours already: replays. Where nothing may be told they go back to the store."""
        for work in works:
            self._lanes.add(work)
        self._kick()

    def changed(self, change: Change, value: object) -> None:
        """Hear of a change of the registry, after the directory did."""
        self._doctor.changed(change, value)

    def on_committed(self, committed: Committed) -> None:
        """Hear what is on disk: settles of ours, and new lanes or events to tell."""
        lanes, held = self._lanes, self._lanes.held
        # First what is new, so that no lane is let go that has more to tell.
        for work in committed.lanes:
            if not lanes.meanwhile.is_known(work):
                lanes.add(work)
        self._unsettled -= len(committed.settled)
        for settle in committed.settled:
            place = settle.key, settle.endpoint
            if settle.verdict in PUT_OFF:
                lanes.meanwhile.parted([place])
                continue
            lane = held.get(place)
            if lane is not None and lane.settling:
                lane.settling -= 1
                if lane.events:
                    lanes.queue(lane)
                elif not lane.settling and not lane.is_trying:
                    lanes.drop(lane)
        if committed.lanes_due:
            self._leftovers.found(committed.lanes_due)
        self._kick()

    def on_work(self, lanes_due: Mapping[int, int]) -> None:
        """Hear of lanes that nobody owns: endpoint → when they fall due (plug this into `Handovers.on_lanes`)."""
        self._leftovers.found(lanes_due)

    def orphaned(self) -> None:
        """Hear that another node is no more (plug this into `Ownership.on_orphaned`)."""
        self._leftovers.adopt()

    def share(self, share: Share) -> None:
        """Hear how many tell callbacks, and which of them this is (plug this into `Ownership.on_share`)."""
        self._doctor.share(share)

    def lost(self) -> None:
        """Hear that what is held here may be others' by now (plug this into `Ownership.on_lost`)."""
        self._lanes.lose()

    def reloaded(self) -> None:
        """Hear that the directory was read anew: changes may have been missed."""
        self._doctor.reloaded()

    def on_unknown(self, batch: Batch) -> None:
        """Hear that a batch may be on disk (plug this into `Engine.on_unknown`): what it made ours is looked for."""
        self._leftovers.look_for(batch)

    def on_refused(self, batch: Batch) -> None:
        """Hear that settles could not be stored (plug this into `Engine.on_refused`): their lanes are let go.

        The store still says that they are ours, so the sweep finds them, and their events are told once more.
        """
        for settle in batch.settles:
            self._unsettled -= 1
            if settle.verdict in PUT_OFF:
                self._lanes.meanwhile.parted([(settle.key, settle.endpoint)])
            lane = self._lanes.held.get((settle.key, settle.endpoint))
            if lane is not None:
                self._lanes.drop(lane)
                lane.events.clear()

    def on_done(self, dones: Sequence[Done]) -> None:
        """Hear what came of tries; settle them and go on."""
        settles: list[Settle] = []
        judge, ended, now_ms = self._judge.judge, self._lanes.ended, self._clock.now_ms()
        for done in dones:
            self._in_flight -= 1
            lane = done.job.tag
            assert isinstance(lane, Lane)
            was_probe = lane.is_probe
            ended(lane)
            if not judge(lane, done, settles, now_ms, is_probe=was_probe):
                self._held_back += 1
                asyncio.get_running_loop().call_later(wait_s(lane.faults), self._again, lane)
            if was_probe:
                self._doctor.probed(lane.berth)
        self._settle(settles)
        if not self._in_flight:
            self._landed.set()
        self._kick()

    async def close(self, grace_s: float = 15.0) -> None:
        """Begin no more tries, let those under way end, and give the rest back to the store."""
        self._is_stopping = True
        if self._waits_for_term is not None:
            self._waits_for_term.cancel()
        self._leftovers.stop()
        self._doctor.stop()
        if self._in_flight:
            self._landed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._landed.wait(), grace_s)
        await self._leftovers.close()
        await self._doubts.close()
        await self._doctor.close()
        await self._judge.close()
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
        if not self._may_start_try():
            self._wait_for_term()
            return
        lanes, now_ms = self._lanes, self._clock.now_ms()
        started = lanes.start(room, now_ms)
        if started:
            self._try(started)
        if lanes.slowed:
            for berth, at_ms in lanes.slowed:
                self._clock.at(at_ms, lambda berth=berth: self._go_on(berth))  # type: ignore[misc]
            lanes.slowed.clear()
        if lanes.stranded:
            self._doctor.clear_stranded()
        self._leftovers.look()

    def _kick_soon(self) -> None:
        """Kick once for all that the store answers in this turn of the loop: hundreds of endpoints claim at a time."""
        if not self._kick_is_due:
            self._kick_is_due = True
            asyncio.get_running_loop().call_soon(self._kick_now)

    def _kick_now(self) -> None:
        self._kick_is_due = False
        self._kick()

    def _wait_for_term(self) -> None:
        """Begin nothing until this node knows again that what it holds stays its own."""
        if self._waits_for_term is None:
            self._waits_for_term = asyncio.get_running_loop().call_later(_TERM_AGAIN_S, self._look_at_term)

    def _look_at_term(self) -> None:
        self._waits_for_term = None
        self._kick()

    def _try(self, started: Sequence[Lane]) -> None:
        jobs: list[Job] = []
        refused: list[Settle] = []
        timestamp_s = int(time.time())
        for lane in started:
            is_doubtful = self._doubts.has(lane.berth.endpoint)
            job = None if is_doubtful else self._job(lane, timestamp_s, refused)
            if job is not None:
                jobs.append(job)
                continue
            was_probe = lane.is_probe
            self._lanes.ended(lane)
            if is_doubtful:
                self._doubts.hold(lane)
            if was_probe:
                self._doctor.probed(lane.berth)
        self._in_flight += len(jobs)
        if jobs:
            self._sender.submit(jobs)
        self._settle(refused)

    def _furnish(self, berth: Berth) -> None:
        self._doctor.furnish(berth)

    def _stored(self, berth: Berth) -> None:
        self._doctor.due(berth)

    def _probe(self, lane: Lane) -> None:
        """Try one lane of an endpoint that rests, whatever else is under way."""
        if self._lanes.held.get((lane.key, lane.berth.endpoint)) is not lane:
            self._doctor.probed(lane.berth)
            return
        if not self._may_start_try():
            asyncio.get_running_loop().call_later(_TERM_AGAIN_S, self._probe, lane)
            return
        self._lanes.begin(lane, self._clock.now_ms())
        self._try([lane])

    def _settle(self, settles: list[Settle]) -> None:
        if settles:
            self._unsettled += len(settles)
            if parting := [(one.key, one.endpoint) for one in settles if one.verdict in PUT_OFF]:
                self._lanes.meanwhile.part(parting)
            self._recorder.settle(settles)

    def _job(self, lane: Lane, timestamp_s: int, refused: list[Settle]) -> Job | None:
        endpoint = lane.berth.endpoint
        view: EndpointView | None = self._directory.view(endpoint)
        if view is None and self._directory.is_refused(endpoint):
            attempt = Attempt(lane.began_ms, 0, 0, str(Outcome.REFUSED_BY_GUARD))
            self._judge.put_off(lane, attempt, str(Outcome.REFUSED_BY_GUARD), None, refused)
            return None
        if view is None:
            self._give_up_all(lane, refused)
            return None
        n = lane.events[0][0]
        facts = lane.facts
        said = webhook_id(lane.key, n, endpoint)
        try:
            if isinstance(facts, Facts) and facts.notify is not None:
                url, form = destination(facts.notify)
                return build(
                    view, notification(lane), said, timestamp_s, n, lane.tries + 1, lane.job,
                    url=url, form=form, tag=lane,
                )  # fmt: skip
            return build(view, notification(lane), said, timestamp_s, n, lane.tries + 1, lane.job, tag=lane)
        except (ContractError, HomingError):
            self._judge.give_up(lane, "unencodable", None, refused)
            return None

    def _give_up_all(self, lane: Lane, refused: list[Settle]) -> None:
        while lane.events:
            self._judge.give_up(lane, "endpoint_disabled", None, refused)

    def _resolved(self, lanes: Sequence[Lane]) -> None:
        """What was to be known of these lanes' endpoints is known: tell them, or give them up."""
        refused: list[Settle] = []
        for lane in lanes:
            if self._lanes.held.get((lane.key, lane.berth.endpoint)) is not lane:
                continue  # the term was lost meanwhile
            if self._doubts.has(lane.berth.endpoint):
                self._give_up_all(lane, refused)
            else:
                self._lanes.queue(lane)
        self._settle(refused)
        self._kick()

    def _again(self, lane: Lane) -> None:
        self._held_back -= 1
        if self._lanes.held.get((lane.key, lane.berth.endpoint)) is lane:
            self._lanes.queue(lane)
        self._kick()

    def _go_on(self, berth: Berth) -> None:
        self._lanes.go_on(berth)
        self._kick()

    def _may_start(self, berth: Berth, now_ms: int) -> bool:
        if berth.is_blocked or berth.paused_until_ms > now_ms:
            return False
        return not berth.interval_ms or berth.allowed_at(now_ms) <= now_ms

    async def _touch(self) -> None:
        while True:
            await asyncio.sleep(_TOUCH_S)
            with going_on():
                await self._apply_touches()

    async def _apply_touches(self) -> None:
        succeeded = self._judge.take_successes()
        if succeeded:
            await self._changes.apply(TouchEndpoints(succeeded))
