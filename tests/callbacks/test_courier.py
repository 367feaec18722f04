"""The courier to customers: order, answers, retries, giving up (CONTRACT.md §5)."""

import io
from typing import Any

import msgspec
import pytest
from tests.callbacks.conftest import AtWork
from tests.callbacks.office import Answer, Office, script
from tests.engine.fakes import until
from tests.store.fakes import NOON_MS, message_id

from homing.callbacks import courier, request
from homing.callbacks.verdict import Outcome
from homing.contract.errors import Unencodable
from homing.lifecycle.dispatch import Read, Received
from homing.store.batch import Incoming
from homing.store.changes import DeleteEndpoint


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


@pytest.mark.parametrize("waits", [("10", "30"), ("30", "10")])
def test_of_two_pauses_the_longer_one_counts(at_work: AtWork, waits: tuple[str, str]) -> None:
    """Two requests under way at a time may ask for different times, in either order."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: None
        await place.send()
        await place.send()
        await until(lambda: len(place.sender.open) == 2)
        for wait in waits:
            place.sender.let_go(Answer(503, wait))
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
        fresh = await place.send()
        await place.quiet()
        assert await place.store.callbacks(fresh[:16]) == []
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


def test_a_refused_dial_tells_the_operator_where_it_went_and_the_tenant_not(
    at_work: AtWork, log: io.StringIO
) -> None:
    """The log has the address and its range; the attempt log, which the endpoint's owner reads, one word."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        text = "refused: 10.0.0.1 (private)"
        place.sender.answer = lambda _: Answer(error=Outcome.REFUSED_BY_GUARD, error_text=text)
        await place.send()
        await place.quiet()
        (line,) = await place.store.attempts(endpoint.id, None, 10)
        assert line.attempt.error == "refused_by_guard"
        assert b"10.0.0.1" not in msgspec.json.encode(line)
        told = log.getvalue()
        assert "guard.refused" in told
        assert text in told

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
