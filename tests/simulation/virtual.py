"""Virtual time: an asyncio loop whose clock jumps to the next timer when nothing is left to do now.

The store's thread is real and is waited for; its answers come in the order they were asked for, each a moment of virtual
time later, so a run is the same every time. Nothing here sleeps: three days pass in seconds.
"""

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple, Unpack

import apsw
import pytest
from tests.store.fakes import NOON_MS

from homing.callbacks import courier, leftovers
from homing.engine import loop as engine_loop
from homing.store.sqlite import database

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STORE_S = 0.001
"""How long the store takes for each thing it is asked: that of a fast disk."""
EARLY = 0.25
_STUCK_S = 30.0
"""Real time after which a thread that owes an answer is called dead."""


class NothingLeft(RuntimeError):
    """Everybody waits for something that will never happen."""


class VirtualSelector(selectors.BaseSelector):
    """Watches no files: where a loop would wait, time passes instead."""

    def __init__(self) -> None:
        self.wait: Callable[[float | None], None]

    def register(self, fileobj: Any, events: int, data: object = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self.wait(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its seconds begin at 0 and cost nothing. Threads must say `expect` for each answer they will bring."""

    def __init__(self, selector: VirtualSelector | None = None) -> None:
        self._now_s = 0.0
        self._owed = 0
        self._free_s = 0.0
        self._arrived: SimpleQueue[tuple[Callable[[], object], Context | None]] = SimpleQueue()
        selector = selector or VirtualSelector()
        selector.wait = self._wait
        super().__init__(selector)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now_s

    def expect(self) -> None:
        """Let no time pass before a thread has brought one more answer."""
        self._owed += 1

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Take an answer from a thread; it is heard when it is its turn."""
        self._arrived.put((lambda: callback(*args), context))
        return asyncio.Handle(callback, args, self, context)

    def run_in_executor(
        self, executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Wait for it here and now: it is a thread's end, which takes no virtual time."""
        future: asyncio.Future[T] = self.create_future()
        future.set_result(func(*args))
        return future

    def _wait(self, timeout_s: float | None) -> None:
        """Everything that can be done now is done: hear a thread, or else let time pass."""
        if self._owed:
            heard, context = self._arrived.get(timeout=_STUCK_S)
            self._owed -= 1
            self._free_s = max(self._free_s, self._now_s) + STORE_S
            self.call_at(self._free_s, heard, context=context)
        elif timeout_s is None:
            raise NothingLeft
        else:
            self._now_s += timeout_s


class WaitedLane(database.Lane):
    """The store's thread, for whose answers a `VirtualLoop` waits: one for each piece of work.

    What would be done together real time decides, so nothing is.
    """

    together = 1

    async def start(self) -> None:
        _running().expect()
        await super().start()

    def do(self, work: Callable[[apsw.Connection], T], *, is_write: bool = False) -> asyncio.Future[T]:
        if not self._is_stopping:
            _running().expect()
        return super().do(work, is_write=is_write)


class LoopClock:
    """The product's clock, on the loop's time (`homing.clock.Clock`).

    One alarm in four rings 1 ms early: `RealClock` on uvloop, whose timers count whole milliseconds, does it as often.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._rng = random.Random(0)

    def now_ms(self) -> int:
        return NOON_MS + int(self._loop.time() * 1000 + 0.01)

    def at(self, when_ms: int, ring: Callable[[], None]) -> asyncio.TimerHandle:
        if self._rng.random() < EARLY and when_ms > self.now_ms() + 1:
            when_ms -= 1
        return self._loop.call_at(max(self._loop.time(), (when_ms - NOON_MS) / 1000), ring)


def _running() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def simulate(story: Callable[[LoopClock], Coroutine[Any, Any, T]], sweep_s: float | None = None) -> T:
    """Run a story in virtual time, with stores whose threads are waited for, and return what came of it.

    ``sweep_s`` makes what is done every few seconds rarer: a run of days is faster, and no sweep finds what was missed.
    What goes wrong in a callback or a task that nobody waits for is raised at the end.
    """
    wrong: list[BaseException] = []
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        patch.setattr(database, "Lane", WaitedLane)
        if sweep_s is not None:
            patch.setattr(leftovers, "SWEEP_S", sweep_s)
            patch.setattr(engine_loop, "SWEEP_S", sweep_s)
            patch.setattr(courier, "_TOUCH_S", sweep_s)
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        loop.set_exception_handler(
            lambda _loop, seen: wrong.append(seen.get("exception") or RuntimeError(seen["message"]))
        )
        told = runner.run(story(LoopClock(loop)))
    if wrong:
        raise wrong[0]
    return told
