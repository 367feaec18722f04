"""The machine, story by story: what CONTRACT.md §4 says in words, one law or cause after the other."""

from typing import NamedTuple

import pytest

from homing.contract.status import Status
from homing.lifecycle.dispatch import (
    Clock,
    Command,
    Fallback,
    FallbackMode,
    Input,
    Message,
    PushAccepted,
    PushRefused,
    Read,
    Recalled,
    Received,
    SmsAccepted,
    SmsOutcome,
    SmsRefusal,
    SmsRefused,
    SmsReport,
    SmsSubmitting,
    State,
)
from homing.lifecycle.machine import begin, next_deadline, step
from homing.lifecycle.policy import SMS_VALIDITY_MS, FallbackPlan, resolve

T0 = 1_764_000_000_000
SUBMIT, DROP = Command.SUBMIT_SMS, Command.DROP_SMS


class Told(NamedTuple):
    """A story's result: everything said with seconds since acceptance, every command, every note, the last state."""

    said: list[tuple[str, float]]
    commands: list[Command]
    notes: list[str | None]
    state: State


def tell(
    *happenings: tuple[float, Input],
    ttl_s: int | None = None,
    undelivered_s: int | None = None,
    unread_s: int | None = None,
    mode: FallbackMode = FallbackMode.OFF,
    known: bool = True,
) -> Told:
    """Let one dispatch live: each input with the seconds since acceptance at which it comes."""
    last = begin(known, resolve(T0, ttl_s, FallbackPlan(mode, undelivered_s, unread_s)), T0)
    events = list(last.events)
    commands: list[Command] = []
    notes: list[str | None] = []
    for seconds, happening in happenings:
        last = step(last.state, happening, T0 + round(seconds * 1000))
        events += last.events
        commands += last.commands
        notes.append(last.note)
    return Told([(str(status), (at - T0) / 1000) for status, at in events], commands, notes, last.state)


def sms(
    *happenings: tuple[float, Input], undelivered_s: int | None = None, unread_s: int | None = None
) -> Told:
    """A story in mode `sms`."""
    return tell(*happenings, mode=FallbackMode.SMS, undelivered_s=undelivered_s, unread_s=unread_s)


def at(seconds: float) -> int:
    """The device's clock."""
    return T0 + round(seconds * 1000)


SENT = ((900, Clock()), (901, SmsSubmitting()), (902, SmsAccepted()))
ON_UNDELIVERED = [("enqueued", 0), ("fallbackOnUndelivered", 900)]


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


def test_notify_says_that_the_fallback_is_necessary_and_no_more() -> None:
    """In mode notify the customer sends (law 5)."""
    told = tell((900, Clock()), (90_000, SmsAccepted()), (200_000, Clock()), mode=FallbackMode.NOTIFY)
    assert told.said == [*ON_UNDELIVERED, ("expired", 172_800)]
    assert (told.commands, told.state.fallback) == ([], Fallback.OFF)


def test_notify_of_an_unread_message() -> None:
    """The unread time counts from the delivered timestamp, which may be the device's."""
    told = tell((50, Received(at(40))), (160, Clock()), mode=FallbackMode.NOTIFY, unread_s=100)
    assert told.said == [("enqueued", 0), ("delivered", 40), ("fallbackOnUnread", 140)]


def test_an_sms_goes_its_way() -> None:
    """Undelivered, due, submitted, sent, delivered; the message may still arrive."""
    told = sms(*SENT, (950, SmsReport(SmsOutcome.DELIVERED)), (1000, Received()), (1001, Read()))
    assert told.said == [
        *ON_UNDELIVERED,
        ("fallbackSent", 902),
        ("fallbackDelivered", 950),
        ("delivered", 1000),
        ("read", 1001),
    ]
    assert told.commands == [SUBMIT]


@pytest.mark.parametrize(
    "outcome, status, fallback",
    [
        (SmsOutcome.DELIVERED, "fallbackDelivered", Fallback.DELIVERED),
        (SmsOutcome.EXPIRED, "fallbackExpired", Fallback.EXPIRED),
        (SmsOutcome.INVALID_NUMBER, "fallbackInvalidNumber", Fallback.INVALID_NUMBER),
        (SmsOutcome.PHONE_ERROR, "fallbackPhoneError", Fallback.PHONE_ERROR),
        (SmsOutcome.OPERATOR_ERROR, "fallbackOperatorError", Fallback.OPERATOR_ERROR),
    ],
)
def test_a_receipt_brings_one_outcome(outcome: SmsOutcome, status: str, fallback: Fallback) -> None:
    """At most one, and fallbackSent before it even when the carrier's answer was lost (law 6)."""
    told = sms(*SENT, (950, SmsReport(outcome)), (951, SmsReport(SmsOutcome.DELIVERED)))
    assert told.said == [*ON_UNDELIVERED, ("fallbackSent", 902), (status, 950)]
    assert told.notes[-1] == "sms_report_repeated"
    assert told.state.fallback == fallback
    lost = sms(*SENT[:2], (950, SmsReport(outcome)), (951, SmsAccepted()))
    assert lost.said == [*ON_UNDELIVERED, ("fallbackSent", 950), (status, 950)]
    assert lost.notes[-2:] == ["sms_answer_was_lost", "sms_already_answered"]


