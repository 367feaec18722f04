"""A store that is away for a while costs no device its link; one that has forgotten something sends devices back to the start."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from tests.gateway.house import closed_with, house

from homing.errors import Unavailable
from homing.gateway import connection
from homing.gateway.tokens import digest
from homing.model import Device
from homing.store.views import InboxItem

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_link_outlives_a_store_that_is_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be read is read again, and comes on the same link; a receipt for something old waits as well."""
    monkeypatch.setattr(connection, "STORE_AGAIN_S", 0.001)

    async def story() -> None:
        async with house() as home:
            old = await home.post("old", "ann")
            device = await home.device()
            refused: list[str] = []
            inbox, find = home.store.inbox, home.store.find_dispatches

            async def away(*given: Any) -> list[InboxItem]:
                if refused.count("inbox") < 3:
                    refused.append("inbox")
                    raise Unavailable("away")
                return await inbox(*given)

            async def away_too(*given: Any) -> dict[bytes, bytes]:
                if refused.count("find") < 3:
                    refused.append("find")
                    raise Unavailable("away")
                return await find(*given)

            monkeypatch.setattr(home.store, "inbox", away)
            monkeypatch.setattr(home.store, "find_dispatches", away_too)
            async with home.socket() as link:
                await link.send(_json(type="hello", token=device.token, cursor=0))
                assert msgspec.json.decode(await link.recv())["type"] == "welcome"
                assert msgspec.json.decode(await link.recv())["messageId"] == old
                await link.send(_json(type="ack", messageIds=["00000000-0000-7000-8000-000000000000"]))
                new = await home.post("new", "ann")
                assert msgspec.json.decode(await link.recv())["messageId"] == new
                await home.until(lambda: refused.count("find") == 3)

    run(story())


def test_devices_begin_anew_when_the_store_has_forgotten_something(run: Run) -> None:
    """Links end with a time to come back; whoever does is given what is there from the start, a poll that waits as well."""

    async def story() -> None:
        async with house() as home:
            first = await home.post("x", "ann")
            device, poller = await home.device(), await home.device()

            async def record(token: str | None) -> Device:
                found = await home.store.device(digest(token or ""))
                assert found is not None
                return found

            before = home.store.store_id
            polled = await home.gateway._polls.poll(
                await record(poller.token), cursor=1, epoch=before, wait_s=0
            )
            assert (polled.epoch, polled.cursor) == (before, 1)
            async with home.socket() as link:
                await link.send(_json(type="hello", token=device.token, epoch=before, cursor=1))
                assert msgspec.json.decode(await link.recv())["cursor"] == 1
                waiting = asyncio.create_task(
                    home.gateway._polls.poll(await record(poller.token), cursor=1, epoch=before, wait_s=30)
                )
                await home.until(lambda: home.gateway._polls.count_resting() == 1)
                home.store.store_id = "another"
                home.gateway.rewound()
                frames: list[Any] = [msgspec.json.decode(await link.recv()) for _ in range(2)]
                assert frames[0]["messageId"] == first  # it had no receipt
                assert (frames[1]["type"], frames[1]["code"]) == ("bye", 4503)
                assert 0 <= frames[1]["retryAfter"] <= 60
                assert await closed_with(link) == 4503
            assert (await waiting).epoch == before  # what it had understood the cursor by
            again = await home.gateway._polls.poll(
                await record(poller.token), cursor=1, epoch=before, wait_s=0
            )
            assert (again.epoch, len(again.frames)) == ("another", 1)
            async with home.socket() as link:
                await link.send(_json(type="hello", token=device.token, epoch=before, cursor=1))
                welcome, message = [msgspec.json.decode(await link.recv()) for _ in range(2)]
                assert (welcome["epoch"], welcome["cursor"], message["messageId"]) == ("another", 0, first)

    run(story())


def _json(**frame: object) -> str:
    return msgspec.json.encode(frame).decode()
