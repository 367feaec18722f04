"""The work divided between two processes: one answers back ends and devices, the other tells customers and reaches people."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.served import Served, shared
from tests.acceptance.town import say, town, until, until_told
from tests.waiting import again

Run = Callable[[Coroutine[Any, Any, None]], None]
UNSWEPT = (str(Path(__file__).with_name("unswept.py")),)


@pytest.fixture
def nodes(dsn: str, tmp_path: Path) -> Iterator[tuple[Served, Served]]:
    """Front and back of one database, both ready; in neither does a sweep ever come."""
    changes = shared(dsn, tmp_path)
    front, back = (
        Served(tmp_path / name, changes=changes | {"HOMING_SERVER__ROLES": roles}, program=UNSWEPT)
        for name, roles in (("front", "api,gateway"), ("back", "callbacks,channels"))
    )
    try:
        for node in (front, back):
            node.start()
        for node in (front, back):
            asyncio.run(node.ready())
        yield front, back
    finally:
        for node in (front, back):
            node.close()


async def metric(node: Served, name: str) -> float:
    """Return what one sample of a node's metrics says, 0 where it is not there."""
    async with node.client() as http:
        text = (await http.get("/metrics")).raise_for_status().text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


@pytest.mark.timeout(120)
def test_what_the_front_stores_the_back_tells(nodes: tuple[Served, Served], run: Run) -> None:
    """Each step is called back, once, and pushes are done, by the node that heard of them: there is no sweep to find them."""
    front, back = nodes

    async def story() -> None:
        async with town(front) as place, back.client() as there:
            await place.user("ann")
            await place.user("bob")
            receiver = await place.receiver("json")
            inbox = await place.receiver("json", kind="inbox")
            async with place.phone(await place.log_in("ann")) as phone:
                first = await place.send("ann")
                await until_told(receiver, first, "enqueued")
                await say(phone, {"type": "ack", "messageIds": [first]})
                await say(phone, {"type": "read", "messageIds": [first]})
                await until_told(receiver, first, "delivered", "read")
                await say(phone, {"type": "send", "clientRef": "1", "text": "hello back"})
                await until(inbox, bool)
            device = {"authorization": f"Bearer {await place.log_in('bob')}"}
            token = {"platform": "ios", "token": "ab" * 32}
            put = await place.http.put("/device/1/push-token", json=token, headers=device)
            assert put.status_code == 204, put.text
            second = await place.send("bob")
            handed = 'homing_work_handed_total{role="channels"}'
            await again(
                lambda: metric(back, handed), bool, "a push that nobody has a key for leaves only its trace"
            )
            await again(
                lambda: place.http.get(f"/1/messages/{second}/explain"),
                lambda it: "nobody was woken" in it.text,
                "its trace is written after it",
            )
            assert await metric(back, 'homing_work_handed_total{role="callbacks"}') >= 3
            assert await metric(front, 'homing_work_handed_total{role="callbacks"}') == 0
            assert await metric(front, 'homing_nodes{role="callbacks"}') == 1
            ids = [one.webhook_id for one in (*receiver.caught, *inbox.caught)]
            assert len(ids) == len(set(ids)) == 5
            replayed = await place.http.post(f"/1/messages/{first}/callbacks/replay")
            assert replayed.status_code == 202, replayed.text
            await until(receiver, lambda caught: len(caught) >= 7)
            endpoint = (await place.http.get(f"{place.path}/endpoints")).json()["items"][0]["id"]
            sample = await place.http.post(f"{place.path}/endpoints/{endpoint}/test")
            assert sample.json()["ok"], sample.text
            for path in ("/1/messages", "/device/1/messages"):
                elsewhere = await there.get(path)
                assert elsewhere.status_code == 404
                assert "this node, which has the roles callbacks, channels" in elsewhere.json()["detail"]
            assert (await there.get("/healthz")).status_code == 200
        assert (front.stop(), back.stop()) == (0, 0)
        assert (front.faults(), back.faults()) == ([], [])

    run(story())
