"""`homing serve --processes N`: several processes at one address, each a node; one that dies is started again."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.acceptance.served import STOP_S, Served, free_port, shared
from tests.acceptance.test_two_nodes import TAKEN_OVER_S
from tests.acceptance.town import all_told, town
from tests.waiting import Growing, again

Run = Callable[[Coroutine[Any, Any, None]], None]
MANY = 64
"""So many connections that each of two processes gets some, whatever their ports hash to."""
MESSAGES = 200
KILLS = 8 if os.environ.get("HOMING_CHAOS") == "full" else 1


@pytest.fixture
def served(dsn: str, tmp_path: Path) -> Iterator[Served]:
    """Two processes on one database, the first of them ready."""
    changes = shared(dsn, tmp_path)
    changes |= {"HOMING_SERVER__PROCESSES": "2", "HOMING_SERVER__METRICS_LISTEN": "127.0.0.1:0"}
    node = Served(tmp_path / "one", changes=changes)
    node.start()
    try:
        asyncio.run(node.ready())
        yield node
    finally:
        node.close()


def said(served: Served, event: str) -> list[dict[str, Any]]:
    """Return what was logged of one kind of event."""
    lines = (line for line in served.log.splitlines() if f'"{event}"' in line)
    return [json.loads(line) for line in lines]


async def started(served: Served, count: int) -> dict[int, int]:
    """Wait until so many starts were told; return the process of each number."""

    async def told() -> list[dict[str, Any]]:
        return said(served, "process.started")

    starts = await again(
        told, lambda it: len(it) >= count, "nobody tells that a log has grown", within_s=TAKEN_OVER_S
    )
    return {one["process"]: one["pid"] for one in starts}


async def gone(*pids: int) -> None:
    """Wait until each of these processes has ended; the kernel tells so."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError), open_process(pid) as process:
            async with asyncio.timeout(STOP_S):
                await readable(process)


@contextlib.contextmanager
def open_process(pid: int) -> Iterator[int]:
    """A descriptor of a process that is no child of ours; it can be read from once the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def readable(descriptor: int) -> None:
    """Wait until there is something to read."""
    loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(descriptor)


@pytest.mark.chaos
@pytest.mark.timeout(120 * KILLS)
def test_a_process_that_is_killed_is_started_again_and_nothing_is_lost(served: Served, run: Run) -> None:
    """Its connections end; each message that any of them acknowledged is told of. One that is asked to end does, and
    another comes; SIGTERM to their supervisor ends them all, with 0.
    """

    async def story() -> None:
        first = await started(served, 2)
        async with town(served) as place:
            await place.user("ann")
            receiver = await place.receiver("json", "slow:50ms")
            acknowledged = Growing[str]()

            async def post() -> None:
                while len(acknowledged) < MESSAGES * KILLS:
                    with contextlib.suppress(httpx.TransportError):
                        answer = await place.http.post("/1/messages", json=place.message("ann"))
                        if answer.status_code == 201:
                            acknowledged.append(answer.json()["messageId"])

            load = [asyncio.create_task(post()) for _ in range(16)]
            now = first
            for kill in range(KILLS):
                await acknowledged.until(MESSAGES * kill + MESSAGES // 3)
                number = 2 - kill % 2
                os.kill(now[number], signal.SIGKILL)
                before, now = now, await started(served, kill + 3)
                ended = said(served, "process.ended")[-1]
                assert (ended["process"], ended["pid"]) == (number, before[number])
                assert ended["code"] == -signal.SIGKILL
                assert now == before | {number: now[number]}
            await asyncio.gather(*load)
            await all_told(receiver, acknowledged, TAKEN_OVER_S)
            ports = {one["process"]: one["port"] for one in said(served, "metrics.served")}
            for number, port in ports.items():
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as aside:
                    text = (await aside.get("/metrics")).text
                    assert 'homing_nodes{role="callbacks"} 2.0' in text, (number, text)
                    assert (await aside.get("/1/messages")).status_code == 404
            await spread(served.port, now)
            os.kill(now[1], signal.SIGTERM)
            last = await started(served, KILLS + 3)
            assert said(served, "process.ended")[-1]["code"] == 0
            assert last == now | {1: last[1]}
        for pid in last.values():
            os.kill(pid, signal.SIGTERM)  # as systemd does: all of a unit's processes get it
        assert served.stop() == 0
        await gone(*last.values())
        assert served.faults() == []

    run(story())


async def spread(port: int, pids: dict[int, int]) -> None:
    """Hold many connections at the shared address: each process has some of them."""
    links = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(MANY)))
    for _, writer in links:
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    for reader, _ in links:
        await reader.readuntil(b"}")
    for pid in pids.values():
        held = [one for one in psutil.Process(pid).net_connections() if one.status == psutil.CONN_ESTABLISHED]
        assert any(one.laddr.port == port for one in held), pid
    for _, writer in links:
        writer.close()


@pytest.mark.timeout(120)
def test_processes_end_with_their_supervisor(served: Served, run: Run) -> None:
    """However it ends; the address is nobody else's until then, though it could be shared."""

    async def story() -> None:
        pids = await started(served, 2)
        other = Served(served.data, port=served.port, changes=served._environment)
        other.start()
        assert other.end() == 2
        assert f"cannot listen on 127.0.0.1:{served.port}" in served.log
        served.kill()
        await gone(*pids.values())

    run(story())


def test_what_keeps_all_from_starting_is_said_once(tmp_path: Path) -> None:
    """The first one's error and exit code are the verb's, and no other is started."""
    away = "postgresql://homing:hidden@127.0.0.1:1/homing"
    node = Served(
        tmp_path / "one", port=free_port(), changes=shared(away, tmp_path) | {"HOMING_SERVER__PROCESSES": "2"}
    )
    node.start()
    assert node.end() == 2
    assert node.log.count("the database cannot be reached") == 1
    assert "process.ended" not in node.log
