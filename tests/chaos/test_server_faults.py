"""T9 with real nodes: what a PostgreSQL server, and the way to it, can do to two nodes under load; and a node that stands still.

Each fault is followed until messages are accepted again. Judged from outside, by `journal.check`. Repeated with HOMING_CHAOS_SEED.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.chaos.fleet import Fleet, connected, epoch_of, facts, traced
from tests.chaos.journal import Journal, check, count
from tests.chaos.site import IS_FULL, figures
from tests.postgres.link import How
from tests.postgres.proxy import COMMIT_ANSWERED, COMMIT_ASKED, Proxy
from tests.postgres.server import Server
from tests.waiting import again

from homing.store.postgres.database import APPLICATION

FROZEN_S = 30.0
STANDS_STILL_S = 45.0
"""Longer than a term: what the node held is others' when it goes on."""
TAKEN_OVER_S = 60.0
"""A term, a beat of the other, and what a busy machine needs beside."""
BACK_S = 15.0
"""So long after the server is well again, messages are accepted at the latest."""
QUIET_S = 240.0 if IS_FULL else 60.0
_END_ALL = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1"


class Place:
    """The server, the proxy through which the nodes reach it, the database."""

    def __init__(self, server: Server, proxy: Proxy, database: str) -> None:
        self.server, self.proxy, self.database = server, proxy, database


async def killed(_fleet: Fleet, place: Place) -> None:
    """Every process of it at once, as when its machine loses power."""
    await asyncio.to_thread(place.server.kill)
    await asyncio.to_thread(place.server.start)


async def postmaster_killed(_fleet: Fleet, place: Place) -> None:
    """kill -9 of the first process alone."""
    await asyncio.to_thread(place.server.kill_postmaster)
    await asyncio.to_thread(place.server.start)


async def stopped_at_once(_fleet: Fleet, place: Place) -> None:
    """An immediate stop: clients are told, nothing is tidied up."""
    await asyncio.to_thread(place.server.restart, "immediate")


async def sessions_ended(_fleet: Fleet, place: Place) -> None:
    """Every session of every node."""
    assert await asyncio.to_thread(place.server.ask, _END_ALL, APPLICATION)


async def cut_at_commit(fleet: Fleet, place: Place) -> None:
    """The connection, somewhere around a COMMIT: before it is asked, while it is answered, after."""
    moment = fleet.rng.choice((COMMIT_ASKED, COMMIT_ANSWERED))
    keep = fleet.rng.choice((0, 1, 5, None))
    how = fleet.rng.choice((How.RESET, How.CLOSE))
    await place.proxy.cut_when(moment, keep=keep, how=how, skip=fleet.rng.randrange(5)).happens()


async def exhausted(_fleet: Fleet, place: Place) -> None:
    """Others take every connection there is, also those that the nodes had, and keep them for two seconds."""
    intruders: list[Any] = []
    address = place.server.dsn(place.database, application_name="intruder")
    until_s: float | None = None
    try:
        while until_s is None or time.monotonic() < until_s:
            try:
                intruders.append(await asyncpg.connect(address, timeout=10))
            except asyncpg.TooManyConnectionsError:
                until_s = until_s or time.monotonic() + 2.0
                await asyncio.to_thread(place.server.ask, _END_ALL, APPLICATION)
    finally:
        for one in intruders:
            one.terminate()


async def frozen(fleet: Fleet, place: Place) -> None:
    """Stands still for half a minute: connections stay open, nobody answers."""
    await asyncio.to_thread(place.server.freeze)
    try:
        assert "database: " in await fleet.until_ready(is_ready=False)
        await asyncio.sleep(FROZEN_S)  # what it is called for
    finally:
        place.server.thaw()


