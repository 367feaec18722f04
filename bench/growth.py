"""P6: P1 to P4 again over a store that holds millions of messages, each beside the same part over an empty one.

What it means is said in docs/performance.md. The store is filled once; a part finds it without what the part before it
had to do, and leaves its own messages behind.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

from bench import parts, stock
from bench.sizes import Figure, Sizes, counted, figure

_MIN_FREE_SHARE = 0.4
"""Of the disk's free room that is left alone."""
_grown: dict[tuple[int, int], Path] = {}


async def growth(sizes: Sizes, folder: Path) -> list[Figure]:
    """P6: each figure of a full store as a share of the empty store's."""
    stored = min(sizes.stored, _fitting(folder))
    retries = min(sizes.retries, stored // 10)
    full = await _full(stored, retries)

    def empty_place(name: str) -> Path:
        data = folder / name
        data.mkdir()
        return data

    def full_place(_name: str) -> Path:
        stock.clear(full)
        return full

    figures = []
    for part in (parts.drain, parts.accept, parts.life, parts.latency):
        empty = await part(sizes, empty_place)
        for before, after in zip(empty, await part(sizes, full_place), strict=True):
            figures += _compared(before, after)
    print(
        f"      beside {counted(stored)} stored messages and {counted(retries)} pending retries:", flush=True
    )
    return figures


def _compared(empty: Figure, full: Figure) -> list[Figure]:
    if empty["better"] is None or not empty["value"] or not full["value"]:
        return []
    share = full["value"] / empty["value"] if empty["better"] == "more" else empty["value"] / full["value"]
    said = figure(f"{full['what']}: % of the empty store's", "≥ 90", 100 * share)
    return [{**said, "pair": [empty["value"], full["value"]]}]


def _fitting(folder: Path) -> int:
    return int((1 - _MIN_FREE_SHARE) * shutil.disk_usage(folder).free / stock.BYTES_PER_MESSAGE)


async def _full(stored: int, retries: int) -> Path:
    """Fill a store, once in this process."""
    data = _grown.get((stored, retries))
    if data is None:
        data = _grown[stored, retries] = Path(tempfile.mkdtemp(prefix="homing-bench-full-"))
        atexit.register(shutil.rmtree, data, ignore_errors=True)
        await stock.grown(data, stored - retries, retries)
    return data
