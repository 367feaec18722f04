"""Waiting for a fact, never for a time: what tells of itself is awaited, the rest is looked for again and again.

Most things tell: an event, a line, a frame, a callback, a list that grows. Nothing tells of another process's memory, of
the kernel's, of real time; so each use of `again` says why it cannot be awaited.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.005
WITHIN_S = 20.0


async def again(
    ask: Callable[[], Awaitable[T]],
    holds: Callable[[T], object],
    why: str,
    *,
    within_s: float = WITHIN_S,
    every_s: float = PAUSE_S,
) -> T:
    """Ask until the answer holds, and return it; ``why`` is why nothing tells when it does.

    ``every_s`` is longer for what would be disturbed by so many questions.
    """
    ends_s = asyncio.get_running_loop().time() + within_s
    while not holds(answer := await ask()):
        left_s = ends_s - asyncio.get_running_loop().time()
        assert left_s > 0, f"still {answer!r} after {within_s} s (asked, for {why})"
        await asyncio.sleep(every_s)
    return answer


class Growing(list[T]):
    """A list that tells when something was appended to it."""

    def __init__(self) -> None:
        super().__init__()
        self._grown = asyncio.Event()

    def append(self, item: T) -> None:
        super().append(item)
        self._grown.set()

    async def until(self, count: int) -> None:
        """Wait until so many are in it; the test's own limit ends a wait in vain."""
        while len(self) < count:
            self._grown.clear()
            await self._grown.wait()
