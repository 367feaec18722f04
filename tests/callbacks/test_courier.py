"""The courier to customers: order, retries, giving up, isolation, and what is left over (CONTRACT.md §5)."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.callbacks.office import Answer, Office, Try, office
from tests.engine.fakes import until
from tests.store.fakes import NOON_MS, message_id

from homing.callbacks import courier, lanes, leftovers, request
from homing.callbacks.verdict import Outcome
from homing.contract.errors import Unencodable
from homing.errors import CommitUnknown, Unavailable
from homing.lifecycle.dispatch import PushAccepted, Read, Received
from homing.model import Body
from homing.store.batch import Accept, Addressee, Batch, Committed, Incoming
from homing.store.changes import DeleteEndpoint
from homing.store.port import Claimed, Ledger

Run = Callable[[Coroutine[Any, Any, None]], None]
Story = Callable[[Office], Coroutine[Any, Any, None]]


@pytest.fixture
def at_work(run: Run) -> Callable[..., None]:
    """Return what runs a test's story in an office that was opened with the given settings."""

    def tell(story: Story, **given: Any) -> None:
        async def whole() -> None:
            async with office(**given) as place:
                await story(place)

        run(whole())

    return tell


AtWork = Callable[..., None]


def script(*answers: Answer) -> Callable[[Try], Answer]:
    """Return what answers so one after the other, and 204 from then on."""
    left = list(answers)
    return lambda _: left.pop(0) if left else Answer()


def test_events_of_a_dispatch_are_told_one_after_the_other(at_work: AtWork) -> None:
    """In their order, each only after the one before was answered, though all were recorded at once."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        await place.happen(key, Read())
        for expected in ("enqueued", "delivered", "read"):
            await until(lambda: place.sender.open)
            assert len(place.sender.open) == 1
            assert place.sender.statuses()[-1] == expected
            place.sender.let_go()
        await place.quiet()
        assert (await place.told(key, endpoint)).settled == 0b111
        assert place.courier.waiting() == {}

    at_work(story)


def test_dispatches_do_not_wait_for_each_other(at_work: AtWork) -> None:
    """One whose receiver is slow holds up nobody else's."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: None if len(place.sender.tries) == 1 else Answer()
        await place.send()
        await place.send()
        await until(lambda: len(place.sender.tries) == 2 and len(place.sender.open) == 1)
        place.sender.let_go()
        await place.quiet()

    at_work(story)


def test_a_receiver_that_fails_gets_the_same_again(at_work: AtWork) -> None:
    """500, 500, 204: one webhook-id, one body, tries 1 to 3 at 5 s and 30 s; the next event waits for it."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = script(Answer(500), Answer(500))
        key = await place.send()
        await place.quiet()
        await place.happen(key, Received())
        await place.push(4_999)
        assert len(place.sender.tries) == 1
        await place.push(1)
        assert len(place.sender.tries) == 2
        await place.push(29_999)
        assert len(place.sender.tries) == 2
        await place.push(1)
        first, second, third, after = place.sender.tries
        assert first.webhook_id == second.webhook_id == third.webhook_id != after.webhook_id
        assert first.body == second.body == third.body
        assert [seen.attempt for seen in place.sender.tries] == [1, 2, 3, 1]
        assert place.sender.statuses() == ["enqueued"] * 3 + ["delivered"]
        lines = await place.store.attempts(endpoint.id, None, 10)
        assert [(line.n, line.tries, line.attempt.code) for line in reversed(lines)] == [
            (1, 1, 500), (1, 2, 500), (1, 3, 204), (2, 1, 204),
        ]  # fmt: skip

    at_work(story)


def test_what_was_given_up_is_dead_and_the_next_is_tried_at_once(at_work: AtWork) -> None:
    """With tries of its own, and it is told."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = script(*[Answer(500)] * 3)
        key = await place.send()
        await place.happen(key, Received())
        await place.push(5_000)
        await place.push(30_000)
        assert [(t.body["status"], t.attempt) for t in place.sender.tries] == [
            ("enqueued", 1), ("enqueued", 2), ("enqueued", 3), ("delivered", 1),
        ]  # fmt: skip
        view = await place.told(key, endpoint)
        assert (view.pending, view.settled, view.dead) == (0, 0b10, 0b01)
        assert place.courier.waiting() == {}

    at_work(story)


