"""How large everything is, what a figure is, and where a part may put its store."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

Figure = dict[str, Any]
Place = Callable[[str], Path]
"""Names a data directory: a new and empty one, or one that holds millions of messages already."""


class Sizes(NamedTuple):
    """How much of everything."""

    events: int = 100_000
    endpoints: int = 100
    slow_endpoints: int = 500
    slow_s: float = 0.1
    seconds: float = 6.0
    rates: tuple[int, ...] = (500, 1_000)
    starts: int = 5
    neighbours: int = 1_000
    """P5: endpoints, of which three in ten hang and one in ten answers 503."""
    neighbours_per_s: int = 600
    neighbours_s: float = 120.0
    unrested_s: float = 100.0
    """P5: from then on the sick ones are expected to rest."""
    timeout_s: float | None = None
    """P5: how long a hanging endpoint is waited for; None: as the product has it."""
    stored: int = 10_000_000
    retries: int = 1_000_000
    owed: int = 1_000_000
    """P10: lanes that the killed process leaves behind."""

    @classmethod
    def smoke(cls) -> "Sizes":
        """Just enough to see that everything runs."""
        return cls(
            events=2_000, endpoints=10, slow_endpoints=20, seconds=1.0, rates=(200,), starts=1,
            neighbours=20, neighbours_per_s=100, neighbours_s=6.0, unrested_s=4.0, timeout_s=1.0,
            stored=20_000, retries=2_000, owed=10_000,
        )  # fmt: skip


Part = Callable[[Sizes, Path], Awaitable[list[Figure]]]


def figure(what: str, goal: str, value: float, better: str | None = "more") -> Figure:
    """One line of the table; ``better`` says which values are: more, less, or None where that is not the question."""
    return {"what": what, "goal": goal, "value": value, "better": better}


def counted(number: int) -> str:
    """A large number as it is said."""
    return f"{number / 1e6:g} million" if number >= 1_000_000 else f"{number:,}"


async def subject(part: str, order: dict[str, Any]) -> dict[str, float]:
    """Run `bench.subject` in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.subject", part, json.dumps(order), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"bench.subject {part} ended with {process.returncode}")
    measured: dict[str, float] = json.loads(out.splitlines()[-1])
    return measured
