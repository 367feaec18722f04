"""T8: kill -9 of the whole server during load. Nothing accepted is lost, nothing is told wrongly, twice or out of order.

Judged from outside, by `journal.check`. A run is repeated with HOMING_CHAOS_SEED.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.served import Served
from tests.chaos.journal import Counts, Journal, check, count
from tests.chaos.load import Senders
from tests.chaos.planted import BUGS
from tests.chaos.remains import rest_of
from tests.chaos.site import IS_FULL, PEOPLE, Site, figures

CYCLES = 100 if IS_FULL else 4
SENDERS = 12 if IS_FULL else 6
RECOVERY_S = 5.0
"""RELIABILITY.md T8: after a death everything goes on within this time (and a lease, of which one node has none)."""


class Run:
    """One server that dies again and again, and everybody who depends on it."""

    def __init__(self, data: Path, seed: int, *, late: float = 0.04) -> None:
        self.served = Served(data)
        self.site = Site(seed, late=late)
        self.rng, self.switch, self.receivers = self.site.rng, self.site.switch, self.site.receivers
        self.cycles = CYCLES
        self.lives_s = (0.05, 1.5 if IS_FULL else 0.6)
        """How long the server lives once it is up, or at work, at least and at most."""
        self.quiet_s = 240.0 if IS_FULL else 25.0
        """How long everything may take at the end to be told."""
        self.starts_s: list[float] = []
        self.recoveries_s: list[float] = []
        self.exit_code: int | None = None

    async def run(self) -> Journal:
        """Set up, let it die ``cycles`` times under load, wait until all is told, stop it, and return what was seen."""
        await self.receivers.start()
        try:
            return await self._run()
        finally:
            self.served.close()
            await self.receivers.close()

    async def _run(self) -> Journal:
        await self._start()
        site = self.site
        async with self.served.client() as http:
            await site.set_up(http, lambda: self.served.url)
            senders = Senders(http, site.app["id"], PEOPLE, self.switch, self.rng)
            async with asyncio.TaskGroup() as everybody:
                posting = [everybody.create_task(senders.run()) for _ in range(SENDERS)]
                phoning = [everybody.create_task(phone.run()) for phone in site.phones]
                for cycle in range(self.cycles):
                    await self._die(is_at_work=cycle % 2 == 0)
                    await self._start()
                self.switch.is_ending = True
                await asyncio.gather(*posting)
                await site.until_all_told(senders, self.quiet_s)
                journal = await site.seen(http, senders)
                for task in phoning:
                    task.cancel()
        self.exit_code = await asyncio.to_thread(self.served.stop)
        journal.calls = list(self.receivers.calls(self.starts_s))
        rest = rest_of(self.served.data / "homing.db")
        journal.rest = rest._replace(torn=[*rest.torn, *site.contradictions])
        print(
            f"\n{senders.repeats} requests repeated, {sum(phone.connections for phone in site.phones)} connections"
        )
        return journal

    def first_callbacks_s(self) -> list[float]:
        """For each start, how long it was until the first callback came (none if it died before)."""
        arrivals = self.receivers.arrivals_s()
        found = []
        for start_s, end_s in zip(self.starts_s, [*self.starts_s[1:], float("inf")], strict=True):
            first = next((arrival for arrival in arrivals if start_s < arrival <= end_s), None)
            if first is not None:
                found.append(first - start_s)
        return found

    def told(self, counts: Counts, first_s: Sequence[float]) -> str:
        """The figures of the run, one line."""
        return (
            f"{self.cycles} cycles, {len(self.starts_s)} starts: {figures(counts)}; after a start "
            f"/healthz in {max(self.recoveries_s):.2f} s at most, the first callback in {max(first_s):.2f} s at most"
        )

    async def _start(self) -> None:
        """Start the server; one time in seven it dies while it starts, and is started again."""
        while True:
            self.starts_s.append(asyncio.get_running_loop().time())
            self.served.start()
            if len(self.starts_s) < 3 or self.rng.random() > 0.15:
                break
            await asyncio.sleep(self.rng.uniform(0, self.recoveries_s[-1]))  # a random moment is the point
            await self._kill()
        self.recoveries_s.append(await self.served.ready("/healthz"))
        self.switch.up.set()

    async def _die(self, *, is_at_work: bool) -> None:
        """Die at any moment, or at one after something was told: a slow machine has lives in which nothing happens."""
        if is_at_work:
            await self.receivers.until_told_anything()
        await asyncio.sleep(self.rng.uniform(*self.lives_s))  # a random moment is the point
        self.switch.up.clear()
        await self._kill()

    async def _kill(self) -> None:
        self.served.kill()
        await self.receivers.until_hung_up()  # so that a callback counts for the life that sent it


@pytest.mark.chaos
@pytest.mark.timeout(1800 if IS_FULL else 120)
def test_the_server_is_killed_during_load(
    tmp_path: Path, run: Callable[[Coroutine[Any, Any, Journal]], Journal]
) -> None:
    """Whenever the server dies, no accepted message and no event is lost, and what is told twice is told the same."""
    seed = int(os.environ.get("HOMING_CHAOS_SEED") or time.time_ns() % 1_000_000_007)
    print(f"\nHOMING_CHAOS_SEED={seed}")

    killed = Run(tmp_path / "data", seed)
    journal = run(killed.run())
    findings, counts, first_s = check(journal), count(journal), killed.first_callbacks_s()
    print(killed.told(counts, first_s))
    assert findings == [], f"{len(findings)} findings: " + "\n".join(findings[:20])
    assert killed.exit_code == 0, killed.served.log[-4000:]
    assert killed.served.faults() == []
    assert counts.accepted > CYCLES
    assert len(first_s) >= CYCLES / 2
    if IS_FULL:
        assert max(killed.recoveries_s) < RECOVERY_S


@pytest.mark.chaos
@pytest.mark.parametrize("bug", list(BUGS) if IS_FULL else list(BUGS)[:2])
def test_a_planted_bug_is_found(
    tmp_path: Path, run: Callable[[Coroutine[Any, Any, Journal]], Journal], bug: str
) -> None:
    """The same run against a server with a bug finds it: a test that finds nothing has looked."""
    killed = Run(tmp_path / "data", seed=7, late=0.5)
    killed.served = Served(tmp_path / "data", program=[str(Path(__file__).with_name("planted.py")), bug])
    killed.cycles, killed.lives_s, killed.quiet_s = 1, (0.4, 0.6), 2.0
    assert BUGS[bug][0] in {finding.partition(":")[0] for finding in check(run(killed.run()))}
