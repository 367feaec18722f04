"""The primary is killed under load and its synchronous standby promoted, again and again, each time with a standby built anew.

Two real nodes, one address that names both servers. Judged from outside by `journal.check`: nothing that was answered is lost,
order holds, and messages are accepted again within 30 s of the promotion. Repeated with HOMING_CHAOS_SEED.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from tests.chaos.fleet import Fleet, connected, facts, traced
from tests.chaos.journal import Journal, check, count
from tests.chaos.site import IS_FULL, figures
from tests.postgres.server import Server
from tests.postgres.standby import catch_up, dsn_of_all, follow, promote, standby_of
from tests.postgres.waiting import until

CYCLES = 10 if IS_FULL else 1
BACK_S = 30.0
"""So long after a promotion messages are accepted again at the latest."""
LIVES_S = (1.0, 6.0) if IS_FULL else (0.3, 0.5)
QUIET_S = 240.0 if IS_FULL else 60.0


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A server that keeps what it answers, and its synchronous standby."""
    with Server(name="east", in_memory=True) as primary, standby_of(primary, name="west") as standby:
        yield primary, standby


class Failovers:
    """The story of a run: how often the primary was lost, and how long nothing was accepted then."""

    def __init__(self, pair: tuple[Server, Server], cycles: int, *, cut_off: float = 0.5) -> None:
        """``cut_off`` is how often the standby hears no more in the primary's last second: then nothing may be answered."""
        self.primary, self.standby = pair
        self.cycles = cycles
        self._cut_off = cut_off
        self.back_s: list[float] = []
        """From each promotion to the next message that was accepted."""

    async def tell(self, fleet: Fleet) -> None:
        """Lose the primary, promote the standby, build another one, and so on."""
        loop = asyncio.get_running_loop()
        for _ in range(self.cycles):
            await fleet.until_accepted(20)
            await asyncio.sleep(fleet.rng.uniform(*LIVES_S))  # a random moment is the point
            if fleet.rng.random() < self._cut_off:
                await asyncio.to_thread(cut_off, self.standby, self.primary)
                await asyncio.sleep(1.0)  # what is sent meanwhile must not be acknowledged
            fleet.dies()
            await asyncio.to_thread(self.primary.kill)
            await asyncio.to_thread(promote, self.standby)
            promoted_s = loop.time()
            self.back_s.append(await fleet.until_accepted() - promoted_s)
            await fleet.until_ready()
            fleet.dies()
            self.primary, self.standby = self.standby, self.primary
            await asyncio.to_thread(follow, self.standby, self.primary)
        await fleet.until_accepted(20)


def cut_off(standby: Server, primary: Server) -> None:
    """Have the standby hear nothing more."""
    standby.configure(primary_conninfo="")
    asked = "SELECT count(*) FROM pg_stat_replication"
    until(lambda: not primary.ask(asked), 20.0, lambda: f"{standby.name} still follows")


@pytest.mark.chaos
@pytest.mark.timeout(1800 if IS_FULL else 150)
def test_the_primary_is_lost_during_load(
    pair: tuple[Server, Server], tmp_path: Path, run: Callable[[Coroutine[None, None, Journal]], Journal]
) -> None:
    """What was answered is at the standby; nodes and devices go on as who they were, soon after it is promoted."""
    seed = int(os.environ.get("HOMING_CHAOS_SEED") or time.time_ns() % 1_000_000_007)
    print(f"\nHOMING_CHAOS_SEED={seed}")
    database = pair[0].create()
    catch_up(pair[1], pair[0])  # it takes no address whose database it does not know
    fleet = Fleet(tmp_path, dsn_of_all(pair, database, target_session_attrs="read-write"), seed)
    story = Failovers(pair, CYCLES)
    began = time.monotonic()
    journal = run(fleet.run(story.tell, lambda: connected(story.primary.dsn(database)), quiet_s=QUIET_S))
    findings, counts = check(journal), count(journal)
    print(
        f"{CYCLES} primaries lost in {time.monotonic() - began:.0f} s: {figures(counts)}; "
        f"accepting again {max(story.back_s):.2f} s after the promotion at most"
    )
    assert findings == [], traced(journal, findings)
    assert fleet.exit_codes == [0, 0]
    assert fleet.faults() == []
    assert max(story.back_s) < BACK_S
    for node in fleet.nodes:
        assert len(list(facts(node, "store.promoted"))) >= CYCLES
        assert list(facts(node, "store.rewound")) == []  # nothing was lost, so devices kept their place


if IS_FULL:  # a minute: the lagging copy of the store's own tests is there in every run

    @pytest.mark.chaos
    @pytest.mark.timeout(240)
    def test_what_only_the_primary_had_is_missed(
        pair: tuple[Server, Server], tmp_path: Path, run: Callable[[Coroutine[None, None, Journal]], Journal]
    ) -> None:
        """Nodes with a bug acknowledge what the standby does not have: the run finds it, they begin anew, and devices with them."""
        database = pair[0].create()
        catch_up(pair[1], pair[0])
        bug = [str(Path(__file__).with_name("planted.py")), "is_content_with_one_server"]
        dsn = dsn_of_all(pair, database, target_session_attrs="read-write")
        fleet = Fleet(tmp_path, dsn, 7, program=bug)
        story = Failovers(pair, 1, cut_off=1.0)
        journal = run(fleet.run(story.tell, lambda: connected(story.primary.dsn(database)), quiet_s=5.0))
        assert "I1" in {finding.partition(":")[0] for finding in check(journal)}
        for node in fleet.nodes:
            assert list(facts(node, "store.rewound"))
        assert max(story.back_s) < BACK_S
