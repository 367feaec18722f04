"""P5: what endpoints that hang or fail cost those that do not. What it means is said in docs/performance.md.

Every endpoint belongs to an application of its own, as customers' do, and messages come to all of them in turn at a
fixed rate, whatever the answers are.
"""

import asyncio
import json
from pathlib import Path
from typing import NamedTuple

from bench.parts import all_created
from bench.served import TOKEN, Served, free_port
from bench.sizes import Figure, Home, Sizes, figure
from bench.subject import add_endpoint, add_user, settings_in, unsynced
from bench.wire import NO_CONTENT, NOTHING, UNAVAILABLE, Load, Sink, now, percentile
from homing.callbacks.limits import raise_open_files
from homing.model import EndpointOptions
from homing.store.changes import CreateApp


class Took(NamedTuple):
    """One callback of a healthy endpoint: when its message was posted (seconds from the start), and how long it took."""

    at_s: float
    took_s: float


async def isolation(sizes: Sizes, folder: Path) -> list[Figure]:
    """P5: the p99 of the healthy six in ten, without and with the sick."""
    raise_open_files(20_000)
    count = sizes.neighbours
    hanging, failing = 3 * count // 10, count // 10
    healthy = count - hanging - failing
    well, _ = await _run(sizes, folder / "well", (healthy, 0, 0, hanging + failing), sizes.neighbours_s)
    sick, resting = await _run(sizes, folder / "sick", (healthy, hanging, failing, 0), sizes.neighbours_s)
    first = [one for one in sick if one.at_s < sizes.unrested_s]
    then = [one for one in sick if one.at_s >= sizes.unrested_s]
    base_ms = _p99_ms(well)
    at = f"{healthy} healthy of {count} endpoints"
    begin = f"{sizes.unrested_s:.0f} s"
    return [
        figure(f"{at}, all well: p99 ms", "", base_ms),
        figure(f"{at}, 30 % hang, 10 % answer 503: p99 ms", "", _p99_ms(sick)),
        figure("p99 beside the sick, as a multiple of that without", "≤ 2", _p99_ms(sick) / base_ms),
        figure(f"the same, first {begin}: those that hang are tried", "≤ 2", _p99_ms(first) / base_ms),
        figure(f"the same, after {begin}: all the sick rest", "≤ 2", _p99_ms(then) / base_ms),
        figure(f"sick endpoints that rest at the end, of {hanging + failing}", "all", resting),
    ]


def _p99_ms(ones: list[Took]) -> float:
    return 1e3 * percentile([one.took_s for one in ones], 0.99)


async def _run(
    sizes: Sizes, data: Path, counts: tuple[int, int, int, int], seconds: float
) -> tuple[list[Took], float]:
    """Return what callbacks to the first so many endpoints took, and how many endpoints rest at the end.

    ``counts``: healthy ones that are counted, hanging ones, failing ones, healthy ones that are not.
    """
    began: dict[str, float] = {}
    took: list[Took] = []
    start = now()

    def seen(body: bytes) -> None:
        at = began.pop(json.loads(body)["messageRef"], None)
        if at is not None:
            took.append(Took(at - start, now() - at))

    sinks = [Sink(seen=seen), Sink(answer=NOTHING), Sink(answer=UNAVAILABLE), Sink(answer=NO_CONTENT)]
    urls: list[str] = []
    for sink, count in zip(sinks, counts, strict=True):
        await sink.listen(count)
        urls += [sink.url(index) for index in range(count)]
    await _fill(data, urls, EndpointOptions(timeout_seconds=sizes.timeout_s))

    def posted(number: int) -> bytes:
        return json.dumps(
            {"mobileAppId": 1 + number % len(urls), "text": "Your parcel is here", "messageRef": f"ref{number}",
             "recipients": [{"identifier": "somebody"}]}
        ).encode()  # fmt: skip

    def sent(number: int) -> None:
        if number % len(urls) < counts[0]:
            began[f"ref{number}"] = now()

    async with Served(Home(data), free_port()) as served:
        load = Load("127.0.0.1", served.port, TOKEN)
        start = now()
        await load.pace(64, sizes.neighbours_per_s, seconds, posted, sent)
        await asyncio.sleep(0.5)
        resting = await asyncio.to_thread(served.metric, 'homing_endpoints{health="resting"}')
        all_created(load)
    for sink in sinks:
        sink.close()
    if began:
        raise RuntimeError(f"{len(began)} callbacks to healthy endpoints did not come")
    # The first round makes the connections.
    return [one for one in took if one.at_s >= len(urls) / sizes.neighbours_per_s], resting


async def _fill(data: Path, urls: list[str], options: EndpointOptions) -> None:
    """Make an application with a user and an endpoint for every URL."""
    async with unsynced(settings_in(data)) as (vault, store):
        for number, url in enumerate(urls, 1):
            await store.apply(CreateApp(name=f"customer {number}", app_key=f"key{number}", id=number))
            await add_user(store, number, "somebody")
            await add_endpoint(store, vault, number, url, options)
