"""Looking again and again, for facts of which nothing tells: another process's, the kernel's, real time's.

Whatever tells of itself (an event, a line, a frame, a callback) is awaited instead; so each use of this says why it cannot be.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.005
WITHIN_S = 20.0


async def again(
    ask: Callable[[], Awaitable[T]], holds: Callable[[T], object], why: str, *, within_s: float = WITHIN_S
) -> T:
    """Ask until the answer holds, and return it; ``why`` is why nothing tells when it does."""
    ends_s = asyncio.get_running_loop().time() + within_s
    while not holds(answer := await ask()):
        left_s = ends_s - asyncio.get_running_loop().time()
        assert left_s > 0, f"still {answer!r} after {within_s} s (asked, for {why})"
        await asyncio.sleep(PAUSE_S)
    return answer