async def a_node_stands_still(fleet: Fleet, place: Place) -> None:
    """Longer than its term: what it held is the other's by then, and when it goes on it stores none of it as its own."""
    asked = "SELECT count(*) FROM lane WHERE due IS NULL AND owner = $1"
    loop = asyncio.get_running_loop()
    onlooker = await connected(place.server.dsn(place.database))
    victim = fleet.rng.choice(fleet.up)
    epoch = epoch_of(victim)
    terms_lost = len(list(facts(victim, "term.lost")))
    fleet.up.remove(victim)
    with stands_still(victim._process):
        assert await onlooker.fetchval(asked, epoch)
        began_s = loop.time()
        await again(
            lambda: onlooker.fetchval(asked, epoch),
            lambda count: count == 0,
            "whose lanes they are now shows in the store alone",
            within_s=TAKEN_OVER_S,
            every_s=0.25,
        )
        print(f"\nthe other had all that the node held {loop.time() - began_s:.1f} s after it stood still")
        await asyncio.sleep(began_s + STANDS_STILL_S - loop.time())  # what it is called for
        fleet.dies()

    async def lost() -> int:
        assert not await onlooker.fetchval(asked, epoch)
        return len(list(facts(victim, "term.lost")))

    why = "nobody tells that a log has grown"
    await again(lost, lambda count: count > terms_lost, why, within_s=TAKEN_OVER_S, every_s=0.01)
    fleet.up.append(victim)
    await fleet.until_ready()
    assert not await onlooker.fetchval(asked, epoch)
    await onlooker.close()


Fault = Callable[[Fleet, Place], Awaitable[None]]
QUICK: tuple[Fault, ...] = (
    killed, exhausted, cut_at_commit, postmaster_killed, stopped_at_once, sessions_ended,
)  # fmt: skip
FAULTS: list[Fault] = (
    [*QUICK * 20, frozen, a_node_stands_still, frozen, a_node_stands_still] if IS_FULL else list(QUICK[:3])
)


@pytest.fixture
def place(mortal_postgres: Server) -> Iterator[Place]:
    """A server that may be harmed, behind a proxy."""
    with Proxy(mortal_postgres.port) as proxy:
        yield Place(mortal_postgres, proxy, mortal_postgres.create())


def seeded() -> int:
    """The seed of this run, told so that it can be repeated."""
    seed = int(os.environ.get("HOMING_CHAOS_SEED") or time.time_ns() % 1_000_000_007)
    print(f"\nHOMING_CHAOS_SEED={seed}")
    return seed


@pytest.mark.chaos
@pytest.mark.timeout(3600 if IS_FULL else 150)
def test_the_server_fails_in_every_way_during_load(
    place: Place, tmp_path: Path, run: Callable[[Coroutine[Any, Any, Journal]], Journal]
) -> None:
    """Nothing that was answered is lost, order holds, and the nodes go on by themselves within seconds."""
    seed = seeded()
    dsn = place.server.dsn(place.database, port=place.proxy.port)
    fleet = Fleet(tmp_path, dsn, seed)
    back_s: dict[str, float] = {}

    async def story(fleet: Fleet) -> None:
        loop = asyncio.get_running_loop()
        for fault in FAULTS:
            await fleet.until_accepted(fleet.rng.randint(5, 30))
            fleet.dies()
            await fault(fleet, place)
            well_s = loop.time()
            taken_s = await fleet.until_accepted() - well_s
            back_s[fault.__name__] = max(taken_s, back_s.get(fault.__name__, 0.0))
            await fleet.until_ready()

    journal = run(fleet.run(story, lambda: connected(place.server.dsn(place.database)), quiet_s=QUIET_S))
    findings, counts = check(journal), count(journal)
    slowest = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in back_s.items())
    print(f"{len(FAULTS)} faults: {figures(counts)}; accepting again at most after {slowest}")
    assert findings == [], traced(journal, findings)
    assert fleet.exit_codes == [0, 0]
    assert fleet.faults() == []
    assert max(back_s.values()) < BACK_S


@contextlib.contextmanager
def stands_still(process: Any) -> Iterator[None]:
    """SIGSTOP for the length of a `with`."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