def test_each_kind_of_answer_means_what_the_contract_says(at_work: AtWork) -> None:
    """Any 2xx settles; all else but 410 is tried again, redirects and client errors too."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        answers = [Answer(code) for code in (200, 202, 301, 404, 429, 500)] + [Answer(error=Outcome.TIMEOUT)]
        for answer in answers:
            place.sender.answer = script(answer)
            key = await place.send()
            await place.quiet()
            view = await place.told(key, endpoint)
            assert (view.settled == 1) == (answer.status in {200, 202} and answer.error is None), answer
            assert (view.tries == 1) == (view.settled == 0)
            await place.push(5_000)

    at_work(story)


def test_retry_after_of_a_busy_endpoint_pauses_it_whole(at_work: AtWork) -> None:
    """After a 503 nothing goes there before its time, other endpoints are served, and then all is told."""

    async def story(place: Office) -> None:
        busy, other = await place.add_endpoint(), await place.add_endpoint()
        place.sender.answer = lambda seen: (
            Answer(503, "60") if seen.endpoint == busy.id and place.clock.ms == NOON_MS else Answer()
        )
        await place.send()
        await place.quiet()
        await place.send()
        await place.push(59_999)
        assert len(place.sender.statuses(busy.id)) == 1
        assert len(place.sender.statuses(other.id)) == 2
        await place.push(1)
        assert len(place.sender.statuses(busy.id)) == 3

    at_work(story)


def test_retry_after_beside_another_failure_is_about_its_event(at_work: AtWork) -> None:
    """A 500 with Retry-After is tried again no earlier, and the endpoint's other events go on."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = script(Answer(500, "60"))
        await place.send()
        await place.send()
        await place.push(59_999)
        assert len(place.sender.tries) == 2
        await place.push(1)
        assert len(place.sender.tries) == 3

    at_work(story)


def test_a_longer_pause_replaces_a_shorter_one(at_work: AtWork) -> None:
    """Two requests under way at a time may ask for different times: the later one counts."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: None
        await place.send()
        await place.send()
        await until(lambda: len(place.sender.open) == 2)
        place.sender.let_go(Answer(503, "10"))
        place.sender.let_go(Answer(503, "30"))
        place.sender.answer = lambda _: Answer()
        await place.quiet()
        await place.push(29_999)
        assert len(place.sender.tries) == 2
        await place.push(1)
        assert len(place.sender.tries) == 4

    at_work(story)


def test_a_paused_endpoint_delays_nobody_elses_retries(at_work: AtWork) -> None:
    """Though its own lanes are due in the store and wait for it alone."""

    async def story(place: Office) -> None:
        paused, other = await place.add_endpoint(), await place.add_endpoint()
        failing = True
        place.sender.answer = lambda seen: (
            Answer(503, "3600") if seen.endpoint == paused.id else Answer(500 if failing else 204)
        )
        await place.send()
        await place.quiet()
        # A lane of the paused endpoint that waits in the store and is due: born free, as when memory is full.
        place.engine.born_free = lambda: frozenset({paused.id})
        await place.send()
        await place.quiet()
        failing = False
        await place.push(5_000)
        assert len(place.sender.statuses(other.id)) == 4
        assert len(place.sender.statuses(paused.id)) == 1

    at_work(story)


def test_gone_disables_the_endpoint_and_its_events_are_dead(at_work: AtWork) -> None:
    """410: this event, those that wait, and those put off when their time comes; nothing new is opened."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = script(Answer(500), Answer(410))
        put_off = await place.send()
        await place.quiet()
        gone = await place.send()
        await place.quiet()
        await place.happen(gone, Received())
        await place.push(5_000)
        for key in (put_off, gone):
            view = await place.told(key, endpoint)
            assert (view.pending, view.settled, view.dead) == (0, 0, 1)
        after = await place.store.endpoint(place.app, endpoint.uid)
        assert after is not None
        assert after.state == "disabled"
        assert len(place.sender.tries) == 2

    at_work(story)


