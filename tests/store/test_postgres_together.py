"""Two nodes that do everything at once on one database: whatever the order, each callback is told, and none is doubled."""

import asyncio
from collections import Counter
from random import Random

import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock, add_user, message_id
from tests.store.ledger import ATTEMPT, Town, add_endpoint, build_town, told
from tests.store.steps import closing, node

from homing.lifecycle.dispatch import Input, PushAccepted, Read, Recalled, Received
from homing.model import Body, DispatchKey, dispatch_key
from homing.store.batch import Accept, Addressee, Batch, Committed, LaneWork, Occurrence, Settle, Verdict
from homing.store.postgres import PostgresStore

pytestmark = needs_postgres
NAMES = ("Ann", "Bob", "Cid", "nobody")
INPUTS: tuple[Input, ...] = (Received(), Read(), PushAccepted(), Recalled())


class Courier:
    """A node's memory of the lanes it holds, and what it does with them."""

    def __init__(self, store: PostgresStore, chance: Random) -> None:
        self.store = store
        self.chance = chance
        self.held: dict[tuple[bytes, int], list[int]] = {}
        self.tries: dict[tuple[bytes, int], int] = {}
        self.told: Counter[tuple[bytes, int, int]] = Counter()

    def take(self, works: list[LaneWork]) -> None:
        for work in works:
            place, events = (work.key, work.endpoint), [n for n, _s, _at in work.events]
            if work.fresh:
                assert place not in self.held, "a lane that is held was handed over once more"
                self.held[place], self.tries[place] = events, work.tries
            elif place in self.held:
                self.held[place] += events

    def outcomes(self, at_ms: int, *, all_good: bool) -> list[Settle]:
        """Try the first event of some lanes; what is put off is let go."""
        settles = []
        for place in list(self.held):
            events = self.held[place]
            if not events:
                continue
            verdict = (
                Verdict.DONE if all_good else self.chance.choice((Verdict.DONE, Verdict.DONE, Verdict.RETRY))
            )
            known = sum(1 << (n - 1) for n in events[1:])
            key, endpoint = DispatchKey(place[0]), place[1]
            settles.append(
                Settle(key, endpoint, events[0], self.tries[place], verdict, ATTEMPT, at_ms, known)
            )
            if verdict is Verdict.RETRY:
                del self.held[place]
            else:
                self.told[(*place, events.pop(0))] += 1
                self.tries[place] = 0
        return settles

    def settled(self, committed: Committed) -> None:
        """After a commit: what it handed over is taken, what is drained is forgotten."""
        for place in [place for place, events in self.held.items() if not events]:
            if not any((w.key, w.endpoint) == place and not w.fresh for w in committed.lanes):
                del self.held[place]
        self.take(committed.lanes)


async def live(courier: Courier, town: Town, keys: list[bytes], clock: StillClock, rounds: int) -> None:
    """Accept, let things happen, settle, claim and release, as chance will have it."""
    chance, store = courier.chance, courier.store
    for _ in range(rounds):
        names = chance.sample(NAMES, chance.randint(1, 3))
        message = message_id(clock.ms)
        accept = Accept(message, town.app, None, Body("x"), tuple(Addressee(n, n.casefold()) for n in names))
        some = chance.sample(keys, min(len(keys), 6))
        batch = Batch(
            settles=courier.outcomes(clock.ms, all_good=False),
            accepts=[accept],
            occurrences=[Occurrence(DispatchKey(key), chance.choice(INPUTS)) for key in some],
            born_free=frozenset({town.endpoint.id}) if chance.random() < 0.2 else frozenset(),
        )
        courier.settled(await store.commit(batch))
        keys.extend(dispatch_key(message, position) for position in range(len(names)))
        if chance.random() < 0.5:
            courier.take((await store.claim_lanes(town.endpoint.id, 5)).lanes)
        idle = [place for place, events in courier.held.items() if events]
        if idle and chance.random() < 0.3:
            place = chance.choice(idle)
            del courier.held[place]
            await store.release([place])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(4))
def test_nodes_that_do_everything_at_once_lose_and_double_nothing(
    database: str, clock: StillClock, run: Run, seed: int
) -> None:
    """Every event is told at every endpoint exactly once, no lane is held by two or left over, numbers have no gap."""

    async def story() -> None:
        stores = [await node(database, clock=clock) for _ in range(2)]
        town = await build_town(stores[0])
        other = await add_endpoint(stores[0], town.app)
        bob = await add_user(stores[0], town.app, "Bob")
        await add_user(stores[0], town.app, "Cid")
        keys: list[bytes] = []
        couriers = [Courier(store, Random(f"{seed} {i}")) for i, store in enumerate(stores)]
        await asyncio.gather(*(live(courier, town, keys, clock, 25) for courier in couriers))
        for courier in couriers:
            assert not courier.held.keys() & couriers[courier is couriers[0]].held.keys(), "held by two"
        for _ in range(20):
            for courier in couriers:
                for endpoint in (town.endpoint.id, other.id):
                    courier.take((await courier.store.claim_lanes(endpoint, 500)).lanes)
                courier.settled(
                    await courier.store.commit(Batch(settles=courier.outcomes(clock.ms, all_good=True)))
                )
        assert [courier.held for courier in couriers] == [{}, {}]
        times = couriers[0].told + couriers[1].told
        for key in keys:
            view = await stores[0].message(key[:16])
            assert view is not None
            dispatch = next(one for one in view.dispatches if one.key == key)
            for hearer in (town.endpoint, other):
                callback = (await told(stores[0], key))[hearer.uid]
                assert callback.pending == 0
                assert callback.settled == (1 << len(dispatch.events)) - 1
                assert [times[key, hearer.id, event.n] for event in dispatch.events] == [1] * len(
                    dispatch.events
                )
        for recipient in (town.ann, bob.id):
            seqs = [item.seq for item in await stores[0].inbox(recipient, 0, 999)]
            assert seqs == list(range(1, len(seqs) + 1))
            assert (await stores[1].inbox_heads([recipient]))[recipient] == len(seqs)

    run(closing(story()))
