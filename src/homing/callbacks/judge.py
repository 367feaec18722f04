"""What came of a try, as what is settled: told, to be tried again, given up, or not counted because the endpoint rests.

It writes nothing and sends nothing; who asks settles what it hands over.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from homing.callbacks.berth import Lane
from homing.callbacks.chores import Chores
from homing.callbacks.diagnosis import note
from homing.callbacks.directory import Directory
from homing.callbacks.doctor import Doctor
from homing.callbacks.faults import Faults
from homing.callbacks.job import Done
from homing.callbacks.lanes import Lanes
from homing.callbacks.ports import Changes, Counts
from homing.callbacks.request import shown
from homing.callbacks.schedule import is_too_old, next_try_at
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
from homing.errors import HomingError
from homing.model import message_of, uuid_text
from homing.store.batch import Attempt, Settle
from homing.store.batch import Verdict as Settled
from homing.store.changes import EndNotify
from homing.store.views import AttemptDetail
from homing.telemetry import LogEvent, logger

_detail: Final = msgspec.json.Encoder().encode
_SUCCESS, _DONE = Outcome.SUCCESS, Settled.DONE  # found faster than as their classes'


class Judge:
    """Turns `Done`s into `Settle`s."""

    def __init__(
        self,
        lanes: Lanes,
        doctor: Doctor,
        directory: Directory,
        changes: Changes,
        clock: Clock,
        counts: Counts,
        delays_ms: Sequence[int],
        chance: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._doctor = doctor
        self._directory = directory
        self._changes = changes
        self._clock = clock
        self._counts = counts
        self._delays_ms = tuple(delays_ms)
        self._chance = chance
        self._chores = Chores()
        self._faults = Faults()
        self._ending: set[bytes] = set()
        self._succeeded: dict[int, int] = {}

    def is_quiet(self) -> bool:
        """Say whether nothing is on its way to the store."""
        return not self._ending

    async def close(self) -> None:
        """End what is under way."""
        await self._chores.end()

    def take_successes(self) -> tuple[tuple[int, int], ...]:
        """Return (endpoint, time of its last 2xx in ms) of those that had one since the last question."""
        succeeded, self._succeeded = self._succeeded, {}
        return tuple(succeeded.items())

    def judge(self, lane: Lane, done: Done, settles: list[Settle], now_ms: int, *, is_probe: bool) -> bool:
        """Add what the try settles; False when nothing was sent, the fault is ours, and it is to be tried again."""
        ended = outcome(done.status, done.error)
        dns_ms, connect_ms, tls_ms, _first_byte_ms, took_ms = done.phases
        berth = lane.berth
        self._counts.attempt(berth.endpoint, ended, took_ms / 1000)
        if connect_ms:
            self._counts.connected(dns_ms, connect_ms, tls_ms)
        if ended is _SUCCESS:
            self._doctor.answered(berth, now_ms)
            self._told(lane, done, took_ms, settles)
            return True
        if ended is Outcome.OURS:
            self._faults.say(berth.endpoint, done.error_text)
            if not is_probe:
                return self._unsent(lane, done, settles, now_ms)
        lane.faults = 0
        if ended is Outcome.REFUSED_BY_GUARD:
            # Which address it was is for the operator alone; the attempt log is the endpoint's owner's.
            logger().warning(LogEvent.GUARD_REFUSED, endpoint=berth.endpoint, reason=done.error_text)
        spends = self._doctor.failed(berth, ended, f"{done.status or ended}")
        if overloaded(done.status, ended):
            berth.pace.overloaded()
        attempt = self._failure(lane, done, ended)
        if verdict(ended) is Verdict.DISABLE:
            self._gone(lane, attempt, settles)
            return True
        wait_ms = retry_after_ms(done.retry_after, int(time.time() * 1000))
        if wait_ms and pauses_endpoint(done.status):
            self._doctor.pause(berth, now_ms + wait_ms)
        if is_probe or not spends:
            self._wait(lane, attempt, settles)
        else:
            self.put_off(lane, attempt, str(ended), wait_ms, settles)
        return True

    def _told(self, lane: Lane, done: Done, took_ms: int, settles: list[Settle]) -> None:
        """The first event is settled: nearly every try ends here."""
        berth = lane.berth
        berth.pace.succeeded(took_ms, is_full=bool(berth.ready or berth.others))
        self._succeeded[berth.endpoint] = lane.began_ms
        known = lane.known_after_first()
        n = lane.events.popleft()[0]
        tries, lane.tries, lane.faults = lane.tries, 0, 0
        lane.settling += 1
        attempt = Attempt(lane.began_ms, took_ms, done.status, None, done.address)
        settles.append(Settle(lane.key, berth.endpoint, n, tries, _DONE, attempt, 0, known))

    def _unsent(self, lane: Lane, done: Done, settles: list[Settle], now_ms: int) -> bool:
        """Nothing was sent: no try is spent. What is too old is given up all the same, if it was tried before."""
        if is_too_old(lane.tries, now_ms, lane.events[0][2]):
            lane.faults = 0
            self.give_up(lane, "tries_spent", self._failure(lane, done, Outcome.OURS), settles)
            return True
        lane.faults += 1
        return False

    def put_off(
        self, lane: Lane, attempt: Attempt, reason: str, wait_ms: int | None, settles: list[Settle]
    ) -> None:
        """A try was spent in vain: let the lane go until the next one, or give its first event up."""
        now_ms, endpoint = self._clock.now_ms(), lane.berth.endpoint
        view = self._directory.view(endpoint)
        delays_ms = self._delays_ms if view is None or view.delays_ms is None else view.delays_ms
        n, _status, event_at_ms = lane.events[0]
        at_ms = next_try_at(lane.tries + 1, now_ms, delays_ms, 2 * self._chance() - 1, wait_ms, event_at_ms)
        if at_ms is None:
            self.give_up(lane, "tries_spent", attempt, settles)
            return
        logger().info(
            LogEvent.CALLBACK_FAILED, message_id=uuid_text(lane.key), endpoint=endpoint, n=n,
            attempt=lane.tries + 1, outcome=reason, retry_in_ms=at_ms - now_ms,
        )  # fmt: skip
        settles.append(Settle(lane.key, endpoint, n, lane.tries, Settled.RETRY, attempt, at_ms, 0, reason))
        self._lanes.drop(lane)
        lane.events.clear()  # the store has them; a lane that is let go is told no more

    def give_up(self, lane: Lane, reason: str, attempt: Attempt | None, settles: list[Settle]) -> None:
        """The first event is dead; the next one is tried once that is on disk, with tries of its own."""
        known = lane.known_after_first()
        n = lane.events.popleft()[0]
        tries, lane.tries = lane.tries, 0
        lane.settling += 1
        endpoint = lane.berth.endpoint
        logger().warning(LogEvent.CALLBACK_DEAD, endpoint=endpoint, n=n, reason=reason)
        settles.append(Settle(lane.key, endpoint, n, tries, Settled.DEAD, attempt, 0, known, reason))

    def _wait(self, lane: Lane, attempt: Attempt, settles: list[Settle]) -> None:
        """The endpoint rests: the lane goes back as it was, due at once, for whichever comes up first."""
        n = lane.events[0][0]
        now_ms = self._clock.now_ms()
        settles.append(Settle(lane.key, lane.berth.endpoint, n, lane.tries, Settled.WAIT, attempt, now_ms))
        self._lanes.drop(lane)
        lane.events.clear()

    def _gone(self, lane: Lane, attempt: Attempt, settles: list[Settle]) -> None:
        """A 410: the endpoint takes nothing more; of a message's own callbacks, this message's."""
        view = self._directory.view(lane.berth.endpoint)
        if view is None or view.kind != "notify":
            self._doctor.disable(lane.berth, "answered 410")
            self.give_up(lane, "endpoint_gone", attempt, settles)
            return
        self.give_up(lane, "endpoint_gone", attempt, settles)
        while lane.events:
            self.give_up(lane, "endpoint_gone", None, settles)
        message = message_of(lane.key)
        if message not in self._ending:
            self._ending.add(message)
            self._chores.spawn(self._end_notify(message))

    async def _end_notify(self, message: bytes) -> None:
        try:
            with contextlib.suppress(HomingError):
                await self._changes.apply(EndNotify(message))
        finally:
            self._ending.discard(message)

    def _failure(self, lane: Lane, done: Done, ended: Outcome) -> Attempt:
        phases = done.phases
        line, headers = shown(done.job)
        detail = AttemptDetail(
            line, headers, (phases.dns_ms, phases.connect_ms, phases.tls_ms, phases.first_byte_ms), note(done)
        )
        return Attempt(
            lane.began_ms, phases.total_ms, done.status, str(ended), done.address, done.answer or None,
            _detail(detail),
        )  # fmt: skip
