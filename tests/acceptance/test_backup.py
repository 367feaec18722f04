"""A node is backed up while messages are being accepted, killed, and restored elsewhere: everything up to then is there."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from tests.acceptance.served import Served, environment, made, shared
from tests.acceptance.town import Town, town, until_told
from tests.postgres.server import Server

from homing.device import Device, Message

Run = Callable[[Coroutine[Any, Any, None]], None]
SENDERS = 8
BEFORE = 40
"""Messages that are acknowledged before the backup begins, and again after it has ended."""
HEARD_S = 20.0


async def homing(*words: str, **changes: str) -> str:
    """Run a verb as a process of its own and return what it printed; it must end with 0."""
    command = [sys.executable, "-m", "homing.cli", *words]
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=environment(changes), check=False
    )
    assert ended.returncode == 0, ended.stderr
    return str(ended.stdout)


class Load:
    """Senders that send to Ann without a pause; ``acknowledged`` are the ids of each 201, in order."""

    def __init__(self, place: Town) -> None:
        self.acknowledged: list[str] = []
        self._place = place
        self._is_over = False
        self._news = asyncio.Event()
        self._senders = [asyncio.create_task(self._send()) for _ in range(SENDERS)]

    async def more(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(HEARD_S):
            while len(self.acknowledged) < wanted:
                self._news.clear()
                await self._news.wait()

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._senders)

    async def _send(self) -> None:
        while not self._is_over:
            self.acknowledged.append(await self._place.send("ann"))
            self._news.set()


async def hear_all(phone: Device, wanted: set[str]) -> list[Message]:
    """Return what a phone hears on its link until it has heard of all that is wanted, each acknowledged."""
    heard: list[Message] = []
    async with asyncio.timeout(HEARD_S):
        async for event in phone.events():
            assert isinstance(event, Message)
            heard.append(event)
            await phone.ack(event.id)
            if wanted <= {one.id for one in heard}:
                break
    return heard


async def feed_end(http: httpx.AsyncClient) -> str:
    """Where one who follows the feed stands that has heard all of it."""
    place: dict[str, str] = {}
    while True:
        page = (await http.get("/1/events", params={"limit": "200", **place})).raise_for_status().json()
        place = {"cursor": str(page["cursor"])}
        if page["nextCursor"] is None:
            return place["cursor"]


async def followed(http: httpx.AsyncClient, cursor: str, wanted: str) -> set[str]:
    """Follow the feed from a place until a message is in it; a shared store's feed ends seconds ago."""
    async with asyncio.timeout(HEARD_S):
        while True:
            page = (await http.get("/1/events", params={"cursor": cursor, "limit": 200, "wait": 10})).json()
            found = {one["messageId"] for one in page["items"]}
            if wanted in found:
                return found
            cursor = str(page["cursor"])


class Sites(NamedTuple):
    """Where the first node works, and where another is to: each with how the verbs are told of it."""

    first: Served
    second: Served
    environment: dict[str, str]
    source: tuple[str, ...]
    into: str


@pytest.fixture(params=["sqlite", "postgres"])
def sites(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sites]:
    """Return two places for a node, of either store; no process is left there afterwards."""
    if request.param == "sqlite":
        first, second = Served(tmp_path / "first"), Served(tmp_path / "second")
        made = Sites(first, second, {}, ("--data", str(first.data)), str(second.data))
    else:
        postgres: Server = request.getfixturevalue("postgres")
        one, other = postgres.create(), postgres.create()
        changes = shared(postgres.dsn(one), tmp_path)
        elsewhere = changes | {"HOMING_STORE__URL": postgres.dsn(other)}
        first = Served(tmp_path / "first", changes=changes)
        second = Served(tmp_path / "second", changes=elsewhere)
        made = Sites(first, second, changes, (), postgres.dsn(other))
    try:
        yield made
    finally:
        first.close()
        second.close()


@pytest.mark.timeout(120)
def test_a_backup_under_load_restored_elsewhere(sites: Sites, tmp_path: Path, run: Run) -> None:
    """All that was acknowledged before the backup is in it; devices get a new epoch and resume; callbacks go on."""
    first, second, _, source, into = sites

    async def story() -> None:
        await first.ready()
        copy = tmp_path / "copy"
        async with town(first) as place:
            await place.user("ann")
            receiver = await place.receiver("json", "down")
            phone = Device(first.url, place.app["appKey"])
            await phone.login("ann", "secret")
            heard_first = await place.send("ann")
            await phone.connect()
            assert [one.id for one in await hear_all(phone, {heard_first})] == [heard_first]
            await phone.read(heard_first)
            await phone.go_offline()
            epoch, cursor = phone.epoch, phone.cursor

            load = Load(place)
            await load.more(BEFORE)
            before = list(load.acknowledged)
            await homing("backup", str(copy), *source, **sites.environment)
            await load.more(BEFORE)
            await load.end()
            shown = [(await place.http.get(f"/1/messages/{one}")).json() for one in before[:3]]
            follower = await feed_end(place.http)
            first.kill()

            await homing("restore", str(copy), "--verify", "--into", into)
            if source:
                shutil.copy2(first.data / "master.key", second.data / "master.key")
            await receiver.becomes("ok")
            second.start()
            await second.ready()
            async with second.client() as http:
                again = [(await http.get(f"/1/messages/{one}")).json() for one in before]
                assert [one["messageId"] for one in again] == before
                assert again[:3] == shown
                lost = [(await http.get(f"/1/messages/{one}")).status_code for one in load.acknowledged[-5:]]
                assert lost == [404] * 5

                phone.url = second.url
                await phone.connect()
                assert phone.epoch not in {None, epoch}
                heard = await hear_all(phone, set(before))
                assert [one.seq for one in heard] == sorted({one.seq for one in heard})
                assert {one.id for one in heard} <= set(load.acknowledged)
                assert phone.cursor >= cursor
                fresh = await made(http, "/1/messages", place.message("ann", text="after"))
                (last,) = [
                    one for one in await hear_all(phone, {fresh["messageId"]}) if one.id == fresh["messageId"]
                ]
                assert last.text == "after"
                assert fresh["messageId"] in await followed(http, follower, fresh["messageId"])
                await phone.go_offline()

                # It rested when the copy was made, and would be probed only after half a minute.
                (endpoint,) = (await http.get(f"{place.path}/endpoints")).json()["items"]
                (await http.post(f"{place.path}/endpoints/{endpoint['id']}/enable")).raise_for_status()
                for one in (heard_first, before[0], before[-1], fresh["messageId"]):
                    await until_told(receiver, one, "enqueued", "delivered")
        assert first.faults() == second.faults() == []
        assert second.stop() == 0

    first.start()
    run(story())
