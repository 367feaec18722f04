"""P8: PostgreSQL. P1, P2 and P4 with a shared store, and whole lives (P3) at 1, 2 and 4 nodes, with what each costs whom.

What it means is said in docs/performance.md. One server is started for all of it, and each part has a database of its own.
"""

import asyncio
import atexit
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.database import Database
from bench.sizes import Figure, Home, Part, Place, Sizes, Subject, figure
from bench.wire import Sink

_GOALS = {
    "drain, 1 endpoint: callbacks/s": "≥ 8,000",
    "drain, 1 endpoint: CPU µs per callback": "≤ 60",
}
"""What P8 asks where the embedded store is asked for more."""
_database: list[Database] = []


async def nodes(sizes: Sizes, _folder: Path) -> list[Figure]:
    """P8: whole lives, by so many nodes on the one core, with what each callback costs whom."""
    short = sizes.on_postgres()
    figures = []
    for count in short.nodes:
        figures += await _lives(short, count, 256)
    return figures + (await _lives(short, 1, 64))[:3]


async def _lives(sizes: Sizes, count: int, at_once: int) -> list[Figure]:
    home = (await _server()).home(is_wakeable=True)
    assert home.meter is not None
    sink = Sink()
    await sink.listen()
    order = {"urls": [sink.url()], "open": at_once, "seconds": sizes.seconds, "nodes": count}
    subjects = [await Subject.begin("life", home, {**order, "nth": nth}) for nth in range(count)]
    before = home.meter.spent()
    for one in subjects:
        one.go()
    measured = await asyncio.gather(*(one.measured() for one in subjects))
    spent = home.meter.spent().since(before)
    for one in subjects:
        await one.end()
    rows = home.meter.rows_written()
    sink.close()
    callbacks = sum(one["callbacks"] for one in measured)
    if sink.count < callbacks:
        raise RuntimeError(f"the sink saw {sink.count} of {callbacks:.0f} callbacks")
    per_s = sum(4 * one["per_s"] for one in measured)
    node_us = 1e6 * sum(one["cpu_s"] for one in measured) / callbacks
    goal = "≥ 8,000" if count == 1 else ""
    what = f"{count} nodes on one core" if count > 1 else f"1 node, {at_once} open"
    return [
        figure(f"{what}: callbacks/s in all", goal, per_s),
        figure(f"{what}: CPU µs per callback of the node", "≤ 60", node_us, "less"),
        figure(f"{what}: CPU µs per callback of the server", "≤ 40", 1e6 * spent.cpu_s / callbacks, "less"),
        figure(f"{what}: callbacks per commit", "", callbacks / spent.commits),
        figure(f"{what}: statements per commit, its own among them", "", spent.statements / spent.commits, "less"),
        figure(f"{what}: statements per callback", "", spent.statements / callbacks, "less"),
        figure(f"{what}: rows written per callback", "", rows / callbacks, "less"),
        figure(f"{what}: bytes of log per callback", "", spent.log_bytes / callbacks, "less"),
    ]  # fmt: skip


def on_postgres(part: Callable[[Sizes, Place], Awaitable[list[Figure]]]) -> Part:
    """Return a part of the embedded store with its homes in PostgreSQL."""

    async def in_database(sizes: Sizes, _folder: Path) -> list[Figure]:
        database = await _server()

        def place(_name: str) -> Home:
            return database.home(is_wakeable=False)

        figures = await part(sizes.on_postgres(), place)
        return [{**one, "goal": _GOALS.get(one["what"], one["goal"])} for one in figures]

    return in_database


async def _server() -> Database:
    """The server, started when it is first asked for."""
    if not _database:
        _database.append(Database())
        atexit.register(_database[0].close)
        await _database[0].start()
    return _database[0]
