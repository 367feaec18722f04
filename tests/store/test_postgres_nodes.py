"""Several nodes on one database: who owns what, and who takes over."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock
from tests.store.ledger import SOON_MS, build_town, numbers, post, settle, settled
from tests.store.steps import closing, expire, node

from homing.callbacks.lanes import Lanes
from homing.config.settings import ROLES
from homing.errors import Unavailable
from homing.lifecycle.dispatch import Clock, Read, Received
from homing.store.batch import Batch, Occurrence, Verdict
from homing.store.postgres import claims, nodes
from homing.store.postgres.nodes import Known, Terms

pytestmark = needs_postgres


@pytest.mark.parametrize("which", [0, 2])
def test_lanes_of_a_dead_node_are_adopted_by_one_of_the_others(
    database: str, clock: StillClock, run: Run, which: int
) -> None:
    """While it lives nobody takes them; when its term has run out two that want them share them, each lane once.

    Also when it is the one that started last.
    """

    async def story() -> None:
        stores = [await node(database, clock=clock) for _ in range(3)]
        dead = stores.pop(which)
        a, b = stores
        town = await build_town(dead)
        keys = [await post(dead, town.app, "Ann") for _ in range(20)]
        await a.beat()
        await b.beat()
        assert await a.adopt_lanes((b"", 0), 99) == []
        orphaned: list[str] = []
        a.on_orphaned(lambda: orphaned.append("a"))
        b.on_orphaned(lambda: orphaned.append("b"))
        await expire(dead)
        await a.beat()
        await b.beat()
        assert orphaned == ["a", "b"]
        await a.beat()
        assert orphaned == ["a", "b"]
        assert a._look_again_at_s is not None
        a._look_again_at_s -= 40  # what was just being stored by the dead one is looked for once more
        await a.beat()
        await a.beat()
        assert orphaned == ["a", "b", "a"]
        shares = await asyncio.gather(a.adopt_lanes((b"", 0), 99), b.adopt_lanes((b"", 0), 99))
        assert sorted(work.key for share in shares for work in share) == keys
        assert await a.adopt_lanes((b"", 0), 99) == []
        for store, share in zip((a, b), shares, strict=True):
            assert numbers(await store.held_lanes((b"", 0), 99)) == numbers(share)

    run(closing(story()))


def test_a_walk_over_many_lanes_goes_in_strides(
    database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found far behind is found, and nothing twice, though each transaction looks at few."""
    monkeypatch.setattr(claims, "_STRIDE", 3)

    async def story() -> None:
        dead, store = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(dead)
        for _ in range(10):
            await post(store, town.app, "Ann")
        late = [await post(dead, town.app, "Ann") for _ in range(5)]
        assert [work.key for work in await dead.held_lanes((b"", 0), 2)] == late[:2]
        await dead.close()
        await store.beat()
        found: list[bytes] = []
        after: tuple[bytes, int] = (b"", 0)
        while works := await store.adopt_lanes(after, 2):
            found += [work.key for work in works]
            after = (works[-1].key, works[-1].endpoint)
        assert found == late

    run(closing(story()))


def test_events_of_one_lane_that_two_nodes_record_are_told_in_order(
    database: str, clock: StillClock, run: Run
) -> None:
    """Who holds the lane hears with its own event that the row holds another before it, and gets both with the next settle."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(a)
        key = await post(a, town.app, "Ann")
        assert (await b.commit(Batch(occurrences=[Occurrence(key, Received())]))).lanes == []
        (further,) = (await a.commit(Batch(occurrences=[Occurrence(key, Read())]))).lanes
        assert ([n for n, _, _ in further.events], further.pending, further.fresh) == ([3], 0b111, False)
        lanes = Lanes(16)
        lanes.add(msgspec.structs.replace(further, events=((1, 0, 0),), fresh=True, pending=0))
        lanes.add(further)
        lane = lanes.held[key, town.endpoint.id]
        done = settled(key, town.endpoint.id, 1, known=lane.known_after_first())
        for work in (await settle(a, done)).lanes:
            lanes.add(work)
        assert [n for n, _, _ in lane.events] == [1, 2, 3]

    run(closing(story()))


def test_what_is_due_is_shared_by_the_nodes_that_claim_it(database: str, clock: StillClock, run: Run) -> None:
    """Each lane and each command goes to one of them."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(a)
        keys = [await post(a, town.app, "Ann") for _ in range(30)]
        await a.release([(key, town.endpoint.id) for key in keys])
        claimed = await asyncio.gather(*(s.claim_lanes(town.endpoint.id, 10) for s in (a, b, a, b)))
        assert sorted(work.key for one in claimed for work in one.lanes) == keys

    run(closing(story()))


