"""The courier and what is left over: by a death, a stop, a lost word or a store that failed (DESIGN.md §3)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.callbacks.conftest import AtWork, Run
from tests.callbacks.office import Answer, Office, Try, office, script
from tests.engine.fakes import until
from tests.store.fakes import NOON_MS, message_id
from tests.store.ledger import told

from homing.callbacks import lanes, leftovers
from homing.lifecycle.dispatch import PushAccepted, Read, Received
from homing.model import Body, MessageId
from homing.store.batch import Accept, Addressee, Batch, Settle
from homing.store.port import Claimed, Ledger


def test_what_a_killed_process_held_is_told_by_the_next(tmp_path: Path, run: Run) -> None:
    """Lanes under way, lanes put off, lanes waiting: all are told under their old webhook-id, in order."""

    async def story() -> None:
        path = str(tmp_path / "homing.db")
        async with office(path) as place:
            endpoint = await place.add_endpoint()
            place.sender.answer = script(Answer(500))
            put_off = await place.send()
            await place.quiet()
            place.sender.answer = lambda _: None
            under_way = await place.send()
            await place.happen(under_way, Read())
            before = place.sender.tries[-1].webhook_id
            place.courier._lanes.held.clear()  # it is killed: nothing is given back
        async with office(path) as place:
            await place.quiet()
            assert place.sender.statuses() == ["enqueued", "delivered", "read"]
            assert place.sender.tries[0].webhook_id == before
            await place.push(5_000)
            assert [seen.attempt for seen in place.sender.tries] == [1, 1, 1, 2]
            for key, bits in ((put_off, 0b1), (under_way, 0b111)):
                assert (await place.told(key, endpoint)).settled == bits

    run(story())


def test_more_than_fits_in_memory_is_taken_over_bit_by_bit(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that left many lanes behind does not fill its successor's memory; each is told once all the same."""
    path = str(tmp_path / "homing.db")

    async def story() -> None:
        async with office(path, max_per_endpoint=2) as place:
            for _ in range(3):
                await place.add_endpoint()
            place.sender.answer = lambda _: None
            keys = [await place.send() for _ in range(40)]
            assert sum(place.courier.waiting().values()) == 3 * 40
            place.courier._lanes.held.clear()  # it is killed: nothing is given back
        monkeypatch.setattr(lanes, "ROOM", 12)
        monkeypatch.setattr(lanes, "ROOM_PER_ENDPOINT", 6)
        monkeypatch.setattr(leftovers, "_PAGE", 7)
        async with office(path, max_per_endpoint=2) as place:
            place.sender.answer = lambda _: None
            await until(lambda: not place.courier._leftovers._busy)
            assert len(place.sender.open) == 3 * 2
            assert sum(place.courier.waiting().values()) <= 12 + 3 * 2
            place.sender.answer = lambda _: Answer()
            while place.sender.open:
                place.sender.let_go()
                await asyncio.sleep(0)
            await place.quiet()
            assert [seen.attempt for seen in place.sender.tries] == [1] * 120
            assert {view.settled for key in keys for view in (await told(place.store, key)).values()} == {1}
            assert place.courier.waiting() == {}

    run(story())


class Together:
    """A ledger whose claims are answered together, once as many were asked as are waited for."""

    def __init__(self, ledger: Ledger, claims: int) -> None:
        self._ledger = ledger
        self._missing = claims
        self._all = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def claim_lanes(self, endpoint: int, limit: int, chance: float | None = None) -> Claimed:
        """Claim, and keep the answer until all have theirs."""
        claimed = await self._ledger.claim_lanes(endpoint, limit, chance)
        self._missing -= 1
        if not self._missing:
            self._all.set()
        await self._all.wait()
        return claimed


class Faulty:
    """A ledger whose first claims break in a way that no store means to."""

    def __init__(self, ledger: Ledger, faults: int) -> None:
        self._ledger = ledger
        self.faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def claim_lanes(self, endpoint: int, limit: int, chance: float | None = None) -> Claimed:
        """Break, or claim."""
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a bug")
        return await self._ledger.claim_lanes(endpoint, limit, chance)


