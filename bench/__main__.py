"""`make bench`: every goal of docs/performance.md that has a subject, as one table, and as JSON for comparisons.

The subject has core 0, sink and load have core 1. Each figure is the median of three runs (`--smoke`: one short run,
to prove that the programme works; its figures mean nothing). No figure ever fails a build.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from bench import parts
from bench.growth import growth
from bench.isolation import isolation
from bench.recovery import recovery
from bench.shared import nodes, on_postgres
from bench.sizes import Figure, Home, Part, Place, Sizes

Row = dict[str, Any]


def fresh(part: Callable[[Sizes, Place], Awaitable[list[Figure]]]) -> Part:
    """A part whose stores are new ones, each in a directory of its own."""

    def in_folder(sizes: Sizes, folder: Path) -> Awaitable[list[Figure]]:
        def place(name: str) -> Home:
            data = folder / name
            data.mkdir(exist_ok=True)
            return Home(data)

        return part(sizes, place)

    return in_folder


PARTS: dict[str, Part] = {
    "P1": fresh(parts.drain),
    "P2": fresh(parts.accept),
    "P3": fresh(parts.life),
    "P4": fresh(parts.latency),
    "P5": isolation,
    "P6": growth,
    "P9": fresh(parts.start),
    "P10": recovery,
    "P8/P1": on_postgres(parts.drain),
    "P8/P2": on_postgres(parts.accept),
    "P8/P3": nodes,
    "P8/P4": on_postgres(parts.latency),
}


def main() -> int:
    """Run the parts that were asked for and print what they measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="P1 P2 …", help="which goals; all when none is named; P8 is PostgreSQL"
    )
    parser.add_argument("--smoke", action="store_true", help="one short run of each")
    parser.add_argument("--runs", type=int, help="how many runs each figure is the median of")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    runs = options.runs or (1 if options.smoke else 3)
    sizes = Sizes.smoke() if options.smoke else Sizes()
    print(machine(), flush=True)
    print(f"{'id':7}{'what':74}{'goal':>14}{'median':>12}  all runs", flush=True)
    rows: list[Row] = []
    for name, part in PARTS.items():
        if options.parts and not {name, name.partition("/")[0]} & set(options.parts):
            continue
        rows += asyncio_run(measure(name, part, sizes, runs))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    return 0


async def measure(
    name: str, part: Callable[[Sizes, Path], Awaitable[list[Row]]], sizes: Sizes, runs: int
) -> list[Row]:
    """Run one part so many times and print a line per figure."""
    taken: dict[str, Row] = {}
    for _ in range(runs):
        data = Path(tempfile.mkdtemp(prefix="homing-bench-"))
        try:
            for figure in await part(sizes, data):
                row = taken.setdefault(figure["what"], {**figure, "id": name, "runs": []})
                row["runs"].append(figure["value"])
                if "pair" in figure:
                    row.setdefault("pairs", []).append(figure["pair"])
        finally:
            shutil.rmtree(data, ignore_errors=True)
    for row in taken.values():
        row.pop("pair", None)
        row["value"] = statistics.median(row["runs"])
        shown = " ".join(number(value) for value in row["runs"])
        print(f"{name:7}{row['what']:74}{row['goal']:>14}{number(row['value']):>12}  {shown}", flush=True)
    return list(taken.values())


def number(value: float) -> str:
    """A figure with as many digits as it deserves."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def machine() -> str:
    """What the figures were taken on."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, CPython {platform.python_version()}, commit {revision or 'unknown'}"


def asyncio_run(work: Awaitable[list[Row]]) -> list[Row]:
    """Run on uvloop; sink and load need it."""

    async def run() -> list[Row]:
        return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


if __name__ == "__main__":
    sys.exit(main())