@pytest.mark.parametrize("intent", [True, False])
@pytest.mark.parametrize(
    "kind, status",
    [
        (SmsRefusal.INVALID_NUMBER, "fallbackInvalidNumber"),
        (SmsRefusal.OPERATOR_ERROR, "fallbackOperatorError"),
    ],
)
def test_a_refusal_at_submission_has_no_fallback_sent(kind: SmsRefusal, status: str, intent: bool) -> None:
    """Its outcome alone (law 6), also when there was nothing to submit to: no number, a cost cap."""
    told = sms(*SENT[: 2 if intent else 1], (903, SmsRefused(kind)))
    assert told.said == [*ON_UNDELIVERED, (status, 903)]


@pytest.mark.parametrize("happening", [Received(), Read()])
def test_an_sms_that_has_not_left_is_dropped_when_delivered(happening: Input) -> None:
    """The undelivered case: without a status, and a late intent to submit is turned away (law 5)."""
    told = sms((900, Clock()), (901, happening), (902, SmsSubmitting()))
    assert "fallbackSent" not in dict(told.said)
    assert told.commands == [SUBMIT, DROP]
    assert told.notes == [None, "sms_dropped_delivered", "sms_not_due"]


def test_an_sms_that_has_not_left_is_dropped_when_read() -> None:
    """The unread case (law 5)."""
    told = sms((5, Received()), (105, Clock()), (106, Read()), unread_s=100)
    assert told.said == [("enqueued", 0), ("delivered", 5), ("fallbackOnUnread", 105), ("read", 106)]
    assert told.commands == [SUBMIT, DROP]
    assert told.notes[-1] == "sms_dropped_read"


def test_an_sms_that_may_have_left_is_not_dropped() -> None:
    """Once the intent is stored the story goes on, delivered or not."""
    told = sms(*SENT[:2], (902, Read()), (903, SmsAccepted()))
    assert [status for status, _ in told.said[-3:]] == ["delivered", "read", "fallbackSent"]
    assert told.commands == [SUBMIT]


def test_a_message_in_time_needs_no_fallback() -> None:
    """Delivered before the undelivered time, read before the unread time: nothing is due any more."""
    told = sms((5, Received()), (200_000, Clock()))
    assert (told.said, told.state.fallback) == ([("enqueued", 0), ("delivered", 5)], Fallback.OFF)
    told = sms((5, Received()), (6, Read()), (200_000, Clock()), undelivered_s=50, unread_s=50)
    assert (told.said[1:], told.state.fallback) == ([("delivered", 5), ("read", 6)], Fallback.OFF)


def test_at_most_one_of_the_two_reasons() -> None:
    """With both times set, an undelivered fallback is the only one; a delivery in time leaves the unread one (law 5)."""
    told = sms(
        (50, Clock()),
        (51, SmsSubmitting()),
        (60, Received()),
        (200_000, Clock()),
        undelivered_s=50,
        unread_s=50,
    )
    assert "fallbackOnUnread" not in dict(told.said)
    told = sms((40, Received()), (200, Clock()), undelivered_s=50, unread_s=50)
    assert told.said == [("enqueued", 0), ("delivered", 40), ("fallbackOnUnread", 90)]


def test_an_unread_fallback_is_over_when_never_delivered() -> None:
    """Nothing to wait for after the expiry."""
    told = tell((100, Clock()), ttl_s=100, mode=FallbackMode.SMS, unread_s=50)
    assert (told.said[-1], told.state.fallback) == (("expired", 100), Fallback.OFF)
    assert next_deadline(told.state) is None


def test_a_fallback_time_beyond_the_expiry_counts_as_the_expiry() -> None:
    """`expired`, then `fallbackOnUndelivered`, at the same instant (law 7)."""
    told = tell((500, Clock()), ttl_s=100, mode=FallbackMode.SMS, undelivered_s=900)
    assert told.said == [("enqueued", 0), ("expired", 100), ("fallbackOnUndelivered", 100)]
    assert told.commands == [SUBMIT]


