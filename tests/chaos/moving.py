"""The drill of a move: a node on SQLite is killed amid its work, everything goes to a PostgreSQL, a node goes on there."""

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.acceptance.served import Served, environment, made
from tests.acceptance.town import Town, hear, link, say, told, until
from tests.waiting import again

from homing.simulator.receivers import Caught, Receiver

STATUSES = ["enqueued", "delivered", "read"]
WITHIN_S = 90.0


def homing(*words: str, within_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
    """Run a verb as a process of its own."""
    command = [sys.executable, "-m", "homing.cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment({}), timeout=within_s, check=False
    )


class Drill:
    """One store's way, and everybody who depends on it; ``sample`` are messages in it that were told long ago."""

    def __init__(self, folder: Path, dsn: str, sample: Sequence[str] = (), kills: Sequence[int] = ()) -> None:
        """``kills`` are after how many rows the move dies, to be begun anew."""
        self.old = Served(folder / "data")
        key = str(folder / "data" / "master.key")
        self.new = Served(
            folder / "new", changes={"HOMING_STORE__URL": dsn, "HOMING_SECURITY__MASTER_KEY_FILE": key}
        )
        self._dsn = dsn
        self._kills = kills
        self._sample = list(sample)
        self._before: dict[str, bytes] = {}
        self._receivers = {name: Receiver(name) for name in ("told", "slow", "paused")}
        self._endpoints: dict[str, str] = {}
        self._app: dict[str, Any] = {}
        self._pending: list[str] = []
        self._phone = ""
        self._epoch = ""

    async def run(self, settled: int, pending: int) -> str:
        """Go the whole way; return what the move printed."""
        for receiver in self._receivers.values():
            await receiver.start()
        try:
            await self._live(settled, pending)
            printed = await self._move()
            await self._go_on()
        finally:
            self.old.close()
            self.new.close()
            for receiver in self._receivers.values():
                await receiver.close()
        return printed

    async def _live(self, settled: int, pending: int) -> None:
        """Fill, read everything, then leave work undone by kill -9."""
        self.old.start()
        await self.old.ready()
        async with self.old.client() as http:
            self._app = await made(http, "/1/apps", {"name": "moved"})
            place = Town(self.old, http, self._app)
            await place.user("ann", mobileNumber="+420777123456", attributes={"city": "Žďár"})
            for name, receiver in self._receivers.items():
                endpoint = await made(http, f"{place.path}/endpoints", {"url": receiver.url, "form": "json"})
                receiver.trust(endpoint["secret"])
                self._endpoints[name] = f"{place.path}/endpoints/{endpoint['id']}"
            await made(http, "/1/tokens", {"name": "reader", "apps": [self._app["id"]], "scopes": ["read"]})
            self._phone = await place.log_in("ann")
            self._sample += await self._read_by_ann(place, settled)
            await self._all_told(self._sample[-settled:])
            await self._quiet(http, self._sample[-1])
            self._before = await self._everything(http)
            await _paused(http, self._endpoints["paused"], is_paused=True)
            await self._receivers["slow"].becomes("slow:20s")
            self._pending = await self._read_by_ann(place, pending)
            self.old.kill()
        await self._receivers["slow"].becomes("ok")

    async def _read_by_ann(self, place: Town, count: int) -> list[str]:
        """Send messages that Ann's phone gets and reads; return their ids."""
        sent: list[str] = []
        async with link(place.served) as socket:
            await say(socket, {"type": "hello", "token": self._phone, "epoch": None, "cursor": 0})
            welcome = await hear(socket)
            self._epoch = self._epoch or welcome["epoch"]
            assert welcome["epoch"] == self._epoch
            for _ in range(count):
                sent.append(await place.send("ann", messageRef=f"ref {len(sent)}"))
            missing = set(sent)
            while missing:
                frame = await hear(socket)
                if frame["type"] == "msg" and frame["messageId"] in missing:
                    missing.discard(frame["messageId"])
                    await say(socket, {"type": "ack", "messageIds": [frame["messageId"]]})
                    await say(socket, {"type": "read", "messageIds": [frame["messageId"]]})
            for message in sent:
                await self._recorded(place, message)
        return sent

    async def _recorded(self, place: Town, message: str) -> None:
        why = "a receipt is written after it was sent"
        await again(lambda: place.statuses(message), lambda it: it["ann"] == STATUSES, why, within_s=WITHIN_S)

    async def _all_told(self, messages: list[str]) -> None:
        """Wait until each receiver took all three statuses of each message; each in their order."""

        def is_enough(caught: list[Caught]) -> bool:
            taken = taken_of(caught)
            return all(taken[one] == STATUSES for one in messages)

        for receiver in self._receivers.values():
            await until(receiver, is_enough, within_s=WITHIN_S)

    async def _quiet(self, http: httpx.AsyncClient, message: str) -> None:
        """Wait until the last answer is on disk too."""
        await again(
            lambda: _callbacks(http, message),
            lambda told: {one["state"] for one in told} == {"done"},
            "what an answer came to is written after it came",
            within_s=WITHIN_S,
        )

    async def _everything(self, http: httpx.AsyncClient) -> dict[str, bytes]:
        """Read what does not change by what is still to be told: path → answer, byte for byte."""
        app = f"/1/apps/{self._app['id']}"
        paths = [
            "/1/apps", "/1/apps?limit=1", app, f"{app}/users", f"{app}/users/ann", f"{app}/endpoints", "/1/tokens", "/1/jobs",
            "/1/listeners", "/1/events?limit=10", "/1/events?limit=10&incoming=true",
            *(f"/1/messages/{one}" for one in self._sample), *(f"/1/messages/{one}/callbacks" for one in self._sample),
            *(f"{endpoint}/attempts?limit=100" for endpoint in self._endpoints.values()),
        ]  # fmt: skip
        return {path: await _read(http, path) for path in paths}

    async def _move(self) -> str:
        for place in self._kills:
            await self._killed(place)
        began_s = time.monotonic()
        ended = await asyncio.to_thread(
            homing, "migrate", "--data", str(self.old.data), "--to", self._dsn, within_s=1_800.0
        )
        took_s = time.monotonic() - began_s
        assert ended.returncode == 0, ended.stderr
        assert "NOT EQUAL" not in ended.stdout
        refused = await asyncio.to_thread(
            homing, "serve", "--data", str(self.old.data), "--listen", "127.0.0.1:0"
        )
        assert refused.returncode == 6
        assert "this store was moved to postgresql://" in refused.stderr
        return f"{ended.stdout}{ended.stderr}the last call took {took_s:.1f} s\n"

    async def _killed(self, place: int) -> None:
        """Begin the move, or go on with it, and kill -9 it when so many rows have arrived."""
        command = [
            sys.executable,
            "-m",
            "homing.cli",
            "migrate",
            "--data",
            str(self.old.data),
            "--to",
            self._dsn,
        ]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment({})
        ) as process:

            async def arrived_so_far() -> int:
                assert process.poll() is None, "it ended before it could be killed"
                return await self._arrived()

            why = "how far it is shows in the database it fills alone"
            arrived = await again(
                arrived_so_far, lambda rows: rows >= place, why, within_s=600.0, every_s=0.05
            )
            process.kill()
        print(f"killed when {arrived:,} rows had arrived")

    async def _arrived(self) -> int:
        """How many rows the database says it has."""
        connection = await asyncpg.connect(self._dsn)
        try:
            noted = "SELECT sum(number) FROM meta WHERE name LIKE 'moving:%'"
            return int(await connection.fetchval(noted) or 0)
        except asyncpg.UndefinedTableError:
            return 0
        finally:
            await connection.close()

    async def _go_on(self) -> None:
        """One node there tells what was due, in order; takes new messages; answers as before."""
        self.new.start()
        await self.new.ready()
        async with self.new.client() as http:
            for path, before in self._before.items():
                if "attempts" not in path and "endpoints" not in path:
                    assert await _read(http, path) == before, path
            paused = (await http.get(self._endpoints["paused"])).json()
            assert paused["paused"] is True
            await _paused(http, self._endpoints["paused"], is_paused=False)
            await self._all_told(self._pending)
            place = Town(self.new, http, self._app)
            fresh = await self._read_by_ann(place, 3)
            await self._all_told(fresh)
            for receiver in self._receivers.values():
                assert [fault for caught in receiver.caught for fault in caught.faults] == []
        assert self.new.stop() == 0
        assert self.new.faults() == []


def taken_of(caught: list[Caught]) -> dict[str, list[str]]:
    """Message → its statuses that were answered 2xx, in the order of their first coming."""
    taken: dict[str, list[str]] = defaultdict(list)
    for one in caught:
        message, _, status = told(one)
        if 200 <= (one.answered or 0) < 300 and status not in taken[message]:
            taken[message].append(status)
    return taken


async def _read(http: httpx.AsyncClient, path: str) -> bytes:
    answer = await http.get(path)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
    return answer.content


async def _callbacks(http: httpx.AsyncClient, message: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await http.get(f"/1/messages/{message}/callbacks")).json()["items"]
    return found


async def _paused(http: httpx.AsyncClient, endpoint: str, *, is_paused: bool) -> None:
    (await http.patch(endpoint, json={"paused": is_paused})).raise_for_status()
