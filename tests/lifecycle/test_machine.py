"""The machine, story by story: what CONTRACT.md §4 says in words of messages, receipts, pushes, recall and deadlines."""

import pytest
from tests.lifecycle.stories import T0, at, sms, tell

from homing.contract.status import Status
from homing.lifecycle.dispatch import (
    Clock,
    FallbackMode,
    Input,
    Message,
    PushAccepted,
    PushRefused,
    Read,
    Recalled,
    Received,
    SmsAccepted,
    SmsSubmitting,
)
from homing.lifecycle.machine import begin, next_deadline, step
from homing.lifecycle.policy import SMS_VALIDITY_MS, resolve


def test_a_message_is_delivered_and_read_once() -> None:
    """However many devices tell it, each status comes once (law 1)."""
    told = tell((5, Received()), (6, Received()), (7, Read()), (8, Read()), (9, Received()))
    assert told.said == [("enqueued", 0), ("delivered", 5), ("read", 7)]
    assert told.notes == [None, "duplicate_received", None, "duplicate_read", "duplicate_received"]


def test_an_unknown_recipient_ends_at_once() -> None:
    """After IdentifierNotFound nothing happens, no fallback and no expiry either (law 2)."""
    told = tell(
        *(
            (900_000, happening)
            for happening in (Clock(), Received(), PushAccepted(), SmsAccepted(), Recalled())
        ),
        known=False,
        mode=FallbackMode.SMS,
    )
    assert told.said == [("IdentifierNotFound", 0)]
    assert told.notes == [None, *["unknown_recipient"] * 4]
    assert next_deadline(told.state) is None


def test_read_alone_says_both() -> None:
    """A read receipt without a delivered one yields both, in this order, at the device's time (law 3)."""
    assert tell((60, Read(at(40)))).said == [("enqueued", 0), ("delivered", 40), ("read", 40)]


@pytest.mark.parametrize("receipt", [Received(), Received(at(10)), Read(), Read(at(10))])
@pytest.mark.parametrize("late_s", [100, 100.001, 900_000])
def test_a_receipt_at_or_after_the_expiry_is_too_late(receipt: Input, late_s: float) -> None:
    """Even when the clock's input has not come yet, and whatever the device's clock says (law 4)."""
    told = tell((late_s, receipt), ttl_s=100)
    assert told.said == [("enqueued", 0), ("expired", 100)]
    assert told.notes in (["received_after_expiry"], ["read_after_expiry"])


def test_a_receipt_a_millisecond_before_the_expiry_counts() -> None:
    """The expiry is an instant, not a habit of the clock."""
    assert tell((99.999, Received()), (100, Clock()), ttl_s=100).said == [
        ("enqueued", 0),
        ("delivered", 99.999),
    ]


@pytest.mark.parametrize(
    "device_s, stamped_s",
    [(None, 30), (20, 20), (1000, 30), (-50, 10)],
    ids=["just now", "its own", "in the future", "before the last event"],
)
def test_a_device_time_is_clamped(device_s: float | None, stamped_s: float) -> None:
    """Never in the future, never before the previous event (law 9)."""
    told = tell((10, PushAccepted()), (30, Received(None if device_s is None else at(device_s))))
    assert told.said[-1] == ("delivered", stamped_s)


def test_a_store_clock_that_goes_back_does_not_turn_time_back() -> None:
    """Law 9 holds although *now* is earlier than the last event."""
    assert tell((10, PushAccepted()), (4, Received())).said[-1] == ("delivered", 10)


@pytest.mark.parametrize(
    "refusal, status",
    [
        (PushAccepted(), "PushSent"),
        (PushRefused("ios", token_invalid=False), "iOSError"),
        (PushRefused("ios", token_invalid=True), "iOSErrorInvalidToken"),
        (PushRefused("android", token_invalid=False), "AndroidError"),
        (PushRefused("android", token_invalid=True), "AndroidErrorInvalidToken"),
    ],
)
def test_a_push_status_may_come_until_expired_and_once(refusal: Input, status: str) -> None:
    """Before and after the delivery alike, from any number of devices, but not after expired (laws 1, 4, 8)."""
    assert tell((1, refusal), (2, Received()), (3, refusal)).said == [
        ("enqueued", 0),
        (status, 1),
        ("delivered", 2),
    ]
    assert tell((2, Read()), (3, refusal)).said[-1] == (status, 3)
    late = tell((100, refusal), ttl_s=100)
    assert (late.said[-1][0], late.notes) == ("expired", ["push_after_expiry"])
    assert tell((1, refusal), (2, refusal)).notes == [None, "push_repeated"]


def test_a_web_push_error_is_a_note() -> None:
    """The contract has no status for it (law 10)."""
    told = tell((1, PushRefused("web", token_invalid=False)), (2, PushRefused("web", token_invalid=True)))
    assert told.said == [("enqueued", 0)]
    assert told.notes == ["web_push_refused", "web_push_token_invalid"]


def test_recall_is_expired_now_and_disarms() -> None:
    """Recall has no word of its own (law 10), and no fallback follows."""
    told = sms((60, Recalled()), (70, Recalled()), (200_000, Clock()))
    assert told.said == [("enqueued", 0), ("expired", 60)]
    assert told.notes[:2] == [None, "recall_repeated"]
    assert told.state.message == Message.EXPIRED


@pytest.mark.parametrize("happening", [Received(), Read()])
def test_recall_of_a_delivered_message_is_a_conflict(happening: Input) -> None:
    """Nothing changes, and the note says so."""
    told = tell((5, happening), (6, Recalled()))
    assert (told.notes[-1], told.said[1][0]) == ("recall_conflict", "delivered")


def test_an_offline_phone_tells_its_story_late() -> None:
    """Each step lets deadlines pass first: the unread time counts although `read` was on its way (law 7)."""
    story = ((3600, Received(at(0))), (3600, Read(at(1000))))
    told = sms(*story, unread_s=600)
    assert told.said == [("enqueued", 0), ("delivered", 0), ("fallbackOnUnread", 600), ("read", 1000)]
    assert told.commands == []


def test_the_next_deadline_is_the_earliest() -> None:
    """The store's timer looks at a dispatch when something can happen to it, and not before."""
    both = {"undelivered_s": 50, "unread_s": 70}
    assert next_deadline(sms(**both).state) == at(50)
    assert next_deadline(sms((5, Received()), **both).state) == at(75)
    assert next_deadline(sms((50, Clock()), **both).state) == at(50) + SMS_VALIDITY_MS
    assert next_deadline(sms((50, Clock()), (51, SmsSubmitting()), (52, SmsAccepted()), **both).state) == at(
        172_800
    )
    assert next_deadline(tell((5, Received())).state) is None


def test_an_ignored_input_gives_the_same_state_back() -> None:
    """The same object, so that the store sees without comparing that there is nothing to write."""
    state = tell((5, Received())).state
    again = step(state, Received(), at(6))
    assert again.state is state
    assert (again.events, again.commands) == ((), ())


def test_statuses_of_a_transition_are_statuses() -> None:
    """Not bare strings: the store numbers them."""
    assert all(isinstance(status, Status) for status, _ in begin(True, resolve(T0), T0).events)
