"""P10: how soon the first callback goes out after a kill -9 that left a million lanes behind.

What it means is said in docs/performance.md. Most lanes are owned by a process that is no more, three in ten are due; the
process that is killed had begun to tell them, so its own write-ahead log is to be recovered too.
"""

import asyncio
from pathlib import Path

from bench.served import Served, free_port
from bench.sizes import Figure, Home, Sizes, counted, figure
from bench.stock import left_behind
from bench.wire import Sink, now

_ENDPOINTS = 10
_AT_WORK_S = 1.0
_AFTER_S = 5.0
_PATIENCE_S = 120.0


async def recovery(sizes: Sizes, folder: Path) -> list[Figure]:
    """P10: from the start of the process to the first callback."""
    first: asyncio.Future[float]

    def seen(_body: bytes) -> None:
        if not first.done():
            first.set_result(now())

    sink = Sink(seen=seen)
    await sink.listen(_ENDPOINTS)
    await left_behind(folder, [sink.url(index) for index in range(_ENDPOINTS)], sizes.owed)
    first = asyncio.get_running_loop().create_future()
    async with Served(Home(folder), free_port()) as killed:
        await asyncio.wait_for(first, _PATIENCE_S)
        await asyncio.sleep(min(_AT_WORK_S, sizes.seconds / 2))
        await killed.kill()
    await asyncio.sleep(0.2)
    first = asyncio.get_running_loop().create_future()
    async with Served(Home(folder), free_port()) as served:
        took_s = await asyncio.wait_for(first, _PATIENCE_S) - served.began
        before = sink.count
        await asyncio.sleep(min(_AFTER_S, sizes.seconds))
        per_s = (sink.count - before) / min(_AFTER_S, sizes.seconds)
        held_bytes = served.resident_bytes()
        await served.kill()
    sink.close()
    what = f"{counted(sizes.owed)} lanes left behind"
    return [
        figure(f"{what}: start to first callback, s", "≤ 1", took_s),
        figure(f"{what}: callbacks/s in the seconds after", "", per_s),
        figure(f"{what}: memory then, MiB", "", held_bytes / 2**20),
    ]