def test_a_lost_term_begins_a_new_epoch(database: str, clock: StillClock, run: Run) -> None:
    """It cannot be renewed; whoever holds something is told to drop it, and what it held can be adopted, by itself too."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        lost: list[int] = []
        store.on_lost(lambda: lost.append(store.epoch))
        before = store.epoch
        await store.beat()
        assert (store.epoch, lost) == (before, [])
        await expire(store)
        await store.beat()
        assert store.epoch > before
        assert lost == [store.epoch]
        assert await store.held_lanes((b"", 0), 9) == []
        assert [work.key for work in await store.adopt_lanes((b"", 0), 9)] == [key]
        await settle(store, settled(key, town.endpoint.id, 1))
        assert await store.held_lanes((b"", 0), 9) == []

    run(closing(story()))


def test_an_heir_takes_over_at_once(database: str, clock: StillClock, run: Run) -> None:
    """Who has a name of its own had it before, and is no more, whatever its term says; others of one machine's name live."""

    async def story() -> None:
        other = await node(database, clock=clock)
        neighbour = await node(database, clock=clock)
        dead = await node(database, clock=clock, name="one/2")
        town = await build_town(dead)
        key = await post(dead, town.app, "Ann")
        heir = await node(database, clock=clock, name="one/2")
        await other.beat()
        assert other._known.live == [other.epoch, neighbour.epoch, heir.epoch]
        assert [work.key for work in await heir.adopt_lanes((b"", 0), 9)] == [key]
        looked: list[int] = []
        heir.on_orphaned(lambda: looked.append(1))
        assert heir._look_again_at_s is not None
        heir._look_again_at_s -= 40  # what was just being stored by the dead one is looked for once more
        await heir.beat()
        assert looked == [1]

    run(closing(story()))


def test_a_node_that_begins_anew_is_not_its_own_heir(database: str, clock: StillClock, run: Run) -> None:
    """Its former epoch lives until its term has run out, for a try may be under way, whatever the node is called."""

    async def story() -> None:
        a, b = [await node(database, clock=clock, name=name) for name in ("a", "b")]
        town = await build_town(a)
        key = await post(a, town.app, "Ann")
        before = a.epoch
        a._witness.forgotten = "a commit"
        await a.beat()
        assert a.epoch > before
        for store in (b, a):
            await store.beat()
            assert before in store._known.live
            assert await store.adopt_lanes((b"", 0), 9) == []
        await b._db.write(
            lambda c: c.execute("UPDATE node SET alive_until = clock_timestamp() WHERE epoch = $1", before)
        )
        await b.beat()
        assert [work.key for work in await b.adopt_lanes((b"", 0), 9)] == [key]

    run(closing(story()))


def test_a_node_that_just_started_lives(database: str, clock: StillClock, run: Run) -> None:
    """An owner above every epoch that the claimer knows is no dead one, though it is in no list of the claimer's."""

    async def story() -> None:
        old = await node(database, clock=clock)
        young = await node(database, clock=clock)
        town = await build_town(young)
        await post(young, town.app, "Ann")
        assert await old.adopt_lanes((b"", 0), 9) == []

    run(closing(story()))
    known = Known.of(3, dict.fromkeys([3, 5], ROLES))
    assert [known.is_dead(owner) for owner in (0, 1, 2, 3, 4, 5, 6)] == [
        False,
        True,
        True,
        False,
        True,
        False,
        False,
    ]
    assert Known.of(5, {3: ROLES, 5: ROLES}) == Known(5, [3, 5], [3, 5], 1)
    assert Known.of(3, {3: ROLES}, newest=5).is_dead(5)


def test_no_try_begins_when_the_term_is_old(database: str, clock: StillClock, run: Run) -> None:
    """A node that could not renew its term for a while starts nothing, and later stores nothing it would own."""

    async def story() -> None:
        store = await node(database, clock=clock)
        assert store.may_start_try()
        store._renewed_at_s -= 21
        assert not store.may_start_try()
        store._renewed_at_s -= 15
        claims: list[Callable[[], Awaitable[object]]] = [
            lambda: store.commit(Batch()),
            lambda: store.claim_lanes(1, 9),
            lambda: store.claim_lanes(1, 1, 0.5),
            lambda: store.adopt_lanes((b"", 0), 9),
            lambda: store.claim_commands(9),
            lambda: store.replay_step("", 9),
        ]
        for claim in claims:
            with pytest.raises(Unavailable):
                await claim()
        await store.beat()
        assert store.may_start_try()
        await store.claim_lanes(1, 9)
        await store.commit(Batch())

    run(closing(story()))