def test_deadlines_that_passed_together_are_stamped_with_their_own_times() -> None:
    """After days of downtime: fallback, the SMS's own end, expiry, in the order of their times (law 7)."""
    told = sms((1_000_000, PushAccepted()))
    assert told.said == [*ON_UNDELIVERED, ("fallbackOperatorError", 87_300), ("expired", 172_800)]
    assert told.commands == []
    assert told.notes == ["push_after_expiry"]


def test_an_sms_whose_validity_has_passed_is_not_sent() -> None:
    """fallbackOperatorError at fallbackOn… + 24 h, and the courier is told to forget it (law 7)."""
    told = sms((900, Clock()), (900 + 86_400, Clock()))
    assert told.said == [*ON_UNDELIVERED, ("fallbackOperatorError", 87_300)]
    assert (told.commands, told.notes) == ([SUBMIT, DROP], [None, "sms_validity_passed"])


def test_an_unanswered_submission_ends_with_the_validity() -> None:
    """Nobody can say that it was sent; a receipt later than that is ignored."""
    told = sms(*SENT[:2], (200_000, SmsReport(SmsOutcome.DELIVERED)))
    assert told.said[:3] == [*ON_UNDELIVERED, ("fallbackOperatorError", 87_300)]
    assert (told.commands, told.notes[-1]) == ([SUBMIT, DROP], "sms_report_repeated")
    assert sms(*SENT[:2], (100_000, Clock())).notes[-1] == "sms_unanswered"


def test_an_accepted_sms_waits_for_its_receipt_without_deadline() -> None:
    """The carrier has it; its receipt may take longer than our own patience for submitting."""
    told = sms(*SENT, (5000, Received()))
    assert (told.state.fallback, next_deadline(told.state)) == (Fallback.SENT, None)


def test_a_submission_is_repeated_when_its_answer_was_lost() -> None:
    """The intent is stored again, with its new time, and noted."""
    told = sms(*SENT[:2], (940, SmsSubmitting()))
    assert told.notes[-1] == "sms_submitted_again"
    assert told.state.sms_submitted_at == at(940)
    assert next_deadline(told.state) == at(900) + SMS_VALIDITY_MS


@pytest.mark.parametrize("happening", [SmsSubmitting(), SmsAccepted(), SmsRefused(SmsRefusal.OPERATOR_ERROR)])
def test_an_sms_answer_out_of_season_changes_nothing(happening: Input) -> None:
    """Before it is due, and after it is settled."""
    assert sms((5, happening)).notes == ["sms_not_due"]
    assert sms(*SENT, (950, happening)).notes[-1] == "sms_already_answered"


def test_a_receipt_for_an_sms_that_was_never_submitted_is_ignored() -> None:
    """It is not ours."""
    assert sms((900, SmsReport(SmsOutcome.DELIVERED))).notes == ["sms_report_unexpected"]


def test_recall_is_expired_now_and_disarms() -> None:
    """Recall has no word of its own (law 10), and no fallback follows."""
    told = sms((60, Recalled()), (70, Recalled()), (200_000, Clock()))
    assert told.said == [("enqueued", 0), ("expired", 60)]
    assert told.notes[:2] == [None, "recall_repeated"]
    assert told.state.message == Message.EXPIRED


@pytest.mark.parametrize("has_expired", [True, False])
def test_recall_stops_an_sms_that_has_not_left(has_expired: bool) -> None:
    """Whether or not the message had expired meanwhile."""
    told = tell(
        (50, Clock()),
        (200 if has_expired else 60, Recalled()),
        ttl_s=100,
        undelivered_s=50,
        mode=FallbackMode.SMS,
    )
    assert [status for status, _ in told.said] == ["enqueued", "fallbackOnUndelivered", "expired"]
    assert (told.commands, told.notes[-1]) == ([SUBMIT, DROP], "sms_dropped_recalled")


def test_recall_lets_a_submitted_sms_go_on() -> None:
    """What the carrier has cannot be had back."""
    told = sms(*SENT[:2], (902, Recalled()), (903, SmsAccepted()))
    assert [status for status, _ in told.said[-2:]] == ["expired", "fallbackSent"]


@pytest.mark.parametrize("happening", [Received(), Read()])
def test_recall_of_a_delivered_message_is_a_conflict(happening: Input) -> None:
    """Nothing changes, and the note says so."""
    told = tell((5, happening), (6, Recalled()))
    assert (told.notes[-1], told.said[1][0]) == ("recall_conflict", "delivered")


def test_what_begins_and_ends_unseen_is_not_commanded() -> None:
    """An SMS that became due and was dropped in the same step was never the courier's business."""
    told = sms((950, Received()))
    assert told.said == [*ON_UNDELIVERED, ("delivered", 950)]
    assert told.commands == []


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
