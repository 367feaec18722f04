"""Two served nodes on one PostgreSQL: what is made, sent or read at one, as somebody sees it who asks the other.

HOMING_CHAOS=full makes a thousand endpoints at one node and sends through the other.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import pytest
from tests.acceptance.served import Served, made, shared
from tests.acceptance.town import hear, link, say, told, town, until
from tests.postgres.server import Server
from tests.waiting import again

from homing.simulator.receivers import Receiver

Run = Callable[[Coroutine[Any, Any, None]], None]
TIMES = 1_000 if os.environ.get("HOMING_CHAOS") == "full" else 15


@pytest.fixture(scope="module")
def nodes(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """Two nodes that serve one database for all tests here; afterwards both stop clean."""
    folder = tmp_path_factory.mktemp("between")
    name = postgres.create()
    changes = shared(postgres.dsn(name), folder)
    pair = Served(folder / "one", changes=changes), Served(folder / "other", changes=changes)
    try:
        for node in pair:
            node.start()
        for node in pair:
            asyncio.run(node.ready())
        yield pair
        for node in pair:
            assert node.stop() == 0
            assert node.faults() == []
    finally:
        for node in pair:
            node.close()
        postgres.drop(name)


@pytest.mark.timeout(600)
def test_an_endpoint_made_at_one_node_is_told_what_is_sent_through_the_other(
    nodes: tuple[Served, Served], run: Run
) -> None:
    """As often as it is tried, at once: each message has its one callback (TF)."""
    one, other = nodes

    async def story() -> None:
        receiver = Receiver("all", keep=2 * TIMES)
        await receiver.start()
        sent = []
        async with one.client() as here, other.client() as there:
            for _ in range(TIMES):
                app = (await made(here, "/1/apps", {"name": "bank"}))["id"]
                await made(here, f"/1/apps/{app}/users", {"identifier": "ann", "password": "secret"})
                await made(here, f"/1/apps/{app}/endpoints", {"url": receiver.url, "form": "json"})
                message = {"mobileAppId": app, "text": "hello", "recipients": [{"identifier": "ann"}]}
                sent.append((await made(there, "/1/messages", message))["messageId"])
            caught = await until(receiver, lambda caught: len(caught) >= TIMES)
            assert sorted(told(one)[0] for one in caught) == sorted(sent)

            async def states() -> list[str]:
                shown = await here.get(f"/1/messages/{sent[-1]}/callbacks")
                return [one["state"] for one in shown.json()["items"]]

            await again(states, lambda said: said == ["done"], "it is settled after it was answered")
        await receiver.close()

    run(story())


def place_of(page: dict[str, Any]) -> dict[str, str]:
    """Return the parameter by which one goes on after a page."""
    return {"cursor": page["cursor"]}


@pytest.mark.timeout(120)
def test_whoever_follows_the_feed_at_either_node_misses_nothing(
    nodes: tuple[Served, Served], run: Run
) -> None:
    """A poll that waits at one gets what the other stores; its cursor holds at both: each event once, in one order."""
    one, other = nodes

    async def story() -> None:
        async with town(one) as place, other.client() as there:
            await place.user("ann")
            apps = {"mobileAppId": str(place.app["id"])}

            async def poll(http: httpx.AsyncClient, cursor: dict[str, str], wait: int = 20) -> dict[str, Any]:
                answer = await http.get("/1/events", params={**apps, **cursor, "wait": str(wait)}, timeout=30)
                page: dict[str, Any] = answer.raise_for_status().json()
                return page

            begin = place_of(await poll(there, {}, 0))
            waiting = asyncio.ensure_future(poll(there, begin))
            sent = [await place.send("ann") for _ in range(3)]
            sent.append((await made(there, "/1/messages", place.message("ann")))["messageId"])
            page, pages = await waiting, 1
            seen = [one["messageId"] for one in page["items"]]
            assert seen, "it was answered when there was something"
            while len(seen) < len(sent):
                page, pages = await poll((place.http, there)[pages % 2], place_of(page)), pages + 1
                seen += [one["messageId"] for one in page["items"]]
            assert Counter(seen) == Counter(sent)
            whole = [(await poll(http, begin, 0))["items"] for http in (place.http, there)]
            assert whole[0] == whole[1]
            assert [one["messageId"] for one in whole[0]] == seen
            assert (await poll(place.http, place_of(page), 0))["items"] == []

    run(story())


@pytest.mark.timeout(60)
def test_what_is_read_at_one_node_is_told_to_the_device_at_the_other(
    nodes: tuple[Served, Served], run: Run
) -> None:
    """And what is recalled; long before a heartbeat could find it."""
    one, other = nodes

    async def story() -> None:
        async with town(one) as place:
            await place.user("ann")
            here, there = await place.log_in("ann"), await place.log_in("ann")
            async with place.phone(here) as phone, link(other) as tablet:
                await say(tablet, {"type": "hello", "token": there, "epoch": None, "cursor": 0})
                assert (await hear(tablet))["type"] == "welcome"
                read, gone = await place.send("ann"), await place.send("ann")
                for device in (phone, tablet):
                    assert [(await hear(device))["messageId"] for _ in range(2)] == [read, gone]
                await say(phone, {"type": "read", "messageIds": [read]})
                assert await hear(tablet) == {"type": "read", "messageId": read}
                (await place.http.post(f"/1/messages/{gone}/expire")).raise_for_status()
                assert await hear(tablet) == {"type": "gone", "messageId": gone}

    run(story())
