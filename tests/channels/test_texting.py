"""SMS commands: the intent is stored first, every answer and receipt becomes its status, and no one gets two for nothing."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.channels.fakes import ScriptedCarrier
from tests.channels.town import town

from homing.channels.sms import SmsReceipt, SmsRefusedAt, SmsTryLater, SmsUnanswered
from homing.channels.texting import WhenUnknown
from homing.errors import Unavailable
from homing.lifecycle.dispatch import Fallback, Read, Received, SmsOutcome, SmsRefusal

Run = Callable[[Coroutine[Any, Any, Any]], Any]
FELL = ["enqueued", "fallbackOnUndelivered"]
DAY_S = 86_400


def receipt(one: str = "id1", outcome: SmsOutcome = SmsOutcome.DELIVERED, **more: Any) -> SmsReceipt:
    """A final receipt of the test's carrier."""
    return SmsReceipt("tim", one, outcome, **more)


@pytest.mark.parametrize(
    "outcome, status",
    [
        (SmsOutcome.DELIVERED, "fallbackDelivered"),
        (SmsOutcome.EXPIRED, "fallbackExpired"),
        (SmsOutcome.INVALID_NUMBER, "fallbackInvalidNumber"),
        (SmsOutcome.PHONE_ERROR, "fallbackPhoneError"),
        (SmsOutcome.OPERATOR_ERROR, "fallbackOperatorError"),
    ],
)
def test_accepted_then_reported(run: Run, outcome: SmsOutcome, status: str) -> None:
    """fallbackSent when the carrier takes it, then what the receipt says; a repeated receipt says nothing."""

    async def story() -> None:
        carrier = ScriptedCarrier()
        async with town(carrier=carrier) as it:
            key = it.house.message(fallback_s=60)
            await it.after(60)
            assert it.house.said[key] == [*FELL, "fallbackSent"]
            assert carrier.asked[0].number == "+447700900000"
            assert await carrier.report(receipt(outcome=outcome))
            assert await carrier.report(receipt(outcome=outcome))
            assert it.house.said[key] == [*FELL, "fallbackSent", status]
            assert not it.house.commands

    run(story())


@pytest.mark.parametrize(
    "number, answer, status, asked",
    [
        (None, None, "fallbackInvalidNumber", 0),
        ("ann", None, "fallbackInvalidNumber", 0),
        ("+1", None, "fallbackInvalidNumber", 0),
        ("447700900003", SmsRefusedAt(SmsRefusal.INVALID_NUMBER, "0x0B"), "fallbackInvalidNumber", 1),
        ("00447700900006", SmsRefusedAt(SmsRefusal.OPERATOR_ERROR), "fallbackOperatorError", 1),
    ],
)
def test_refused_at_the_submission(
    run: Run, number: str | None, answer: SmsRefusedAt | None, status: str, asked: int
) -> None:
    """A refusal has its outcome without fallbackSent, and an unusable number never reaches the carrier."""

    async def story() -> None:
        carrier = ScriptedCarrier(*([answer] if answer else []))
        async with town(carrier=carrier) as it:
            key = it.house.message(number=number, fallback_s=60)
            await it.after(60)
            assert it.house.said[key] == [*FELL, status]
            assert len(carrier.asked) == asked
            assert not it.house.commands

    run(story())


def test_without_a_carrier_it_is_the_operators_error(run: Run) -> None:
    """Fallback mode sms without a carrier: fallbackOn…, then fallbackOperatorError."""

    async def story() -> None:
        async with town() as it:
            key = it.house.message(fallback_s=60)
            await it.after(60)
            assert it.house.said[key] == [*FELL, "fallbackOperatorError"]

    run(story())


def test_a_busy_carrier_is_asked_again(run: Run) -> None:
    """What was surely not taken is submitted again when the carrier wishes, without waiting for receipts."""

    async def story() -> None:
        carrier = ScriptedCarrier(SmsTryLater("throttled", 2_000), SmsTryLater("throttled"))
        async with town(carrier=carrier) as it:
            key = it.house.message(fallback_s=60)
            await it.after(61)
            assert len(carrier.asked) == 1
            await it.after(20)
            assert it.house.said[key] == [*FELL, "fallbackSent"]
            assert len(carrier.asked) == 3

    run(story())


def test_a_carrier_that_stays_away_ends_with_the_validity(run: Run) -> None:
    """Down for a day: the lifecycle's clock ends it, nothing is submitted, the command is gone."""

    async def story() -> None:
        carrier = ScriptedCarrier()
        carrier.is_up = False
        async with town(carrier=carrier) as it:
            key = it.house.message(fallback_s=60)
            await it.after(DAY_S + 59)
            assert it.house.said[key] == FELL
            await it.after(1)
            assert it.house.said[key] == [*FELL, "fallbackOperatorError"]
            await it.after(600)
            assert not carrier.asked
            assert not it.house.commands

    run(story())


