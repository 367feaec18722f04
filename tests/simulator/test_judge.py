"""The judge must find each broken law, and must find nothing in a lawful life, however often it was repeated."""

import msgspec
import pytest

from homing.contract.forms import Form, encode
from homing.contract.notification import StatusNotification
from homing.contract.status import Status
from homing.simulator.judge import Book, judge
from homing.simulator.receivers import Caught

AT = 1_800_000_000_000
LIFE = ("enqueued", "PushSent", "delivered", "read")


def told(status: str, number: int, *, answered: int | None = 204, recipient: str = "ann") -> Caught:
    """A callback as a receiver remembers it."""
    event = StatusNotification(AT + number * 1_000, "1", "m1", recipient, Status(status))
    body = encode(event, Form.JSON, "s").payload
    return Caught(0.0, "POST", "/", "", {"webhook-id": f"id{recipient}{number}"}, body, event, (), answered)


def lawful() -> list[Caught]:
    """A life without fault."""
    return [told(status, number) for number, status in enumerate(LIFE)]


def test_a_lawful_life_is_lawful() -> None:
    """Nothing is found, and the statuses are told in order."""
    book = Book(lawful())
    assert book.judge() == []
    assert book.lives["m1", "ann"].statuses == list(LIFE)


def test_retries_and_repeats_are_lawful() -> None:
    """500, 500, 204 of one event, and once more after its 204, are no breach; the repeat is counted."""
    first = [told("enqueued", 0, answered=500), told("enqueued", 0, answered=None), *lawful()]
    first.insert(3, told("enqueued", 0))
    book = Book(first)
    assert book.judge() == []
    assert book.lives["m1", "ann"].repeats == 1


def test_dispatches_do_not_disturb_each_other() -> None:
    """The same message to another person is another life."""
    mixed = [
        one
        for pair in zip(lawful(), [told(s, n, recipient="bob") for n, s in enumerate(LIFE)], strict=True)
        for one in pair
    ]
    assert judge(mixed) == []


def test_two_events_exchanged_are_found() -> None:
    """read before delivered breaks a law."""
    events = lawful()
    events[2], events[3] = events[3], events[2]
    assert any("law 3" in finding for finding in judge(events))


def test_an_event_tried_before_the_one_before_was_settled_is_found() -> None:
    """Order means settled, not only begun."""
    events = lawful()
    events[1] = told("PushSent", 1, answered=500)
    assert any("was tried before PushSent was settled" in finding for finding in judge(events))


def test_a_late_retry_is_found() -> None:
    """An event that failed may not come again after a later one."""
    events = [told("enqueued", 0, answered=500), told("delivered", 1), told("enqueued", 0)]
    assert any("enqueued came again after delivered" in finding for finding in judge(events))


def test_the_same_status_under_another_id_is_found() -> None:
    """Each status at most once: a second id is a second event."""
    again = msgspec.structs.replace(told("read", 4), headers={"webhook-id": "another"})
    assert any("law 1" in finding for finding in judge([*lawful(), again]))


def test_other_bytes_under_the_same_id_are_found() -> None:
    """A retry repeats the body to the byte."""
    changed = told("enqueued", 0)
    changed.body = changed.body.replace(b"ann", b"Ann")
    assert any("other bytes" in finding for finding in judge([told("enqueued", 0, answered=500), changed]))


@pytest.mark.parametrize("fault", ["signature: no signature fits", "not a callback: body"])
def test_faults_of_single_requests_are_found(fault: str) -> None:
    """What the receiver saw on one request is in the judgement."""
    events = lawful()
    events[1].faults = (fault,)
    assert any(fault in finding for finding in judge(events))
