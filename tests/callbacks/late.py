"""A ledger in front of the real one whose answers are late, and what tests of that look at."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.callbacks.office import Office
from tests.engine.fakes import until
from tests.store.fakes import message_id

from homing.model import Body, DispatchKey, message_of
from homing.store.batch import Accept, Addressee, Batch, Committed, LaneWork
from homing.store.port import Claimed, Ledger, ReplayStep


class Late:
    """A ledger in front of the real one that keeps the answer of one look at the lanes held back until `hear`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._heard = asyncio.Event()
        self.before_it: int | None = None
        """So many looks are answered at once before it; None: all are."""
        self.kept: Sequence[LaneWork] | None = None
        self.keeps_claims = False
        self.claims: list[Claimed] = []
        self.keeps: str | None = None
        """adopt, replay or commit: the next answer is held back; release: the store is not even asked before `hear`."""
        self.is_asked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def held_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """Read at once, and answer when it is time."""
        works = await self._ledger.held_lanes(after, limit)
        if self.before_it is None:
            return works
        if self.before_it:
            self.before_it -= 1
            return works
        self.before_it, self.kept = None, works
        await self._heard.wait()
        return works

    async def claim_lanes(self, endpoint: int, limit: int, chance: float | None = None) -> Claimed:
        """Claim at once, and answer when it is time."""
        claimed = await self._ledger.claim_lanes(endpoint, limit, chance)
        if self.keeps_claims and claimed.lanes:
            self.claims.append(claimed)
            await self._heard.wait()
        return claimed

    async def adopt_lanes(self, after: tuple[bytes, int], limit: int) -> list[LaneWork]:
        """Adopt at once, and answer when it is time."""
        works = await self._ledger.adopt_lanes(after, limit)
        if works:
            await self._wait("adopt")
        return works

    async def replay_step(self, job: str, limit: int) -> ReplayStep:
        """Open lanes at once, and answer when it is time."""
        step = await self._ledger.replay_step(job, limit)
        await self._wait("replay")
        return step

    async def commit(self, batch: Batch) -> Committed:
        """Store at once, and answer when it is time."""
        committed = await self._ledger.commit(batch)
        await self._wait("commit")
        return committed

    async def release(self, lanes: Sequence[tuple[bytes, int]]) -> None:
        """Give back when it is time."""
        await self._wait("release")
        await self._ledger.release(lanes)

    async def _wait(self, what: str) -> None:
        if self.keeps == what:
            self.keeps, self.is_asked = None, True
            await self._heard.wait()

    def hear(self) -> None:
        """Give the answer that was kept."""
        self._heard.set()


def late(place: Office) -> Late:
    """The ledger that such an office was given."""
    ledger = place.engine._ledger
    assert isinstance(ledger, Late)
    return ledger


async def stored(place: Office) -> Batch:
    """Store a message past the engine, as a commit of unknown outcome does: the lanes are ours, and nobody holds them."""
    to = (Addressee("Ann", "ann"),)
    batch = Batch(accepts=[Accept(message_id(place.clock.ms), place.app, None, Body("hello"), to)])
    await place.store.commit(batch)
    return batch


def about(place: Office, key: DispatchKey) -> Batch:
    """Return a batch that would have made lanes of this message ours."""
    to = (Addressee("Ann", "ann"),)
    return Batch(accepts=[Accept(message_of(key), place.app, None, Body("hello"), to)])


async def let_go(place: Office) -> None:
    """Wait until no lane is held and what became of them is on disk."""
    courier = place.courier
    await until(lambda: courier.waiting() == {} and not courier._unsettled and place.engine.is_quiet())
