"""Offices on one PostgreSQL: couriers of several nodes, plugged as `homing.node` does it, with one clock that is pushed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.callbacks.office import Office
from tests.engine.fakes import PushedClock

from homing.store.postgres import PostgresStore


class SharedOffice(Office):
    """One node's office; `beat` when its heart is to beat, it does so at no other time."""

    def __init__(self, store: PostgresStore, clock: PushedClock, **given: Any) -> None:
        super().__init__(store, clock, store, catch_up=store.catch_up, may_start=store.may_start_try, **given)  # type: ignore[arg-type]
        self.node = store
        store.on_share(self.courier.share)
        store.on_orphaned(self.courier.orphaned)
        store.on_lost(self.courier.lost)

    async def beat(self) -> None:
        """Renew the term, hear who lives and what was changed."""
        await self.node.beat()

    async def die(self) -> None:
        """End as a process that is killed, a term ago: nothing is given back."""
        self.sender.on_done = lambda _dones: None
        self.courier._is_stopping = self.courier._doctor._is_stopping = True
        self.courier._leftovers.stop()
        await self.node._db.write(
            lambda c: c.execute(
                "UPDATE node SET alive_until = clock_timestamp() WHERE epoch = $1", self.node.epoch
            )
        )


@asynccontextmanager
async def offices(address: str, count: int = 2, **given: Any) -> AsyncIterator[list[SharedOffice]]:
    """Open so many offices on one database; the first founds the application and the user Ann. Each knows all others."""
    clock = PushedClock()
    async with AsyncExitStack() as stack:
        places = []
        for _ in range(count):
            store = await PostgresStore.open(address, clock=clock, feed_lag_ms=0, beats=False)
            stack.push_async_callback(store.close)
            place = SharedOffice(store, clock, **given)
            await place.start()
            stack.push_async_callback(place.engine.close, 0.5)
            stack.push_async_callback(place.courier.close, 0.5)
            places.append(place)
        for place in places:
            await place.beat()
        yield places
