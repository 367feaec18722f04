"""A store that is away for a while costs no device its link."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from tests.gateway.house import house

from homing.errors import Unavailable
from homing.gateway import connection
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


def _json(**frame: object) -> str:
    return msgspec.json.encode(frame).decode()