def test_a_beat_waits_for_no_reader(database: str, run: Run) -> None:
    """However long all connections that read are lent, by the database's own clock too: the term is renewed."""

    async def story() -> None:
        store = await node(database)
        is_read = asyncio.Event()
        readers = [asyncio.ensure_future(store._db.look(lambda _: is_read.wait())) for _ in range(4)]
        while store._db._look.get_idle_size() or store._db._look.get_size() < 4:
            await asyncio.sleep(0)
        before_s = store._renewed_at_s
        await store.beat()
        assert store._renewed_at_s > before_s
        is_read.set()
        await asyncio.gather(*readers)

    run(closing(story()))


def test_the_heart_beats_by_itself(database: str, clock: StillClock, run: Run) -> None:
    """Without anybody asking the term is renewed, and a lost one replaced."""

    async def story() -> None:
        store = await node(database, clock=clock, terms=Terms(beat_s=0.01), beats=True)
        lost = asyncio.Event()
        store.on_lost(lost.set)
        await expire(store)
        await lost.wait()
        await store.upkeep()
        assert store.size_bytes()

    run(closing(story()))


@pytest.mark.parametrize("turns", [0, 2])
def test_a_node_that_is_called_as_it_stops_stops(
    database: str, clock: StillClock, run: Run, turns: int
) -> None:
    """Word that another one came or went, in whichever turn of the loop, keeps no heart beating."""

    async def story() -> None:
        store = await node(database, clock=clock, beats=True)
        while store._size_bytes is None:  # the last that is done before the heart rests
            await asyncio.sleep(0)
        store._called.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await store.close()

    run(closing(story()))


def test_a_fault_in_one_beat_does_not_stop_the_heart(
    database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is, an answer of the server or a bug of ours: the next beat comes."""
    beat = nodes.beat
    faults: list[Exception] = [RuntimeError("a bug"), asyncpg.AdminShutdownError("bye"), OSError("gone")]

    async def failing(*given: Any) -> nodes.Beat:
        if faults:
            raise faults.pop()
        return await beat(*given)

    monkeypatch.setattr(nodes, "beat", failing)

    async def story() -> None:
        store = await node(database, clock=clock, terms=Terms(beat_s=0.01), beats=True)
        lost = asyncio.Event()
        store.on_lost(lost.set)
        await expire(store)
        await lost.wait()
        assert not faults

    run(closing(story()))


def test_each_node_rings_its_share_of_the_deadlines(database: str, clock: StillClock, run: Run) -> None:
    """What the one does not ring the other does; what nobody rang for a while is everybody's."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        await a.beat()
        town = await build_town(a)
        keys = [await post(a, town.app, "Ann", ttl_s=60) for _ in range(20)]
        clock.ms += 60_000
        shares = [set(await store.due_dispatches(99)) for store in (a, b)]
        assert all(shares)
        assert not shares[0] & shares[1]
        assert sorted(shares[0] | shares[1]) == keys
        assert (await a.outlook()).next_timer_ms == clock.ms
        await a.commit(Batch(occurrences=[Occurrence(key, Clock()) for key in shares[0]]))  # type: ignore[arg-type]
        assert (await a.outlook()).next_timer_ms == clock.ms + 5_000
        clock.ms += 5_000
        assert set(await a.due_dispatches(99)) == shares[1]

    run(closing(story()))


def test_an_outcome_that_puts_a_lane_off_gives_it_to_whoever_claims_first(
    database: str, clock: StillClock, run: Run
) -> None:
    """A retry belongs to no node: another one may take it, with the tries that were spent."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(a)
        key = await post(a, town.app, "Ann")
        await settle(a, settled(key, town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=SOON_MS))
        clock.ms = SOON_MS
        assert numbers((await b.claim_lanes(town.endpoint.id, 9)).lanes) == [(town.endpoint.id, [1], 1, True)]
        await settle(b, settled(key, town.endpoint.id, 1, tries=1))
        assert (await a.outlook()).lanes_due == {}

    run(closing(story()))
