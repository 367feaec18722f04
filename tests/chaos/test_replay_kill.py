"""A bulk replay that is killed in the middle goes on after each restart, and ends having counted each callback once."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import pytest
from tests.acceptance.served import Served, made
from tests.chaos.receiver import hung_up
from tests.chaos.remains import rest_of
from tests.waiting import again

from homing.callbacks.replay import WINDOW
from homing.simulator.answers import Answer, Behaviour
from homing.simulator.receivers import Caught, Receiver

IS_FULL = os.environ.get("HOMING_CHAOS") == "full"
CALLBACKS = 10_000 if IS_FULL else 600
RECIPIENTS = 1_000 if IS_FULL else 100
KILLS = 8 if IS_FULL else 2
PATIENCE_S = 120.0 if IS_FULL else 40.0
REFUSING = Behaviour("refusing", lambda _n, _rng: Answer(404))
MOODY = Behaviour("moody", lambda _n, rng: Answer(500 if rng.random() < 0.02 else 204))


class Told(NamedTuple):
    """One callback as it came: in which life of the server, for which job, and how it was answered."""

    life: int
    webhook_id: str
    job: str | None
    status: int | None


class Place:
    """One server that dies, one receiver, one endpoint."""

    def __init__(self, data: Path, delays_s: list[float]) -> None:
        changes = {"HOMING_CALLBACKS__RETRY_DELAYS_SECONDS": json.dumps(delays_s)}
        self.served = Served(data, changes=changes)
        self.receiver = Receiver("only", keep=10)
        self.told: list[Told] = []
        self.life = 0
        self.path = ""
        self._heard = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.receiver.start()
        self.receiver.on_caught.append(self._hear)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.served.close()
        await self.receiver.close()

    async def start(self) -> None:
        self.life += 1
        self.served.start()
        await self.served.ready()

    async def until(self, count: Callable[[], int], enough: int) -> None:
        """Wait until so many came; each callback is looked at."""
        async with asyncio.timeout(PATIENCE_S):
            while count() < enough:
                self._heard.clear()
                await self._heard.wait()

    async def fill(self, http: httpx.AsyncClient) -> None:
        """Send messages with one event for each recipient, ``CALLBACKS`` in all."""
        app = await made(http, "/1/apps", {"name": "replay"})
        endpoint = await made(
            http, f"/1/apps/{app['id']}/endpoints", {"url": self.receiver.url, "form": "json"}
        )
        self.receiver.trust(endpoint["secret"])
        self.path = f"/1/apps/{app['id']}/endpoints/{endpoint['id']}"
        for _ in range(CALLBACKS // RECIPIENTS):
            recipients = [{"identifier": f"nobody{number}"} for number in range(RECIPIENTS)]
            await made(http, "/1/messages", {"mobileAppId": app["id"], "text": "x", "recipients": recipients})

    async def replay_and_kill(
        self, http: httpx.AsyncClient, which: str, rng: random.Random
    ) -> dict[str, Any]:
        """Begin a job, kill the server ``KILLS`` times while it runs, and return the job when it is over."""
        begun = await http.post(f"{self.path}/replay", json={"which": which, "ratePerSecond": 4_000})
        job = begun.json()["jobId"]
        replayed = self.count(job)
        for kill in range(KILLS):
            await self.until(replayed, int(CALLBACKS * (kill + rng.random()) / (KILLS + 1)))
            self.served.kill()
            await hung_up(self.receiver)  # so that a callback counts for the life that sent it
            await self.start()
        await self.until(replayed, CALLBACKS)

        async def shown() -> dict[str, Any]:
            told: dict[str, Any] = (await http.get(f"/1/jobs/{job}")).json()
            return told

        return await again(
            shown, lambda it: it["state"] == "done", "a job is only asked for", within_s=PATIENCE_S
        )

    def count(self, job: str) -> Callable[[], int]:
        return lambda: sum(1 for one in self.told if one.job == job)

    def _hear(self, caught: Caught) -> None:
        assert not caught.faults, caught.faults
        headers = caught.headers
        self.told.append(
            Told(self.life, headers["webhook-id"], headers.get("homing-replay"), caught.answered)
        )
        self._heard.set()


def judge(place: Place, job: dict[str, Any], first: set[str]) -> str:
    """Everything was told again under its own id and counted once; twice only what a death left unknown."""
    assert (job["total"], job["done"], job["failed"]) == (CALLBACKS, CALLBACKS, 0)
    again = [one for one in place.told if one.job == job["id"]]
    taken = [one for one in again if one.status == 204]
    assert {one.webhook_id for one in taken} == first
    in_one_life = Counter((one.life, one.webhook_id) for one in taken)
    assert max(in_one_life.values()) == 1, "a callback was told again in the same life after a 2xx"
    twice = len(taken) - len(first)
    assert twice <= KILLS * WINDOW
    rest = rest_of(place.served.data / "homing.db")
    assert (rest.torn, {table: rows for table, rows in rest.stuck.items() if rows}) == ([], {})
    return f"{CALLBACKS} callbacks told again over {KILLS} kills: {job['done']} counted, {twice} came twice"


@pytest.mark.chaos
@pytest.mark.timeout(600 if IS_FULL else 120)
def test_a_replay_of_all_is_killed_and_goes_on(
    tmp_path: Path, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """What was told already is told again, exactly once for each answer that is on disk."""

    async def story() -> None:
        async with Place(tmp_path / "data", [0.1] * 20) as place, place.served.client() as http:
            await place.fill(http)
            await place.until(lambda: len(place.told), CALLBACKS)
            first = {one.webhook_id for one in place.told}
            assert len(first) == CALLBACKS
            place.receiver._behaviour = MOODY
            job = await place.replay_and_kill(http, "all", random.Random(1))
            assert await asyncio.to_thread(place.served.stop) == 0
            print("\n" + judge(place, job, first))

    run(story())


@pytest.mark.chaos
@pytest.mark.timeout(600 if IS_FULL else 120)
def test_a_replay_of_dead_letters_is_killed_and_goes_on(
    tmp_path: Path, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """What was given up is told after all, and nothing is dead any more."""

    async def story() -> None:
        async with Place(tmp_path / "data", [0.1] * 3) as place, place.served.client() as http:
            place.receiver._behaviour = REFUSING
            await place.fill(http)
            await place.until(lambda: len(place.told), 4 * CALLBACKS)
            dead = f"{place.path}/dead/groups"

            async def given_up() -> int:
                return sum(group["count"] for group in (await http.get(dead)).json()["items"])

            await again(
                given_up, lambda count: count == CALLBACKS, "the last tries are written after their answers"
            )
            first = {one.webhook_id for one in place.told}
            place.receiver._behaviour = Behaviour("well", lambda _n, _rng: Answer(204))
            job = await place.replay_and_kill(http, "dead", random.Random(2))
            assert (await http.get(dead)).json()["items"] == []
            assert await asyncio.to_thread(place.served.stop) == 0
            print("\n" + judge(place, job, first))

    run(story())