@pytest.mark.parametrize("what", [Received(), Read()])
def test_an_sms_that_never_left_is_dropped_when_its_reason_is_gone(run: Run, what: Any) -> None:
    """While the carrier is down no intent is stored, so a delivery meanwhile takes the SMS back without a status."""

    async def story() -> None:
        carrier = ScriptedCarrier()
        carrier.is_up = False
        async with town(carrier=carrier) as it:
            key = it.house.message(fallback_s=60)
            await it.after(61)
            it.house.happens(key, what)
            carrier.is_up = True
            await it.after(600)
            assert not carrier.asked
            assert it.house.fallback(key) is Fallback.OFF
            assert not it.house.commands

    run(story())


def test_an_unanswered_sms_waits_for_its_receipt(run: Run) -> None:
    """A receipt that gives our reference back within 30 s proves it was taken; nothing is sent twice."""

    async def story() -> None:
        carrier = ScriptedCarrier(SmsUnanswered("timeout"))
        async with town(carrier=carrier) as it:
            key = it.house.message(fallback_s=60)
            await it.after(70)
            assert it.house.said[key] == FELL
            assert await carrier.report(receipt("unheard", reference=key))
            await it.after(600)
            assert it.house.said[key] == [*FELL, "fallbackSent", "fallbackDelivered"]
            assert len(carrier.asked) == 1
            assert not it.house.commands

    run(story())


@pytest.mark.parametrize("answer", [SmsUnanswered("timeout"), RuntimeError("bug")])
def test_an_unanswered_sms_is_sent_again_after_half_a_minute(run: Run, answer: Any) -> None:
    """At least once: the one way a person can get two, and the history says so."""

    async def story() -> None:
        carrier = ScriptedCarrier(answer)
        async with town(carrier=carrier) as it:
            key = it.house.message(fallback_s=60)
            await it.after(89.9)
            assert len(carrier.asked) == 1
            await it.after(0.1)
            assert it.house.said[key] == [*FELL, "fallbackSent"]
            assert len(carrier.asked) == 2
            assert "sms_submitted_again" in [code for code, _ in it.house.notes]

    run(story())


def test_who_prefers_none_to_two_gives_up(run: Run) -> None:
    """With give_up nothing is sent again; the end of the validity tells the sender."""

    async def story() -> None:
        carrier = ScriptedCarrier(SmsUnanswered())
        async with town(carrier=carrier, when_unknown=WhenUnknown.GIVE_UP) as it:
            key = it.house.message(fallback_s=60)
            await it.after(3_600)
            assert len(carrier.asked) == 1
            assert not it.house.commands
            await it.after(DAY_S)
            assert it.house.said[key] == [*FELL, "fallbackOperatorError"]

    run(story())


def test_a_receipt_before_the_answer_is_kept_for_it(run: Run) -> None:
    """It is not acknowledged, but recorded as soon as the id is known: fallbackSent first."""

    async def story() -> None:
        carrier = ScriptedCarrier()
        acknowledged: list[bool] = []
        async with town(carrier=carrier) as it:

            async def early() -> None:
                acknowledged.append(await carrier.report(receipt()))

            carrier.before_answer = lambda: it.courier._spawn(early())
            key = it.house.message(fallback_s=60)
            await it.after(60)
            assert acknowledged == [False]
            assert it.house.said[key] == [*FELL, "fallbackSent", "fallbackDelivered"]

    run(story())


def test_a_receipt_that_fits_nothing_is_forgotten_after_a_minute(run: Run) -> None:
    """It is never acknowledged, so the carrier may repeat it; it does not pile up."""

    async def story() -> None:
        carrier = ScriptedCarrier()
        async with town(carrier=carrier) as it:
            assert not await carrier.report(receipt("stranger"))
            assert it.courier._receipts.has_parked
            await it.after(60)
            assert not it.courier._receipts.has_parked

    run(story())


def test_without_the_intent_on_disk_nothing_leaves(run: Run) -> None:
    """When the store cannot take the intent, the carrier is not asked until it can."""

    async def story() -> None:
        carrier = ScriptedCarrier()
        async with town(carrier=carrier) as it:
            it.house.fail_records.append(Unavailable())
            key = it.house.message(fallback_s=60)
            await it.after(60)
            assert not carrier.asked
            await it.after(1)
            assert it.house.said[key] == [*FELL, "fallbackSent"]

    run(story())
