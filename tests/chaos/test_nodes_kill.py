"""T8 with several nodes: kill -9 of a random one of two on one PostgreSQL, under load with failing receivers, again and again.

Deaths overlap: a node is killed long before what the one before it held could be taken over. Judged from outside, by
`journal.check`, and by the lanes of each dead node, which others must have within 45 s. Repeated with HOMING_CHAOS_SEED.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.fleet import Fleet, connected, epoch_of, traced
from tests.chaos.journal import Journal, check, count
from tests.chaos.planted import NODE_BUGS
from tests.chaos.site import IS_FULL, figures
from tests.postgres.server import Server
from tests.waiting import again

CYCLES = 50 if IS_FULL else 2
PATIENCE_S = 60.0
TAKEN_OVER_S = 45.0 if IS_FULL else PATIENCE_S
"""What a dead node held is another's by then: a term of 40 s, a beat, the walk. A short run has a busy machine beside it."""
BETWEEN_S = (1.0, 7.0) if IS_FULL else (0.5, 1.0)
QUIET_S = 240.0 if IS_FULL else 60.0
_HELD = "SELECT count(*) FROM lane WHERE due IS NULL AND owner = $1"
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Deaths:
    """The story of a run: who died, what they held, and how long that was nobody's."""

    def __init__(self, dsn: str, cycles: int, between_s: tuple[float, float] = BETWEEN_S) -> None:
        self.cycles = cycles
        self.held: list[int] = []
        self.taken_s: list[float] = []
        self._dsn = dsn
        self._between_s = between_s

    async def tell(self, fleet: Fleet) -> None:
        """Kill and start again, and watch what becomes of the lanes of each that died."""
        loop = asyncio.get_running_loop()
        onlooker = await connected(self._dsn)
        looking = asyncio.Lock()

        async def held(epoch: int) -> int:
            async with looking:
                return int(await onlooker.fetchval(_HELD, epoch))

        async def watch(epoch: int, died_s: float) -> None:
            why = "whose lanes they are now shows in the store alone"
            with contextlib.suppress(AssertionError):  # a run with a bug is judged to its end
                await again(
                    lambda: held(epoch), lambda count: count == 0, why, within_s=PATIENCE_S, every_s=0.25
                )
            self.taken_s.append(loop.time() - died_s)

        async def at_work(epoch: int) -> None:
            await again(lambda: held(epoch), bool, "what a node holds shows in the store alone")

        async with asyncio.TaskGroup() as watching:
            for _ in range(self.cycles):
                await asyncio.sleep(fleet.rng.uniform(*self._between_s))  # a random moment is the point
                victim = fleet.rng.choice(fleet.nodes)
                if len(self.held) % 2 == 0:  # on a slow machine there are moments at which it holds nothing
                    await at_work(epoch_of(victim))
                epoch = await fleet.kill(victim)
                died_s = loop.time()
                self.held.append(await held(epoch))
                watching.create_task(watch(epoch, died_s))
                # One of the two is always up: it takes over what a term that ended just then leaves.
                await fleet.start(victim)
        await onlooker.close()


def story(server: Server, name: str, folder: Path, seed: int, **given: Any) -> tuple[Fleet, Deaths]:
    """Return the nodes of a run, and what becomes of them."""
    dsn = server.dsn(name)
    fleet = Fleet(folder, dsn, seed, **{key: given.pop(key) for key in ("late", "program") if key in given})
    return fleet, Deaths(dsn, **given)


@pytest.mark.chaos
@pytest.mark.timeout(1800 if IS_FULL else 180)
def test_nodes_are_killed_during_load(
    mortal_postgres: Server, tmp_path: Path, run: Callable[[Coroutine[Any, Any, Journal]], Journal]
) -> None:
    """Whoever dies whenever, nothing is lost, order holds, and what the dead one held is another's within 45 s."""
    seed = int(os.environ.get("HOMING_CHAOS_SEED") or time.time_ns() % 1_000_000_007)
    print(f"\nHOMING_CHAOS_SEED={seed}")
    name = mortal_postgres.create()
    fleet, deaths = story(mortal_postgres, name, tmp_path, seed, cycles=CYCLES)
    journal = run(fleet.run(deaths.tell, lambda: connected(mortal_postgres.dsn(name)), quiet_s=QUIET_S))
    findings, counts = check(journal), count(journal)
    print(
        f"{CYCLES} kills: {figures(counts)}; the dead held {sum(deaths.held)} lanes "
        f"({sum(map(bool, deaths.held))} of them some), others had them after {max(deaths.taken_s):.1f} s at most"
    )
    assert findings == [], traced(journal, findings)
    assert fleet.exit_codes == [0, 0]
    assert fleet.faults() == []
    assert counts.accepted > CYCLES
    assert sum(map(bool, deaths.held)) >= CYCLES / 2
    assert max(deaths.taken_s) < TAKEN_OVER_S


@pytest.mark.chaos
@pytest.mark.timeout(240)
@pytest.mark.parametrize("bug", list(NODE_BUGS) if IS_FULL else list(NODE_BUGS)[:1])
def test_a_planted_bug_of_several_nodes_is_found(
    mortal_postgres: Server, tmp_path: Path, run: Callable[[Coroutine[Any, Any, Journal]], Journal], bug: str
) -> None:
    """The same run with nodes that have a bug finds it."""
    name = mortal_postgres.create()
    number, quiet_s, _ = NODE_BUGS[bug]
    fleet, deaths = story(
        mortal_postgres, name, tmp_path, 7, cycles=1, between_s=(0.5, 0.6), late=0.5,
        program=[str(Path(__file__).with_name("planted.py")), bug],
    )  # fmt: skip
    journal = run(fleet.run(deaths.tell, lambda: connected(mortal_postgres.dsn(name)), quiet_s=quiet_s))
    assert number in {finding.partition(":")[0] for finding in check(journal)}