def test_events_that_wait_for_a_disabled_endpoint_are_given_up(at_work: AtWork) -> None:
    """All of a lane at once, without a request."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        await place.happen(key, Read())
        place.sender.let_go(Answer(410))
        await place.quiet()
        view = await place.told(key, endpoint)
        assert (view.pending, view.dead) == (0, 0b111)
        assert place.courier.waiting() == {}

    at_work(story)


def test_nothing_is_sent_while_a_410_takes_effect(at_work: AtWork) -> None:
    """Lanes that are ready when it comes are given up, not tried once more."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        keys = [await place.send() for _ in range(5)]
        await until(lambda: place.sender.open)
        place.sender.answer = lambda _: Answer()
        place.sender.let_go(Answer(410))
        await place.quiet()
        assert len(place.sender.tries) == 1
        assert {(await place.told(key, endpoint)).dead for key in keys} == {1}

    at_work(story, max_per_endpoint=1)


def test_a_deleted_endpoint_is_told_nothing_more(at_work: AtWork) -> None:
    """A try under way may end as it likes; what waited is dropped, and memory holds nothing of it."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        await place.happen(key, Received())
        await place.store.apply(DeleteEndpoint(place.app, endpoint.uid))
        place.sender.let_go(Answer(500))
        await place.push(60_000)
        assert len(place.sender.tries) == 1
        assert await place.store.callbacks(key[:16]) == []
        assert place.courier.waiting() == {}

    at_work(story)


def test_a_url_that_is_refused_today_is_tried_like_a_refused_dial(at_work: AtWork) -> None:
    """Saved under older rules: each try fails without a request, is in the log, and comes again."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint(url="gopher://127.0.0.1/")
        key = await place.send()
        await place.quiet()
        view = await place.told(key, endpoint)
        assert (view.pending, view.tries, view.dead) == (1, 1, 0)
        (line,) = await place.store.attempts(endpoint.id, None, 10)
        assert (line.attempt.code, line.attempt.error) == (0, "refused_by_guard")
        await place.push(5_000)
        await place.push(30_000)
        assert (await place.told(key, endpoint)).dead == 1
        assert place.sender.tries == []

    at_work(story)


