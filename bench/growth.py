"""P6: P1 to P4 again over a store that holds millions of messages, each beside the same part over an empty one.

What it means is said in docs/performance.md. The store is filled once; a part finds it without what the part before it
had to do, and leaves its own messages behind.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

from bench import parts, stock
from bench.sizes import Figure, Home, Sizes, counted, figure

_FREE_SHARE = 0.4
"""Of the disk's free room that is left alone."""
_grown: dict[Sizes, tuple[Path, int]] = {}


async def growth(sizes: Sizes, folder: Path) -> list[Figure]:
    """P6: each figure of a full store in % of the empty store's: 100 is as good, less is worse, also for ms and µs."""
    full, stored = await _full(sizes)

    def empty_place(name: str) -> Home:
        data = folder / name
        data.mkdir()
        return Home(data)

    def full_place(_name: str) -> Home:
        stock.clear(full)
        return Home(full)

    figures = []
    for part in (parts.drain, parts.accept, parts.life, parts.latency):
        empty = await part(sizes, empty_place)
        for before, after in zip(empty, await part(sizes, full_place), strict=True):
            figures += _compared(before, after, stored)
    return figures


def _compared(empty: Figure, full: Figure, stored: int) -> list[Figure]:
    if empty["better"] is None or not empty["value"] or not full["value"]:
        return []
    share = full["value"] / empty["value"] if empty["better"] == "more" else empty["value"] / full["value"]
    said = figure(f"{full['what']}: % beside {counted(stored)}", "≥ 90", 100 * share)
    return [{**said, "pair": [empty["value"], full["value"]]}]


async def _full(sizes: Sizes) -> tuple[Path, int]:
    """Fill a store, once in this process; return with it how many messages are in it: as many as the disk has room for."""
    if sizes not in _grown:
        data = Path(tempfile.mkdtemp(prefix="homing-bench-full-"))
        atexit.register(shutil.rmtree, data, ignore_errors=True)
        room = int((1 - _FREE_SHARE) * shutil.disk_usage(data).free / stock.BYTES_PER_MESSAGE)
        stored = sizes.stored if sizes.stored <= room else room // 100_000 * 100_000
        retries = min(sizes.retries, stored // 10)
        await stock.grown(data, stored - retries, retries)
        _grown[sizes] = data, stored
    return _grown[sizes]
