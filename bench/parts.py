"""P1 to P4 and P9, one function each: set up, run, return figures. What each means is said in docs/performance.md.

Where a store lies is the caller's word, for `bench.growth` runs them over a full one.
"""

import asyncio
import json
import os

from bench.certificates import loopback_tls
from bench.served import TOKEN, Served, free_port
from bench.sizes import Figure, Home, Place, Sizes, figure, subject
from bench.subject import USERS, fill, settings_in
from bench.wire import Load, Sink, now, percentile


async def drain(sizes: Sizes, place: Place) -> list[Figure]:
    """P1: callbacks per second from recorded events."""
    figures = []
    cases = (
        ("drain, 1 endpoint", "≥ 15,000", 1, 0.0),
        (f"drain, {sizes.endpoints} endpoints", "≥ 12,500", sizes.endpoints, 0.0),
        (f"drain, {sizes.slow_endpoints} endpoints of 100 ms", "≥ 8,000", sizes.slow_endpoints, sizes.slow_s),
    )
    for what, goal, count, delay_s in cases[: sizes.drains]:
        measured = await _drain(Sink(delay_s), count, sizes.events, place(f"drain-{count}"))
        figures.append(figure(f"{what}: callbacks/s", goal, measured["per_s"]))
        if count == 1:
            figures.append(figure(f"{what}: CPU µs per callback", "≤ 65", measured["cpu_us"], "less"))
            figures += of_server(what, measured)
    if sizes.drains <= len(cases):
        return figures
    home = place("drain-tls")
    tls, ca = loopback_tls(home.data)
    measured = await _drain(Sink(tls=tls), 1, sizes.events, home, ca)
    what = "drain, 1 endpoint over TLS"
    return [
        *figures,
        figure(f"{what}: callbacks/s", "≥ 10,000", measured["per_s"]),
        figure(f"{what}: share of its core the sink took", "< 1", measured["sink_share"], None),
    ]


def of_server(what: str, measured: dict[str, float]) -> list[Figure]:
    """What of the CPU was the database server's, where there is one."""
    if "server_s" not in measured:
        return []
    spent_us = 1e6 * measured["server_s"] / measured["callbacks"]
    return [figure(f"{what}: CPU µs per callback of the server", "≤ 40", spent_us, "less")]


async def _drain(sink: Sink, count: int, events: int, home: Home, ca: str | None = None) -> dict[str, float]:
    await sink.listen(count)
    order = {"urls": [sink.url(index) for index in range(count)], "events": events, "ca": ca}
    before = os.times()
    measured = await subject("drain", home, order)
    after = os.times()
    sink.close()
    if sink.count < measured["callbacks"]:
        raise RuntimeError(f"the sink saw {sink.count} of {measured['callbacks']} callbacks")
    took = after.user + after.system - before.user - before.system
    return {**measured, "sink_share": took / measured["took_s"]}


def one(number: int) -> bytes:
    """A message to one user."""
    return json.dumps(
        {"mobileAppId": 1, "text": "Your parcel is here", "messageRef": f"ref{number}",
         "recipients": [{"identifier": f"user{number % USERS}"}]}
    ).encode()  # fmt: skip


def many(number: int) -> bytes:
    """A message to a thousand users."""
    recipients = [{"identifier": f"user{index}"} for index in range(USERS)]
    return json.dumps({"mobileAppId": 1, "text": f"To all, {number}", "recipients": recipients}).encode()


async def accept(sizes: Sizes, place: Place) -> list[Figure]:
    """P2: durable POSTs per second."""
    figures = []
    home = place("alone")
    await fill(settings_in(home.data, home.url), [], wakeable=False)
    async with Served(home, free_port()) as served:
        load = Load("127.0.0.1", served.port, TOKEN)
        rate = await load.flood(64, sizes.seconds, one)
        figures.append(figure("accept, no endpoint: messages/s at 64 connections", "≥ 9,000", rate))
        bulk = Load("127.0.0.1", served.port, TOKEN)
        rate = await bulk.flood(4, sizes.seconds, many)
        figures.append(figure("accept, 1,000 recipients a request: recipients/s", "≥ 60,000", USERS * rate))
        all_created(load, bulk)
    sink = Sink()
    await sink.listen()
    home = place("told")
    await fill(settings_in(home.data, home.url), [sink.url()], wakeable=False)
    async with Served(home, free_port()) as served:
        load = Load("127.0.0.1", served.port, TOKEN)
        rate = await load.flood(64, sizes.seconds, one)
        backlog = load.answered - sink.count
        figures.append(figure("accept, callbacks sent meanwhile: messages/s", "≥ 4,500", rate))
        figures.append(figure("accept, callbacks sent meanwhile: backlog at the end", "small", backlog, None))
        all_created(load)
    sink.close()
    return figures


