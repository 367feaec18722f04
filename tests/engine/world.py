"""An engine on a scripted ledger, for a test to tell its story in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tests.engine.fakes import FakeLedger, PushedClock, new_key, until

from homing.engine import Engine
from homing.lifecycle.dispatch import Read
from homing.store.batch import Batch, Committed, Occurrence

Run = Callable[[Coroutine[Any, Any, None]], None]


class World:
    """An engine on a ledger that a test scripts."""

    def __init__(self) -> None:
        self.clock = PushedClock()
        self.ledger = FakeLedger(self.clock)
        self.engine = Engine(self.ledger, self.clock)
        self.heard: list[tuple[Batch, Committed]] = []
        self.engine.on_committed.append(lambda batch, committed: self.heard.append((batch, committed)))

    def script(self, *answers: BaseException | None) -> None:
        """Have the next commits raise these (None: succeed); all later ones succeed."""
        left = list(answers)

        async def hook(_batch: Batch) -> None:
            if left and (error := left.pop(0)) is not None:
                raise error

        self.ledger.hook = hook

    def poison(self, poisoned: Callable[[Batch], bool]) -> None:
        """Have every commit fail that holds the poison."""

        async def hook(batch: Batch) -> None:
            if poisoned(batch):
                raise RuntimeError("poison")

        self.ledger.hook = hook

    @asynccontextmanager
    async def gate(self) -> AsyncIterator[None]:
        """Hold the first commit while the block runs, so that what comes meanwhile is one batch."""
        opened = asyncio.Event()

        async def hook(_batch: Batch) -> None:
            await opened.wait()

        self.ledger.hook = hook
        self.engine.submit([Occurrence(new_key(), Read())])
        await until(lambda: self.ledger.tried)
        yield
        self.ledger.hook = None
        opened.set()


Tell = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]
