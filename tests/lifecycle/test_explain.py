"""`explain` tells why a dispatch is where it is, what comes next, and when, in sentences with stable keys.

That no reachable state is without an explanation is held by the walk (test_walk.py).
"""

from collections.abc import Iterator

import pytest

from homing.contract.status import Status
from homing.lifecycle.dispatch import (
    Clock,
    FallbackMode,
    Input,
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
from homing.lifecycle.explain import CallbackFacts, Facts, explain
from homing.lifecycle.machine import begin, step
from homing.lifecycle.policy import SILENT, FallbackPlan, resolve
from homing.lifecycle.wording import TEXTS, at, moment, span

T0 = 1_764_064_922_000  # 2025-11-25 10:02:02 UTC
SMS, NOTIFY = FallbackMode.SMS, FallbackMode.NOTIFY


def live(
    *happenings: tuple[float, Input],
    plan: FallbackPlan = SILENT,
    known: bool = True,
) -> tuple[State, tuple[tuple[Status, int], ...]]:
    """The state after these inputs (seconds since acceptance), in a life of two hours, and its events."""
    last = begin(known, resolve(T0, 7200, plan), T0)
    events = last.events
    for seconds, happening in happenings:
        last = step(last.state, happening, T0 + round(seconds * 1000))
        events += last.events
    return last.state, events


UNDELIVERED, UNREAD, BOTH = FallbackPlan(SMS, 900), FallbackPlan(SMS, None, 900), FallbackPlan(SMS, 900, 60)
DUE = (900, Clock())
SUBMITTED = (DUE, (901, SmsSubmitting()))
SENT = (*SUBMITTED, (902, SmsAccepted()))

BARE: dict[str, tuple[State, list[str]]] = {
    "unknown": (live(known=False)[0], ["unknown_recipient"]),
    "enqueued": (live()[0], ["waiting", "next_expiry"]),
    "armed": (live(plan=UNDELIVERED)[0], ["waiting", "next_undelivered"]),
    "armed for unread": (live(plan=UNREAD)[0], ["waiting", "next_unread_after_delivery"]),
    "armed for both": (live(plan=BOTH)[0], ["waiting", "next_either"]),
    "pushed": (live((1, PushAccepted()))[0], ["waiting", "push_accepted", "next_expiry"]),
    "push refused": (
        live((1, PushRefused("ios", token_invalid=False)))[0],
        ["waiting", "push_refused", "next_expiry"],
    ),
    "push token invalid": (
        live((1, PushRefused("android", token_invalid=True)))[0],
        ["waiting", "push_token_invalid", "next_expiry"],
    ),
    "delivered": (
        live((1, Received()), plan=UNDELIVERED)[0],
        ["delivered", "fallback_not_needed", "next_read"],
    ),
    "delivered without fallback": (live((1, Received()))[0], ["delivered", "next_read"]),
    "delivered and armed": (live((1, Received()), plan=UNREAD)[0], ["delivered", "next_unread"]),
    "read": (live((1, Read()), plan=UNREAD)[0], ["read", "fallback_not_needed", "settled"]),
    "expired": (live((7200, Clock()))[0], ["expired", "settled"]),
    "expired unread": (live((7200, Clock()), plan=UNREAD)[0], ["expired", "fallback_impossible", "settled"]),
    "recalled": (live((5, Recalled()), plan=UNREAD)[0], ["recalled", "fallback_recalled", "settled"]),
    "notified": (
        live(DUE, plan=FallbackPlan(NOTIFY))[0],
        ["waiting", "fallback_notified", "next_expiry"],
    ),
    "sms due": (live(DUE, plan=UNDELIVERED)[0], ["waiting", "sms_waiting", "next_expiry"]),
    "sms dropped": (live(DUE, (901, Read()), plan=UNDELIVERED)[0], ["read", "sms_dropped", "settled"]),
    "sms submitted": (live(*SUBMITTED, (950, Read()), plan=UNDELIVERED)[0], ["read", "sms_unanswered"]),
    "sms sent": (live(*SENT, (7200, Clock()), plan=UNDELIVERED)[0], ["expired", "sms_sent"]),
    **{
        f"sms {outcome.name.lower()}": (
            live(*SENT, (950, SmsReport(outcome)), plan=UNDELIVERED)[0],
            ["waiting", f"sms_{outcome.name.lower()}", "next_expiry"],
        )
        for outcome in SmsOutcome
    },
    "sms refused": (
        live(*SUBMITTED, (902, SmsRefused(SmsRefusal.INVALID_NUMBER)), (9000, Clock()), plan=UNDELIVERED)[0],
        ["expired", "sms_invalid_number", "settled"],
    ),
}


def texts(facts: Facts) -> dict[str, str]:
    """What is said, by key without its prefix."""
    return {key.removeprefix("explain."): text for key, text in explain(facts)}


@pytest.mark.parametrize("state, keys", BARE.values(), ids=BARE)
def test_each_kind_of_state_has_its_sentences(state: State, keys: list[str]) -> None:
    """Where it is, what became of the fallback, what comes next: by stable keys, in this order."""
    assert [sentence.key for sentence in explain(Facts(state))] == [f"explain.{key}" for key in keys]


def test_bob_in_the_tunnel() -> None:
    """The example of the specification, in our words: six sentences at most, with the facts in them."""
    state, events = live((9, PushAccepted()), plan=FallbackPlan(SMS, 909))
    facts = Facts(
        state,
        "bob",
        T0 + 20_000,
        devices=1,
        platforms=("android",),
        last_seen_ms=T0 - 3 * 3_600_000,
        has_number=True,
        masked_number="+39 333 ••• ••67",
        events=events,
        callbacks=(CallbackFacts("orders", 2, 2),),
    )
    assert [text for _, text in explain(facts)] == [
        "Not delivered yet. bob has one device (Android), last connected 3 h ago.",
        (
            "Google accepted the wake-up push at 10:02:11 UTC, so PushSent was reported; a push only wakes, and no "
            "device has confirmed since."
        ),
        "If nothing comes by 10:17:11 UTC, an SMS goes to +39 333 ••• ••67; the message expires at 12:02:02 UTC.",
        'Your endpoint "orders" has 2 of 2 callbacks settled.',
    ]


def test_everything_known_is_still_six_sentences() -> None:
    """The longest explanation."""
    state, events = live((9, PushAccepted()), DUE, plan=UNDELIVERED)
    facts = Facts(
        state, "bob", T0 + 900_000, 1, notes=("push_repeated",), events=events, callbacks=(), has_carrier=True
    )
    assert list(texts(facts)) == [
        "waiting_for_device",
        "push_accepted",
        "sms_waiting",
        "next_expiry",
        "history",
        "no_endpoint",
    ]


@pytest.mark.parametrize(
    "devices, platforms, words",
    [
        (1, (), "bob has one device."),
        (1, ("web",), "bob has one device (Web)."),
        (3, ("ios", "android", "ios"), "bob has 3 devices (iOS, Android)."),
        (1, ("other",), "bob has one device (other)."),
    ],
)
def test_devices_are_told_in_words(devices: int, platforms: tuple[str, ...], words: str) -> None:
    """How many, of which kinds."""
    facts = Facts(live()[0], "bob", T0, devices, platforms)
    assert texts(facts)["waiting_for_device"] == f"Not delivered yet. {words}"
    assert "push_unanswered" in texts(facts)


def test_nobody_logged_in() -> None:
    """No device: the message waits for the first, and no push is spoken of."""
    assert list(texts(Facts(live()[0], devices=0))) == ["waiting_without_device", "next_expiry"]


def test_when_a_device_was_seen_last() -> None:
    """As a length of time when now is known, else as a moment; a clock ahead of ours is just now."""
    facts = Facts(live()[0], "bob", None, 1, last_seen_ms=T0)
    assert ", last connected at 2025-11-25 10:02:02 UTC." in texts(facts)["waiting_for_device"]
    assert ", last connected 0 s ago." in texts(facts._replace(now_ms=T0 - 5))["waiting_for_device"]


def test_the_push_service_speaks_for_itself() -> None:
    """Its own words are quoted; which service it was is named when it can be known."""
    refused = live((1, PushRefused("ios", token_invalid=True)))[0]
    assert (
        "Apple does not know the device any more (BadDeviceToken), so iOSErrorInvalidToken"
        in (texts(Facts(refused, push_outcome="BadDeviceToken"))["push_token_invalid"])
    )
    accepted = Facts(live((1, PushAccepted()))[0], push_at_ms=T0 + 1000)
    assert texts(accepted)["push_accepted"].startswith(
        "A push service accepted the wake-up push at 2025-11-25"
    )
    assert texts(accepted._replace(platforms=("ios", "other")))["push_accepted"].startswith("Apple")
    assert texts(accepted._replace(platforms=("ios", "web")))["push_accepted"].startswith("A push service")


@pytest.mark.parametrize(
    "plan, happenings, key, words",
    [
        (UNDELIVERED, (), "next_undelivered", "an SMS is sent;"),
        (
            FallbackPlan(NOTIFY, 900),
            (),
            "next_undelivered",
            "fallbackOnUndelivered is reported and your own system",
        ),
        (BOTH, (), "next_either", "if it is not read within 1 min"),
        (FallbackPlan(NOTIFY, 900, 60), (), "next_either", "fallbackOnUndelivered is reported"),
        (
            FallbackPlan(NOTIFY, None, 120),
            (),
            "next_unread_after_delivery",
            "within 2 min, fallbackOnUnread is",
        ),
        (FallbackPlan(NOTIFY, 900, 60), ((1, Received()),), "next_unread", "fallbackOnUnread is reported"),
        (BOTH, ((1, Received()),), "next_unread", "not read by 10:03:03 UTC, an SMS is sent"),
    ],
)
def test_what_the_fallback_will_do(
    plan: FallbackPlan, happenings: tuple[tuple[float, Input], ...], key: str, words: str
) -> None:
    """Who will act, and when."""
    assert words in texts(Facts(live(*happenings, plan=plan)[0], "bob", T0))[key]


def test_a_missing_number_is_told_before_it_matters() -> None:
    """Nobody need wait for fallbackInvalidNumber to learn it."""
    assert (
        "there is no number" in texts(Facts(live(plan=UNDELIVERED)[0], has_number=False))["next_undelivered"]
    )


def test_a_missing_carrier_is_told() -> None:
    """With the moment at which it is given up."""
    facts = Facts(live(DUE, plan=UNDELIVERED)[0], "bob", T0, has_carrier=False)
    assert (
        "no carrier for SMS is configured; unless there is one by 2025-11-26 10:17:02 UTC"
        in (texts(facts)["sms_without_carrier"])
    )


@pytest.mark.parametrize(
    "happenings, plan, met",
    [
        ((DUE, (901, Received())), UNDELIVERED, "delivered"),
        ((DUE, (901, Read())), UNDELIVERED, "delivered"),
        ((DUE, (901, Recalled())), UNDELIVERED, "recalled"),
        (((1, Received()), (901, Clock()), (902, Read())), UNREAD, "read"),
    ],
)
def test_why_an_sms_was_dropped(
    happenings: tuple[tuple[float, Input], ...], plan: FallbackPlan, met: str
) -> None:
    """Which of the three it was."""
    assert texts(Facts(live(*happenings, plan=plan)[0]))["sms_dropped"].endswith(
        f"the message was {met} before."
    )


def test_a_recall_is_told_from_an_expiry_by_its_time() -> None:
    """Also when an SMS was answered after the expiry time, if the events are known."""
    state, events = live(*SUBMITTED, (950, Recalled()), (8000, SmsAccepted()), plan=UNDELIVERED)
    assert next(iter(texts(Facts(state, events=events)))) == "recalled"
    assert "Recalled at 10:17:52 UTC" in texts(Facts(state, now_ms=T0, events=events))["recalled"]


def test_the_history_is_the_last_three_different_notes() -> None:
    """Oldest first, in the words of REMARKS; a code that means nothing to people is left out."""
    notes = (
        "push_repeated",
        "duplicate_read",
        "push_accepted",
        "push_not_configured",
        "sms_not_due",
        "duplicate_read",
    )
    facts = Facts(live()[0], notes=notes)
    assert texts(facts)["history"] == (
        "In its history: no push service is set up for this application, so nobody was woken; an SMS was not due, "
        "ignored; another read receipt, ignored."
    )


def test_callbacks_tell_how_far_each_endpoint_is() -> None:
    """With the next try where one waits."""
    callbacks = (CallbackFacts("orders", 1, 3, T0 + 5000), CallbackFacts("audit", 3, 3))
    assert texts(Facts(live()[0], now_ms=T0, callbacks=callbacks))["callbacks"] == (
        'Your endpoint "orders" has 1 of 3 callbacks settled, next try at 10:02:07 UTC; "audit" has 3 of 3 callbacks'
        " settled."
    )


def test_callbacks_tell_what_was_given_up_and_why_the_rest_waits() -> None:
    """An endpoint that takes nothing just now is said to; when the next try would be does not matter then."""
    callbacks = (
        CallbackFacts("orders", 1, 3, T0 + 5000, 1, "is paused by its owner"),
        CallbackFacts("audit", 1, 2, None, 1),
    )
    assert texts(Facts(live()[0], now_ms=T0, callbacks=callbacks))["callbacks"] == (
        'Your endpoint "orders" has 1 of 3 callbacks settled and 1 given up; what is left waits, because it is paused by'
        ' its owner; "audit" has 1 of 2 callbacks settled and 1 given up.'
    )


def test_times_of_the_sms_are_told_when_known() -> None:
    """From the events of the dispatch."""
    state, events = live(*SENT, (950, SmsReport(SmsOutcome.DELIVERED)), plan=UNDELIVERED)
    facts = Facts(state, now_ms=T0, masked_number="+39 ••67", events=events)
    assert texts(facts)["sms_delivered"] == "The SMS to +39 ••67 was delivered at 10:17:52 UTC."


def all_facts() -> Iterator[Facts]:
    for state, _ in BARE.values():
        yield Facts(state, devices=1, notes=("push_repeated",), callbacks=(CallbackFacts("e", 0, 1),))
        yield Facts(state, devices=0, callbacks=(), has_carrier=False)
        yield Facts(state)


def test_no_sentence_is_unused_or_names_what_nobody_fills() -> None:
    """Each key of TEXTS can be said, and no placeholder is ever left standing."""
    said = [sentence for facts in all_facts() for sentence in explain(facts)]
    assert {sentence.key for sentence in said} == {f"explain.{key}" for key in TEXTS}
    assert not any("{" in sentence.text or not sentence.text.endswith(".") for sentence in said)


@pytest.mark.parametrize(
    "milliseconds, words",
    [
        (999, "0 s"),
        (40_000, "40 s"),
        (60_000, "1 min"),
        (90_000, "90 s"),
        (150_000, "2 min"),
        (3_600_000, "1 h"),
        (5_400_000, "90 min"),
        (172_800_000, "2 d"),
    ],
)
def test_a_length_of_time_in_words(milliseconds: int, words: str) -> None:
    """Rounded down, in the largest unit that does not hide much."""
    assert span(milliseconds) == words


def test_a_moment_in_words() -> None:
    """Without the date when that is today's; always UTC."""
    assert moment(T0, T0 + 1) == "10:02:02 UTC"
    assert moment(T0, T0 + 86_400_000) == moment(T0, None) == "2025-11-25 10:02:02 UTC"
    assert at(T0, T0) == " at 10:02:02 UTC"
    assert (at(None, T0), moment(None, T0)) == ("", "")
