"""How large everything is, what a figure is, where a part may put its store, and the process that is measured."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

Figure = dict[str, Any]


class Spent(NamedTuple):
    """What a database server did for whoever asked it."""

    cpu_s: float
    statements: float
    commits: float
    log_bytes: float

    def since(self, before: "Spent") -> "Spent":
        """What it did after ``before``."""
        return Spent(*(now - then for now, then in zip(self, before, strict=True)))


class Meter(Protocol):
    """Says what a server has done so far."""

    def spent(self) -> Spent:
        """So much since it was started."""
        ...

    def rows_written(self) -> float:
        """Rows inserted, updated and deleted in this database; not all of them before its nodes have left."""
        ...


class Home(NamedTuple):
    """Where a node's key lies, and its store: a file beside it, or the database that ``url`` names."""

    data: Path
    url: str = ""
    meter: Meter | None = None


Place = Callable[[str], Home]
"""Names a home: a new and empty one, or one that holds millions of messages already."""


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
    nodes: tuple[int, ...] = (1, 2, 4)
    """P8: how many share the database at a time."""
    drains: int = 4
    """P1: how many of its four drains."""
    is_smoke: bool = False

    @classmethod
    def smoke(cls) -> "Sizes":
        """Just enough to see that everything runs."""
        return cls(
            events=2_000, endpoints=10, slow_endpoints=20, seconds=1.0, rates=(200,), starts=1,
            neighbours=20, neighbours_per_s=100, neighbours_s=6.0, unrested_s=4.0, timeout_s=1.0,
            stored=20_000, retries=2_000, owed=10_000, nodes=(2,), is_smoke=True,
        )  # fmt: skip

    def on_postgres(self) -> "Sizes":
        """The same for P8: what the embedded store's run proves already is not proved again."""
        return self._replace(events=500, seconds=0.4, drains=1) if self.is_smoke else self


Part = Callable[[Sizes, Path], Awaitable[list[Figure]]]


def figure(what: str, goal: str, value: float, better: str | None = "more") -> Figure:
    """One line of the table; ``better`` says which values are: more, less, or None where that is not the question."""
    return {"what": what, "goal": goal, "value": value, "better": better}


def counted(number: int) -> str:
    """A large number as it is said."""
    return f"{number / 1e6:g} million" if number >= 1_000_000 else f"{number:,}"


class Subject:
    """`bench.subject` in a process of its own: it makes itself ready, waits to be let go, and says what it measured."""

    def __init__(self, process: asyncio.subprocess.Process, part: str) -> None:
        self._process = process
        self._part = part

    @classmethod
    async def begin(cls, part: str, home: Home, order: dict[str, Any]) -> Self:
        """Start it and return when it is ready."""
        order = {**order, "data": str(home.data), "url": home.url}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.subject", part, json.dumps(order), stdin=pipe, stdout=pipe
        )
        begun = cls(process, part)
        await begun._said()
        return begun

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def measured(self) -> dict[str, float]:
        """What it measured; its store is still open."""
        return await self._said()

    async def end(self) -> None:
        """Let it close its store, and wait until it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        self._check()

    async def _said(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            self._check()
            raise RuntimeError(f"bench.subject {self._part} said nothing")
        said: dict[str, float] = json.loads(line)
        return said

    def _check(self) -> None:
        if self._process.returncode:
            raise RuntimeError(f"bench.subject {self._part} ended with {self._process.returncode}")


async def subject(part: str, home: Home, order: dict[str, Any]) -> dict[str, float]:
    """Run `bench.subject` once; with what it measured comes ``server_s``, the server's CPU meanwhile, if there is one."""
    one = await Subject.begin(part, home, order)
    before = None if home.meter is None else home.meter.spent()
    one.go()
    measured = await one.measured()
    if home.meter is not None and before is not None:
        measured["server_s"] = home.meter.spent().since(before).cpu_s
    await one.end()
    return measured
