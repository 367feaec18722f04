"""Several nodes on one real PostgreSQL in virtual time: whole scenes in one loop, and what is between them.

Time stands while somebody waits for the database, and jumps to the next timer when nobody does. What a server answers
comes when it comes, so two runs are not the same to the step; nothing here may depend on that. Terms are real time, as in
production: five virtual minutes are over before the first could run out.
"""

import asyncio
import functools
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any, TypeVar

import pytest
from tests.simulation.scene import Scene
from tests.simulation.virtual import LoopClock, VirtualLoop, VirtualSelector

from homing.gateway import Gateway
from homing.gateway.hub import Online
from homing.store.postgres import PostgresStore
from homing.store.postgres.database import Database

T = TypeVar("T")

PATIENCE_S = 0.005
"""Real time for which a waiting server is waited for before a little time passes: somebody may wait for that."""
SLOW_S = 0.001
ARRIVAL_S = 0.0005
"""Real time before each jump, in which notifications arrive."""


class SharedSelector(VirtualSelector):
    """Watches the connections to the database; while ``asked`` is above 0 somebody waits for an answer."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.asked = 0

    def register(self, fileobj: Any, events: int, data: object = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: object = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return self._real.select(0)
        ready = self._real.select(PATIENCE_S if self.asked else ARRIVAL_S)
        if not ready:
            self.wait(min(timeout or SLOW_S, SLOW_S) if self.asked else timeout)
        return ready


def simulate_shared(story: Callable[[LoopClock], Coroutine[Any, Any, T]]) -> T:
    """Run a story with nodes on a PostgreSQL in virtual time; what goes wrong where nobody waits is raised at the end."""
    wrong: list[BaseException] = []
    selector = SharedSelector()
    with (
        pytest.MonkeyPatch.context() as patch,
        asyncio.Runner(loop_factory=lambda: VirtualLoop(selector)) as runner,
    ):
        for name in ("open", "connect", "write", "look", "fetch", "close"):
            patch.setattr(Database, name, _counted(getattr(Database, name), selector))
        for name in ("beat", "close"):
            patch.setattr(PostgresStore, name, _counted(getattr(PostgresStore, name), selector))
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        loop.set_exception_handler(
            lambda _loop, seen: wrong.append(seen.get("exception") or RuntimeError(seen["message"]))
        )
        told = runner.run(story(LoopClock(loop)))
    if wrong:
        raise wrong[0]
    return told


def _counted(ask: Callable[..., Coroutine[Any, Any, Any]], selector: SharedSelector) -> Callable[..., Any]:
    @functools.wraps(ask)
    async def counted(*given: Any, **named: Any) -> Any:
        selector.asked += 1
        try:
            return await ask(*given, **named)
        finally:
            selector.asked -= 1

    return counted


class Node(Scene):
    """One node of several: a scene with a gateway, plugged as `homing.node` does it."""

    def __init__(
        self, store: PostgresStore, clock: LoopClock, seed: int, online: Online, **given: Any
    ) -> None:
        super().__init__(store, clock, seed, may_start=store.may_start_try, catch_up=store.catch_up, **given)  # type: ignore[arg-type]
        self.node = store
        self._serial = count(seed * 1_000_000)
        self.gateway = Gateway(
            engine=self.engine, registry=store, archive=store, epoch=lambda: store.store_id, clock=clock, online=online,
            is_shared=True,
        )  # fmt: skip
        online.said = lambda recipient, is_linked: store.link(recipient, is_linked=is_linked)
        self.engine.on_committed.append(lambda _batch, committed: self.gateway.on_committed(committed))

    async def start(self) -> None:
        await super().start()
        self.node.on_share(self.courier.share)
        self.node.on_share(self.replays.share)
        self.node.on_orphaned(self.courier.orphaned)
        self.node.on_lost(self.courier.lost)
        self.node.on_hint(self.gateway.on_hint)

    async def close(self, grace_s: float = 15.0) -> None:
        await self.gateway.close()
        await super().close(grace_s)


@asynccontextmanager
async def nodes(address: str, clock: LoopClock, how_many: int = 2, **given: Any) -> AsyncIterator[list[Node]]:
    """Open so many nodes on one database, with the receivers of the first; ``given`` are settings of the couriers."""
    async with AsyncExitStack() as stack:
        places: list[Node] = []
        for seed in range(1, how_many + 1):
            online = Online()
            store = await PostgresStore.open(address, clock=clock, online=online, name=f"node {seed}")
            stack.push_async_callback(store.close)
            place = Node(store, clock, seed, online, **given)
            await place.start()
            places.append(place)
            place.sender.receivers = places[0].sender.receivers
        while any(len(place.node._known.live) < how_many for place in places):
            await asyncio.sleep(1)
        yield places
        for place in places:
            await place.close()
