"""Two nodes on one PostgreSQL, each a process: either takes messages and tells of them, and one takes over from the other."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.served import Served, shared
from tests.acceptance.town import hear, link, say, town, until_told
from tests.postgres.server import Server
from tests.waiting import again

Run = Callable[[Coroutine[Any, Any, None]], None]
TAKEN_OVER_S = 60.0
"""A term, a beat of the survivor, and what a busy machine needs beside."""


@pytest.fixture
def nodes(dsn: str, tmp_path: Path) -> Iterator[tuple[Served, Served]]:
    """Two nodes that serve one database with one master key, both ready."""
    changes = shared(dsn, tmp_path)
    one, other = Served(tmp_path / "one", changes=changes), Served(tmp_path / "other", changes=changes)
    try:
        for node in (one, other):
            node.start()
            asyncio.run(node.ready())
        yield one, other
    finally:
        for node in (one, other):
            node.close()


@pytest.mark.timeout(120)
def test_two_nodes_do_the_main_job_together(nodes: tuple[Served, Served], run: Run) -> None:
    """What is posted to one reaches the phone at the other at once, each step is called back once, and both stop clean."""
    one, other = nodes

    async def story() -> None:
        async with town(one) as place, other.client() as there:
            await place.user("ann")
            receiver = await place.receiver("json")
            token = await place.log_in("ann")
            async with link(other) as phone:
                await say(phone, {"type": "hello", "token": token, "epoch": None, "cursor": 0})
                assert (await hear(phone))["type"] == "welcome"
                began_s = time.monotonic()
                first = await place.send("ann")
                while (frame := await hear(phone)).get("messageId") != first:
                    pass
                assert frame["text"] == "hello"
                assert time.monotonic() - began_s < 10.0  # told by a hint: the heartbeat comes after 30 s
                await say(phone, {"type": "ack", "messageIds": [first]})
                await say(phone, {"type": "read", "messageIds": [first]})
                await until_told(receiver, first, "enqueued", "delivered", "read")
            answer = await there.post("/1/messages", json=place.message("ann"))
            assert answer.status_code == 201, answer.text
            await until_told(receiver, answer.json()["messageId"], "enqueued")
            assert one.stop() == 0
            last = await there.post("/1/messages", json=place.message("ann"))
            await until_told(receiver, last.json()["messageId"], "enqueued")
            ids = [one.webhook_id for one in receiver.caught]
            assert len(ids) == len(set(ids)) == 5
        assert other.stop() == 0
        assert (one.faults(), other.faults()) == ([], [])

    run(story())


@pytest.mark.timeout(120)
def test_a_database_that_is_away_is_named_and_waited_for(
    mortal_postgres: Server, tmp_path: Path, run: Run
) -> None:
    """A node stays, and so do the devices' links; it says why it takes nothing, and goes on by itself when the database is back."""
    name = mortal_postgres.create()
    node = Served(tmp_path / "one", changes=shared(mortal_postgres.dsn(name), tmp_path))

    async def story() -> None:
        await node.ready()
        async with town(node) as place:
            await place.user("ann")
            receiver = await place.receiver("json")
            async with place.phone(await place.log_in("ann")) as phone:
                mortal_postgres.kill()
                assert "database: " in await answered(place.http, 503)
                refused = await place.http.post("/1/messages", json=place.message("ann"))
                assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
                assert int(refused.headers["retry-after"]) >= 1
                assert refused.headers["content-type"] == "application/problem+json"
                mortal_postgres.start()
                await answered(place.http, 200)
                first = await place.send("ann")
                assert (await hear(phone))["messageId"] == first
                await until_told(receiver, first, "enqueued")
        assert node.stop() == 0

    node.start()
    try:
        run(story())
    finally:
        node.close()


async def answered(http: httpx.AsyncClient, status: int) -> str:
    """Wait until the node says of itself that it is ready, or that it is not; return its words."""
    answer = await again(
        lambda: http.get("/readyz"),
        lambda it: it.status_code == status,
        "readiness is only asked for",
        within_s=TAKEN_OVER_S,
    )
    return answer.text