def test_an_event_that_cannot_be_put_on_the_wire_is_dead_and_the_next_goes_on(
    at_work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying again would not help; the lane is not held up by it."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        build = request.build

        def fussy(view: Any, notification: Any, *rest: Any, **named: Any) -> Any:
            if notification.status == "enqueued":
                raise Unencodable("no text")
            return build(view, notification, *rest, **named)

        monkeypatch.setattr(courier, "build", fussy)
        key = await place.send()
        await place.happen(key, Received())
        await place.quiet()
        view = await place.told(key, endpoint)
        assert (view.pending, view.settled, view.dead) == (0, 0b10, 0b01)

    at_work(story)


def test_a_fault_of_ours_spends_no_try(at_work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the endpoint's: the same try is made again soon, and is in nobody's log."""
    monkeypatch.setattr(courier, "_OURS_AGAIN_S", 0.001)

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = script(Answer(error=Outcome.OURS), Answer(error=Outcome.OURS))
        await place.send()
        await place.quiet()
        assert [seen.attempt for seen in place.sender.tries] == [1, 1, 1]
        assert len(await place.store.attempts(endpoint.id, None, 10)) == 1

    at_work(story)


def test_incoming_messages_go_to_inboxes(at_work: AtWork) -> None:
    """With the keys of their own kind, tried again like any other."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint(kind="inbox")
        place.sender.answer = script(Answer(500))
        ann = await place.store.user(place.app, "ann")
        assert ann is not None
        reply = message_id(NOON_MS)
        message = Incoming(message_id(NOON_MS), place.app, ann.id, "Ann", "phone", "hi", "c", reply)
        await place.engine.take_in(message)
        await place.push(5_000)
        first, second = place.sender.tries
        assert first.body == second.body
        assert (first.body["type"], first.body["sender"], first.body["text"]) == (
            "IncomingMessage",
            "Ann",
            "hi",
        )
        assert (first.body["channel"], "inReplyToMessageId" in first.body) == ("c", True)
        assert first.endpoint == endpoint.id

    at_work(story)


def test_endpoints_take_turns(at_work: AtWork) -> None:
    """One with a hundred lanes does not hold up one with a single lane."""

    async def story(place: Office) -> None:
        many, few = await place.add_endpoint(), await place.add_endpoint()
        place.sender.answer = lambda _: None
        place.engine.born_free = frozenset
        for _ in range(30):
            await place.send()
        await until(lambda: len(place.sender.open) == 8)
        place.sender.answer = lambda _: Answer()
        started = [place.sender.statuses(e.id) for e in (many, few)]
        assert {len(s) for s in started} == {4}
        while place.sender.open:
            place.sender.let_go()
            await asyncio.sleep(0)
        await place.quiet()
        assert [len(place.sender.statuses(e.id)) for e in (many, few)] == [30, 30]

    at_work(story, max_in_flight=8)


def test_no_more_than_allowed_are_under_way(at_work: AtWork) -> None:
    """Per endpoint it starts with 16 at a time, or fewer if the setting says so."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: None
        for _ in range(40):
            await place.send()
        await until(lambda: len(place.sender.open) == 5)
        place.sender.answer = lambda _: Answer()
        while place.sender.open:
            place.sender.let_go()
            await asyncio.sleep(0)
        await place.quiet()
        assert len(place.sender.tries) == 40
        assert place.sender.most_open <= 5

    at_work(story, max_per_endpoint=5)


def test_an_overloaded_endpoint_gets_fewer_at_a_time(at_work: AtWork) -> None:
    """429 halves; what is left over waits its turn, and everything is told in the end."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = script(*[Answer(429)] * 16)
        for _ in range(50):
            await place.send()
        await place.quiet()
        berth = place.courier._lanes.berth(endpoint.id)
        assert berth.pace.allowed < 16
        await place.push(5_000)
        assert len(place.sender.tries) == 66

    at_work(story)


def test_what_does_not_fit_in_memory_waits_in_the_store(
    at_work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New lanes are born free when an endpoint's room is full, and claimed as room comes; all are told, each once."""
    monkeypatch.setattr(lanes, "ROOM_PER_ENDPOINT", 6)

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        keys = [await place.send() for _ in range(40)]
        assert place.courier.waiting()[endpoint.id] <= 7
        assert not place.courier.is_quiet()
        place.sender.answer = lambda _: Answer()
        while place.sender.open:
            place.sender.let_go()
            await asyncio.sleep(0)
        await place.quiet()
        assert [seen.attempt for seen in place.sender.tries] == [1] * 40
        assert {(await place.told(key, endpoint)).settled for key in keys} == {1}
        assert place.courier.waiting() == {}

    at_work(story)


def test_memory_is_bounded_over_all_endpoints(at_work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog at many endpoints is claimed no faster than there is room in all; each gets its share."""
    monkeypatch.setattr(lanes, "ROOM", 12)

    async def story(place: Office) -> None:
        endpoints = [await place.add_endpoint() for _ in range(6)]
        place.engine.born_free = lambda: frozenset(e.id for e in endpoints)
        place.sender.answer = lambda _: None
        for _ in range(10):
            await place.send()
        await until(lambda: len(place.sender.open) == 12)
        assert sum(place.courier.waiting().values()) <= 12 + 6 * 2
        place.sender.answer = lambda _: Answer()
        while place.sender.open:
            place.sender.let_go()
            await asyncio.sleep(0)
        await place.quiet()
        assert {len(place.sender.statuses(e.id)) for e in endpoints} == {10}

    at_work(story, max_per_endpoint=2)


def test_a_backlog_of_retries_is_claimed_in_portions(at_work: AtWork) -> None:
    """Hundreds that fall due together are all told, none twice."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = script(*[Answer(500)] * 300)
        for _ in range(300):
            await place.send()
        await place.push(5_000)
        assert len(place.sender.tries) == 600
        assert place.courier.waiting() == {}

    at_work(story)


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
            await asyncio.sleep(0)
            assert not closing.done()
            place.sender.let_go()
            await closing
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


class Flaky:
    """A ledger in front of the real one that fails once where it is told to."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.unknown = 0
        self.busy = 0
        self.poisoned = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def commit(self, batch: Batch) -> Committed:
        """Store it, and lose the answer as often as told; or fail as one that cannot be stored."""
        if self.poisoned and batch.settles:
            self.poisoned -= 1
            raise RuntimeError("poison")
        committed = await self._ledger.commit(batch)
        if self.unknown:
            self.unknown -= 1
            raise CommitUnknown
        return committed

    async def claim_lanes(self, endpoint: int, limit: int) -> Claimed:
        """Fail as often as told."""
        if self.busy:
            self.busy -= 1
            raise Unavailable("busy")
        return await self._ledger.claim_lanes(endpoint, limit)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ledger], Ledger]:
    """Return what puts a `Flaky` in front of a ledger, with short waits after failures."""
    monkeypatch.setattr(leftovers, "AGAIN_S", 0.001)
    monkeypatch.setattr("homing.engine.loop.AGAIN_S", 0.001)

    def wrap(ledger: Ledger) -> Ledger:
        return Flaky(ledger)

    return wrap


def test_lanes_of_a_commit_with_unknown_outcome_are_found_in_the_store(
    at_work: AtWork, flaky: Callable[[Ledger], Ledger]
) -> None:
    """The sender got 503; what was stored after all is told at once, and receipts are recorded once more."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        ledger = place.engine._ledger
        ledger.unknown = 1  # type: ignore[attr-defined]
        with pytest.raises(CommitUnknown):
            await place.send()
        await place.quiet()
        assert place.sender.statuses() == ["enqueued"]
        key = await place.send()
        await place.quiet()
        ledger.unknown = 1  # type: ignore[attr-defined]
        await place.happen(key, Read())
        await place.quiet()
        assert place.sender.statuses() == ["enqueued", "enqueued", "delivered", "read"]
        assert (await place.told(key, endpoint)).settled == 0b111

    at_work(story, wrap=flaky)


@pytest.mark.parametrize("answer", [Answer(), Answer(500), Answer(410)])
def test_settles_of_a_commit_with_unknown_outcome_are_repeated_harmlessly(
    at_work: AtWork, flaky: Callable[[Ledger], Ledger], answer: Answer
) -> None:
    """The second time finds done what the first did."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        await until(lambda: place.sender.open)
        place.engine._ledger.unknown = 1  # type: ignore[attr-defined]
        place.sender.let_go(answer)
        place.sender.answer = lambda _: Answer()
        await place.quiet()
        await place.push(5_000)
        view = await place.told(key, endpoint)
        assert (view.pending, view.settled, view.dead) == (
            0,
            int(answer.status != 410),
            int(answer.status == 410),
        )
        assert len(place.sender.tries) == (2 if answer.status == 500 else 1)
        assert place.courier.waiting() == {}

    at_work(story, wrap=flaky)


def test_an_event_whose_settle_cannot_be_stored_is_told_again(
    at_work: AtWork, flaky: Callable[[Ledger], Ledger]
) -> None:
    """Its lane is let go and found by the sweep, and what comes after it is told in its turn."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.engine._ledger.poisoned = 1  # type: ignore[attr-defined]
        key = await place.send()
        await place.quiet()
        assert place.courier.waiting() == {}
        await place.happen(key, Received())
        for _ in range(2):
            await place.courier._leftovers.sweep()
            await place.quiet()
        assert place.sender.statuses() == ["enqueued", "enqueued", "delivered"]
        assert (await place.told(key, endpoint)).settled == 0b11

    at_work(story, wrap=flaky)


def test_a_claim_that_fails_is_made_again(at_work: AtWork, flaky: Callable[[Ledger], Ledger]) -> None:
    """The store was busy: what is due is still due."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = script(Answer(500))
        await place.send()
        await place.quiet()
        place.engine._ledger.busy = 2  # type: ignore[attr-defined]
        await place.push(5_000)
        assert len(place.sender.tries) == 2

    at_work(story, wrap=flaky)


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
