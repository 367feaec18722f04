"""The machine's fallback, story by story: when it is due, how an SMS goes its way, what drops or ends it."""

import pytest
from tests.lifecycle.stories import DROP, ON_UNDELIVERED, SENT, SUBMIT, at, sms, tell

from homing.lifecycle.dispatch import (
    Clock,
    Fallback,
    FallbackMode,
    Input,
    PushAccepted,
    Read,
    Recalled,
    Received,
    SmsAccepted,
    SmsOutcome,
    SmsRefusal,
    SmsRefused,
    SmsReport,
    SmsSubmitting,
)
from homing.lifecycle.machine import next_deadline
from homing.lifecycle.policy import SMS_VALIDITY_MS


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


def test_what_begins_and_ends_unseen_is_not_commanded() -> None:
    """An SMS that became due and was dropped in the same step was never the courier's business."""
    told = sms((950, Received()))
    assert told.said == [*ON_UNDELIVERED, ("delivered", 950)]
    assert told.commands == []