def test_a_claim_that_breaks_is_not_the_endpoints_last(
    run: Run, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged and asked again: what waits in the store is told."""
    monkeypatch.setattr(leftovers, "AGAIN_S", 0.0)

    async def story() -> None:
        async with office(wrap=lambda ledger: Faulty(ledger, 2)) as place:
            await place.add_endpoint()
            place.sender.answer = script(Answer(500))
            await place.send()
            await place.quiet()
            await place.push(5_000)
            assert [seen.attempt for seen in place.sender.tries] == [1, 2]
        assert "a bug" in log.getvalue()

    run(story())


def test_what_many_endpoints_claim_at_a_time_is_begun_at_a_time(run: Run) -> None:
    """Claims that the store answers together start their tries together, however many endpoints they are for."""
    endpoints = 30

    async def story() -> None:
        async with office(wrap=lambda ledger: Together(ledger, endpoints)) as place:
            for _ in range(endpoints):
                await place.add_endpoint()
            place.sender.answer = script(*[Answer(500)] * endpoints)
            await place.send()
            await place.quiet()
            place.sender.answer = lambda _: None
            before = place.sender.submits
            place.clock.push(5_000)
            await until(lambda: len(place.sender.open) == endpoints)
            assert (
                place.sender.submits - before <= 2
            )  # the last one's answer may come a turn before the others'
            while place.sender.open:
                place.sender.let_go()

    run(story())


def test_a_graceful_stop_waits_for_tries_and_gives_the_rest_back(tmp_path: Path, run: Run) -> None:
    """What is under way ends and is settled; what waits is due at once for the next process, no try spent."""

    async def story() -> None:
        path = str(tmp_path / "homing.db")
        async with office(path, max_per_endpoint=1) as place:
            endpoint = await place.add_endpoint()
            place.sender.answer = lambda _: None
            first, second = await place.send(), await place.send()
            await until(lambda: place.sender.open)
            closing = asyncio.ensure_future(place.courier.close())
            for _ in range(10):  # so often, that it would have given both back if it did not wait
                assert [(await place.told(key, endpoint)).owned for key in (first, second)] == [True] * 2
            place.sender.let_go()
            await closing
            assert not (await place.told(second, endpoint)).owned
            assert len(place.sender.tries) == 1
        async with office(path) as place:
            await place.quiet()
            assert [seen.attempt for seen in place.sender.tries] == [1]
            for key in (first, second):
                assert (await place.told(key, endpoint)).settled == 1

    run(story())


def test_a_stop_does_not_wait_for_ever(run: Run) -> None:
    """A try that does not end in its grace is given back as well: it will be made again."""

    async def story() -> None:
        async with office() as place:
            endpoint = await place.add_endpoint()
            place.sender.answer = lambda _: None
            key = await place.send()
            await until(lambda: place.sender.open)
            await place.courier.close(0.01)
            view = await place.told(key, endpoint)
            assert (view.pending, view.tries, view.due_ms) == (1, 0, NOON_MS)

    run(story())


def test_a_lost_hand_over_is_found_by_the_second_look(at_work: AtWork) -> None:
    """A lane that the store says is ours and nobody holds: one look may be early, two are not."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        message = message_id(place.clock.ms)
        accept = Accept(message, place.app, None, Body("hello"), (Addressee("Ann", "ann"),))
        await place.store.commit(Batch(accepts=[accept]))  # past the engine: the courier does not hear of it
        await place.courier._leftovers.sweep()
        await place.quiet()
        assert place.sender.tries == []
        await place.courier._leftovers.sweep()
        await place.quiet()
        assert place.sender.statuses(endpoint.id) == ["enqueued"]

    at_work(story)


def test_a_lost_hand_over_waits_while_memory_is_full(
    at_work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sweep finds is taken as room comes, and not forgotten."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        message = message_id(place.clock.ms)
        accept = Accept(message, place.app, None, Body("hello"), (Addressee("Ann", "ann"),))
        await place.store.commit(Batch(accepts=[accept]))  # past the engine: the courier does not hear of it
        with monkeypatch.context() as full:
            full.setattr(lanes, "ROOM", 0)
            for _ in range(3):
                await place.courier._leftovers.sweep()
            assert place.courier.waiting() == {}
        await place.courier._leftovers.sweep()
        await place.quiet()
        assert place.sender.statuses() == ["enqueued"]

    at_work(story)


def test_a_lost_word_of_due_lanes_is_found_by_a_look(at_work: AtWork) -> None:
    """What waits in the store is asked for now and then, too."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        message = message_id(place.clock.ms)
        accept = Accept(message, place.app, None, Body("hello"), (Addressee("Ann", "ann"),))
        await place.store.commit(Batch(accepts=[accept], born_free=frozenset({endpoint.id})))
        await place.courier._leftovers.sweep()
        await place.quiet()
        assert place.sender.statuses() == ["enqueued"]

    at_work(story)


def test_a_lost_event_comes_with_the_settle_of_the_one_before(at_work: AtWork) -> None:
    """The row says what is pending: even if the courier knew of no more, it is told before the lane is let go."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        engine_heard = place.engine.on_committed
        place.engine.on_committed = []
        await place.happen(key, Received())
        place.engine.on_committed = engine_heard
        place.sender.answer = lambda _: Answer()
        place.sender.let_go()
        await until(lambda: place.sender.statuses() == ["enqueued", "delivered"])
        await place.quiet()
        assert place.courier.waiting() == {}

    at_work(story)


def test_the_last_success_of_an_endpoint_is_kept(at_work: AtWork) -> None:
    """Written now and then, and at the end."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await place.send()
        await place.quiet()
        await place.courier.close()
        after = await place.store.endpoint(place.app, endpoint.uid)
        assert after is not None
        assert after.last_success_at_ms == NOON_MS

    at_work(story)


def test_every_event_of_many_dispatches_is_told_in_order_whatever_the_receiver_does(at_work: AtWork) -> None:
    """Failures, pauses and successes by turns: at each endpoint the settled order of each dispatch is its own."""

    async def story(place: Office) -> None:
        endpoints = [await place.add_endpoint() for _ in range(3)]
        turn = 0

        def moody(_seen: Try) -> Answer:
            nonlocal turn
            turn += 1
            return (Answer(), Answer(500), Answer(), Answer(503, "2"), Answer(404))[turn % 5]

        place.sender.answer = moody
        keys = []
        for _ in range(20):
            keys.append(await place.send())
            await place.happen(keys[-1], PushAccepted())
            await place.happen(keys[-1], Read())
        for _ in range(40):
            await place.push(5_000)
        place.sender.answer = lambda _: Answer()
        for _ in range(40):
            await place.push(5_000)
        order = ["enqueued", "PushSent", "delivered", "read"]
        for endpoint in endpoints:
            for key in keys:
                view = await place.told(key, endpoint)
                assert view.settled == 0b1111
                told = [
                    t.body["status"] for t in place.sender.tries
                    if t.endpoint == endpoint.id and t.webhook_id.startswith(f"msg_{key.hex()}_")
                ]  # fmt: skip
                assert sorted(told, key=order.index) == told
                assert set(told) == set(order)
        assert place.courier.waiting() == {}

    at_work(story, delays_ms=(1_000,) * 40)


def test_what_was_put_off_is_not_taken_for_lost(at_work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of unknown outcome is looked for while a try of its message is being put off: that lane is not told beside."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        await until(lambda: len(place.sender.open) == 1)
        recorder = place.courier._recorder
        waiting: list[Settle] = []
        with monkeypatch.context() as patch:
            patch.setattr(recorder, "settle", waiting.extend)
            place.sender.let_go(Answer(500))
            accept = Accept(MessageId(key[:16]), place.app, None, Body("x"), (Addressee("Ann", "ann"),))
            place.courier.on_unknown(Batch(accepts=[accept]))
            await until(lambda: not place.courier._leftovers._busy)
            await place.courier._leftovers.sweep()
            await place.courier._leftovers.sweep()
            assert place.courier._lanes.held == {}
            assert place.sender.open == []
        recorder.settle(waiting)
        place.sender.answer = lambda _: Answer()
        await place.push(5_000)
        assert [seen.attempt for seen in place.sender.tries] == [1, 2]
        assert place.courier._lanes.meanwhile._parting == {}

    at_work(story)
