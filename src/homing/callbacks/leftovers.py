"""What the store holds for this node and its memory does not: retries that fell due, lanes born free, lanes of a process
that is no more, lanes whose hand-over was lost. It takes them into `Lanes`; it tries nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeVar

from homing.callbacks.berth import Berth
from homing.callbacks.chores import Chores
from homing.callbacks.lanes import Lanes
from homing.clock import Alarm, Clock
from homing.errors import HomingError
from homing.model import message_of
from homing.store.batch import Batch, LaneWork
from homing.store.port import Ledger
from homing.telemetry import LogEvent, going_on, logger

T = TypeVar("T")

SWEEP_S: Final = 30.0
"""How often the store is asked for lanes of ours that are not held: a hand-over that was lost."""
AGAIN_S: Final = 1.0
"""How long to wait when the store does not answer."""
_PAGE: Final = 500


class Leftovers:
    """Claims what is due as far as there is room, and looks now and then for what was forgotten."""

    def __init__(
        self,
        ledger: Ledger,
        lanes: Lanes,
        clock: Clock,
        kick: Callable[[], None],
        heard: Callable[[Berth], None],
    ) -> None:
        self._heard = heard
        self._ledger = ledger
        self._lanes = lanes
        self._clock = clock
        self._kick = kick
        self._chores = Chores()
        self._busy = 0
        self._is_stopping = False
        self._is_adopting = False
        self._is_asked_again = False
        self._alarm: Alarm | None = None
        self._alarm_ms: int | None = None
        self._missing: set[tuple[bytes, int]] = set()

    async def start(self) -> None:
        """Take up what the process before left: what it held, and what fell due meanwhile."""
        self.found((await self._ledger.outlook()).lanes_due)
        self.adopt()
        self._chores.spawn(self._sweep())

    def adopt(self) -> None:
        """Take up what a process that is no more held (plug this into `Ownership.on_orphaned`)."""
        if self._is_adopting or self._is_stopping:
            self._is_asked_again = True
            return
        self._is_adopting, self._is_asked_again = True, False
        self._busy += 1
        self._chores.spawn(self._adopt())

    def is_quiet(self, now_ms: int) -> bool:
        """Say whether nothing is being taken and nothing is due that could be."""
        return not self._busy and not self._lanes.claimable(now_ms)

    def stop(self) -> None:
        """Take nothing more."""
        self._is_stopping = True
        if self._alarm is not None:
            self._alarm.cancel()

    async def close(self) -> None:
        """End every look that is under way."""
        self.stop()
        await self._chores.end()

    def found(self, lanes_due: Mapping[int, int]) -> None:
        """Hear that lanes wait in the store: endpoint → when the first of them falls due."""
        for endpoint, due_ms in lanes_due.items():
            berth = self._lanes.berth(endpoint)
            self._lanes.hear_due(berth, due_ms)
            if berth.is_blocked:
                self._heard(berth)
        self.look()

    def look(self) -> None:
        """Claim for every endpoint whose lanes in the store are due, and be woken for the next."""
        if self._is_stopping:
            return
        now_ms = self._clock.now_ms()
        for berth in self._lanes.claimable(now_ms):
            if not berth.claiming and (size := self._lanes.claim_size(berth)):
                self._lanes.begin_claim(berth, size)
                self._busy += 1
                self._chores.spawn(self._claim(berth, size))
        self._arm(now_ms)

    def look_for(self, batch: Batch) -> None:
        """Take the lanes that a batch made ours, if it is on disk after all: its commit's outcome is unknown."""
        messages: set[bytes] = {accept.message_id for accept in batch.accepts}
        messages.update(incoming.message_id for incoming in batch.incomings)
        messages.update(message_of(occurrence.key) for occurrence in batch.occurrences)
        self._busy += 1
        self._chores.spawn(self._look_for(sorted(messages)))

    def _arm(self, now_ms: int) -> None:
        due_ms = self._lanes.next_due_ms(now_ms)
        if due_ms is None or (self._alarm_ms is not None and now_ms < self._alarm_ms <= due_ms):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = due_ms
        self._alarm = self._clock.at(due_ms, self._ring)

    def _ring(self) -> None:
        self._alarm_ms = None
        self.look()

    async def _claim(self, berth: Berth, size: int) -> None:
        with self._lanes.meanwhile.claiming() as is_news:
            try:
                claimed = await self._ledger.claim_lanes(berth.endpoint, size)
            except Exception as error:  # noqa: BLE001 - while a claim has no end, its endpoint is not claimed again
                complain(error)
                await asyncio.sleep(AGAIN_S)
                self._lanes.end_claim(berth, self._clock.now_ms())
            else:
                self._lanes.end_claim(berth, claimed.next_due_ms)
                for work in filter(is_news, claimed.lanes):
                    self._take(work)
            finally:
                self._busy -= 1
        self._kick()

    def _take(self, work: LaneWork) -> None:
        if work.events:
            self._lanes.add(work)

    def _find(self, work: LaneWork) -> None:
        if work.events:
            self._lanes.find(work)

    async def _adopt(self) -> None:
        """Walk once over the lanes that processes which are no more held; what does not fit here waits in the store."""
        after: tuple[bytes, int] = (b"", 0)
        meanwhile = self._lanes.meanwhile
        losses = meanwhile.losses
        count = 0
        try:
            while True:
                with meanwhile.claiming() as is_news:
                    works = await self._until_done(partial(self._ledger.adopt_lanes, after, _PAGE))
                    news = [work for work in works if is_news(work)]
                if not works:
                    break
                if losses != meanwhile.losses:  # they are another's by now, or will be
                    after, losses = (b"", 0), meanwhile.losses
                    continue
                count += len(works)
                after = (works[-1].key, works[-1].endpoint)
                over = [work for work in news if not self._has_taken(work)]
                if over:
                    await self._give_back([(work.key, work.endpoint) for work in over])
                    self.found(dict.fromkeys({work.endpoint for work in over}, self._clock.now_ms()))
                self._kick()
        finally:
            self._busy -= 1
            self._is_adopting = False
        if count:
            logger().info(LogEvent.CALLBACK_ADOPTED, lanes=count)
        if self._is_asked_again:
            self.adopt()

    def _has_taken(self, work: LaneWork) -> bool:
        if not self._lanes.has_room(work.endpoint):
            return False
        self._take(work)
        return True

    async def _give_back(self, places: list[tuple[bytes, int]]) -> None:
        self._lanes.meanwhile.part(places)
        try:
            await self._until_done(partial(self._ledger.release, places))
        finally:
            self._lanes.meanwhile.parted(places)

    async def _until_done(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store until it answers."""
        while True:
            try:
                return await ask()
            except Exception as error:  # noqa: BLE001 - who does not ask again leaves lanes to nobody
                complain(error)
                await asyncio.sleep(AGAIN_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            with going_on():
                await self.sweep()

    async def sweep(self) -> None:
        """Find lanes that the store says are ours and that are not held; seen so twice, they were forgotten."""
        missing: set[tuple[bytes, int]] = set()
        after: tuple[bytes, int] = (b"", 0)
        while True:
            works, free = await self._ours(after)
            if not works:
                break
            after = (works[-1].key, works[-1].endpoint)
            for work in free:
                if (work.key, work.endpoint) in self._missing and self._lanes.has_room(work.endpoint):
                    self._find(work)
                else:
                    missing.add((work.key, work.endpoint))
        self._missing = missing
        self.found((await self._ledger.outlook()).lanes_due)
        self._kick()

    async def _look_for(self, messages: list[bytes]) -> None:
        try:
            while messages:
                try:
                    await self._take_all_of(messages[-1])
                except Exception as error:  # noqa: BLE001 - as above
                    complain(error)
                    await asyncio.sleep(AGAIN_S)
                else:
                    messages.pop()
        finally:
            self._busy -= 1

    async def _take_all_of(self, message_id: bytes) -> None:
        """Take the lanes of one message that are ours and not held."""
        after: tuple[bytes, int] = (message_id, 0)
        while True:
            works, free = await self._ours(after)
            for work in free:
                if message_of(work.key) == message_id:
                    self._find(work)
            self._kick()
            if not works or message_of(works[-1].key) != message_id:
                break
            after = (works[-1].key, works[-1].endpoint)

    async def _ours(self, after: tuple[bytes, int]) -> tuple[list[LaneWork], list[LaneWork]]:
        """Read a page of the lanes that the store says are ours; return it, and those of it that are free to be taken.

        They are free until something is waited for: one may be taken, told and let go while another page is read.
        """
        with self._lanes.meanwhile.looking() as is_free:
            works = await self._ledger.held_lanes(after, _PAGE)
            return works, [work for work in works if is_free(work)]


def complain(error: Exception) -> None:
    """Log why the store did not answer; what it does not mean to raise is a bug, and is logged with its trace."""
    if isinstance(error, HomingError):
        logger().error(LogEvent.STORE_FULL, error=str(error))
    else:
        logger().error(LogEvent.NODE_FAILED, error=repr(error), exc_info=error)