def all_created(*loads: Load) -> None:
    """Every message was accepted."""
    for load in loads:
        if set(load.statuses) != {201}:
            raise RuntimeError(f"not every message was accepted: {load.statuses}")


async def life(sizes: Sizes, place: Place) -> list[Figure]:
    """P3 and P11 at saturation: whole lives."""
    figures = []
    for at_once, goal in ((256, "≥ 3,200"), (64, "≥ 2,600")):
        sink = Sink()
        await sink.listen()
        order = {"urls": [sink.url()], "open": at_once, "seconds": sizes.seconds}
        measured = await subject("life", place(f"life-{at_once}"), order)
        sink.close()
        figures.append(
            figure(f"whole lives, {at_once} open: messages/s (4 callbacks each)", goal, measured["per_s"])
        )
        if at_once == 256:
            figures.append(
                figure(
                    "whole lives, saturated: CPU µs per callback (P11)", "≤ 65", measured["cpu_us"], "less"
                )
            )
    return figures


async def latency(sizes: Sizes, place: Place) -> list[Figure]:
    """P4 and P11 at a rate: from POST to the callback's arrival, and what of a core it takes."""
    figures = []
    for rate in sizes.rates:
        began: dict[bytes, float] = {}
        took: list[float] = []

        def seen(body: bytes, began: dict[bytes, float] = began, took: list[float] = took) -> None:
            at = began.pop(json.loads(body)["messageRef"].encode(), None)
            if at is not None:
                took.append(now() - at)

        def sent(number: int, began: dict[bytes, float] = began) -> None:
            began[b"ref%d" % number] = now()

        sink = Sink(seen=seen)
        await sink.listen()
        home = place(f"at-{rate}")
        await fill(settings_in(home.data, home.url), [sink.url()], wakeable=False)
        async with Served(home, free_port()) as served:
            load = Load("127.0.0.1", served.port, TOKEN)
            await load.flood(8, 0.5, one)
            await asyncio.sleep(0.3)
            began.clear()
            took.clear()
            cpu_s, at = served.cpu_s(), now()
            before = None if home.meter is None else home.meter.spent()
            kept = await load.pace(64, rate, sizes.seconds, one, sent)
            took_s = now() - at
            share = (served.cpu_s() - cpu_s) / took_s
            if home.meter is not None and before is not None:
                server_s = home.meter.spent().since(before).cpu_s
                of_core = figure(
                    f"share of a core the server took at {rate} messages/s", "", server_s / took_s, "less"
                )
                figures.append(of_core)
            await asyncio.sleep(0.3)
            all_created(load)
        sink.close()
        if len(took) < 0.999 * rate * sizes.seconds:
            raise RuntimeError(f"{len(took)} callbacks for {rate * sizes.seconds:.0f} messages")
        figures += [
            figure(f"POST to callback at {rate}/s: p50 ms", "≤ 2", 1e3 * percentile(took, 0.5), "less"),
            figure(f"POST to callback at {rate}/s: p99 ms", "≤ 5", 1e3 * percentile(took, 0.99), "less"),
            figure(f"POST to callback at {rate}/s: rate that was kept", "", kept, None),
            figure(
                f"share of a core at {rate} messages/s (P11)", "≤ 0.6" if rate >= 1000 else "", share, "less"
            ),
        ]
    return figures


async def start(sizes: Sizes, place: Place) -> list[Figure]:
    """P9: from nothing to answering, and what it holds then."""
    times, sizes_bytes = [], []
    for number in range(sizes.starts):
        async with Served(place(f"start-{number}"), free_port()) as served:
            times.append(served.ready_s)
            await asyncio.sleep(0.5)
            sizes_bytes.append(served.resident_bytes())
    return [
        figure("start to first 200 of /healthz: s", "≤ 0.7", percentile(times, 0.5)),
        figure(
            "memory when idle: MiB", "≤ 80", percentile([float(size) for size in sizes_bytes], 0.5) / 2**20
        ),
    ]
