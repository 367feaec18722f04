"""The simulated push services and the simulated carrier: each named behaviour does what its promise says."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.channels.fakes import device

from homing.channels.push import Platform, PushRequest, PushVerdict
from homing.channels.sms import (
    SmsAnswer,
    SmsReceipt,
    SmsRefusedAt,
    SmsRequest,
    SmsSubmitted,
    SmsTryLater,
    SmsUnanswered,
)
from homing.lifecycle.dispatch import SmsOutcome, SmsRefusal
from homing.simulator.carriers import CONDUCTS, NUMBERS, SimulatedCarrier
from homing.simulator.clock import Conductor, VirtualClock
from homing.simulator.durations import duration_ms
from homing.simulator.push import Line, SimulatedPush

Run = Callable[[Coroutine[Any, Any, Any]], Any]
DAY_MS = 86_400_000


def push(token: str = "token-a", platform: Platform = "ios") -> PushRequest:
    """One push for the phone of this token."""
    return PushRequest(b"k", device("a", platform), platform, token, "hello", 0)


@pytest.mark.parametrize(
    "told, verdict, woken_after_s",
    [
        ("accept", PushVerdict.ACCEPTED, 0),
        ("drop", PushVerdict.ACCEPTED, None),
        ("late:30s", PushVerdict.ACCEPTED, 30),
        ("token-invalid", PushVerdict.TOKEN_INVALID, None),
        ("refuse", PushVerdict.REFUSED, None),
        ("unavailable:5m", PushVerdict.TRY_LATER, None),
    ],
)
def test_a_phones_line_behaves_as_told(
    run: Run, told: str, verdict: PushVerdict, woken_after_s: int | None
) -> None:
    """The answer to the push, and when the phone is woken, if ever."""

    async def story() -> None:
        clock, woken = VirtualClock(), list[int]()
        service = SimulatedPush("ios", clock)
        start_ms = clock.now_ms()
        service.register("token-a", Line(lambda _: woken.append((clock.now_ms() - start_ms) // 1000), told))
        assert (await service.push(push())).verdict is verdict
        await Conductor(clock, {}).advance(by_ms=60_000)
        assert woken == ([] if woken_after_s is None else [woken_after_s])

    run(story())


def test_a_token_nobody_registered_is_dead(run: Run) -> None:
    """As is one whose app was removed."""

    async def story() -> None:
        service = SimulatedPush("android", VirtualClock())
        assert (await service.push(push("x", "android"))).verdict is PushVerdict.TOKEN_INVALID
        service.register("x", Line(lambda _: None))
        assert (await service.push(push("x", "android"))).verdict is PushVerdict.ACCEPTED
        service.forget("x")
        assert (await service.push(push("x", "android"))).verdict is PushVerdict.TOKEN_INVALID

    run(story())


@pytest.mark.parametrize(
    "told, verdict, asked_ms",
    [
        ("bad-key", PushVerdict.REFUSED, None),
        ("throttled:30s", PushVerdict.TRY_LATER, 30_000),
        ("unavailable:30s", PushVerdict.TRY_LATER, None),
    ],
)
def test_a_whole_service_behaves_as_told(
    run: Run, told: str, verdict: PushVerdict, asked_ms: int | None
) -> None:
    """Configuration, throttling and outage of a service, the latter two until their time is over."""

    async def story() -> None:
        clock = VirtualClock()
        service = SimulatedPush("ios", clock)
        service.register("token-a", Line(lambda _: None))
        service.becomes(told)
        outcome = await service.push(push())
        assert (outcome.verdict, outcome.retry_after_ms) == (verdict, asked_ms)
        clock.jump_to(clock.now_ms() + 30_000)
        after = verdict if told == "bad-key" else PushVerdict.ACCEPTED
        assert (await service.push(push())).verdict is after
        with pytest.raises(ValueError):
            service.becomes("moody")

    run(story())


async def text(number: str, told: str | None = None) -> tuple[list[SmsAnswer], list[tuple[int, SmsReceipt]]]:
    """Submit until it is taken or refused for good; what was answered, and the receipts with their seconds."""
    clock, heard, answers = VirtualClock(), list[tuple[int, SmsReceipt]](), list[SmsAnswer]()
    start_ms = clock.now_ms()
    carrier = SimulatedCarrier(clock)
    if told is not None:
        carrier.becomes(told)

    async def sink(receipt: SmsReceipt) -> bool:
        heard.append(((clock.now_ms() - start_ms) // 1000, receipt))
        return True

    carrier.report_to(sink)
    conductor = Conductor(clock, {"carrier": carrier.is_quiet})
    for _ in range(3):
        answers.append(await carrier.submit(SmsRequest(b"key", number, "hello", None, start_ms + DAY_MS)))
        if not isinstance(answers[-1], SmsTryLater):
            break
        await conductor.advance(by_ms=answers[-1].retry_after_ms or 60_000)
    await conductor.advance()
    return answers, heard


@pytest.mark.parametrize(
    "ending, after_s, outcome",
    [
        ("000", [5], SmsOutcome.DELIVERED),
        ("001", [30], SmsOutcome.DELIVERED),
        ("002", [86_400], SmsOutcome.EXPIRED),
        ("004", [5], SmsOutcome.INVALID_NUMBER),
        ("005", [5], SmsOutcome.PHONE_ERROR),
        ("006", [5], SmsOutcome.OPERATOR_ERROR),
        ("007", [35], SmsOutcome.DELIVERED),
        ("008", [], None),
        ("009", [0], SmsOutcome.DELIVERED),
        ("010", [5, 6], SmsOutcome.DELIVERED),
    ],
)
def test_each_magic_number_gets_its_receipt(
    run: Run, ending: str, after_s: list[int], outcome: SmsOutcome | None
) -> None:
    """The table of numbers: what the receipt says and when it comes."""

    async def story() -> None:
        answers, heard = await text(f"+447700900{ending}")
        assert isinstance(answers[-1], SmsSubmitted)
        assert [after for after, _ in heard] == after_s
        assert {receipt.outcome for _, receipt in heard} == ({outcome} if outcome else set())
        assert {receipt.id for _, receipt in heard} <= set(answers[-1].ids)

    run(story())


@pytest.mark.parametrize(
    "told, answer",
    [
        ("invalid-at-submit", SmsRefusedAt(SmsRefusal.INVALID_NUMBER, "RINVDSTADR")),
        ("refused", SmsRefusedAt(SmsRefusal.OPERATOR_ERROR, "RINVSRCADR")),
        ("half-open", SmsUnanswered("no answer")),
        ("lost-answer", SmsUnanswered("the answer was lost")),
    ],
)
def test_what_is_not_taken_says_so(run: Run, told: str, answer: SmsAnswer) -> None:
    """Refusals and lost answers of a carrier that behaves so for all."""

    async def story() -> None:
        answers, heard = await text("+393331234567", told)
        assert answers == [answer]
        assert [receipt.reference for _, receipt in heard] == ([b"key"] if told == "lost-answer" else [])

    run(story())


def test_a_carrier_that_is_down_comes_back_when_told(run: Run) -> None:
    """It takes nothing while down, and says so beforehand."""

    async def story() -> None:
        clock = VirtualClock()
        carrier = SimulatedCarrier(clock)
        carrier.becomes("down:10m")
        ups = [carrier.is_up]
        sms = SmsRequest(b"key", "+393331234567", "hello", None, 0)
        assert isinstance(await carrier.submit(sms), SmsTryLater)
        clock.jump_to(clock.now_ms() + 600_000)
        ups.append(carrier.is_up)
        carrier.becomes("down")
        clock.jump_to(clock.now_ms() + DAY_MS)
        ups.append(carrier.is_up)
        carrier.becomes("good")
        ups.append(carrier.is_up)
        assert ups == [False, True, False, True]
        assert not carrier.asked

    run(story())


def test_a_receipt_that_is_not_acknowledged_comes_again(run: Run) -> None:
    """Until it is taken, a few times and no more."""

    async def story() -> None:
        clock, tries = VirtualClock(), list[int]()
        carrier = SimulatedCarrier(clock)

        async def sink(_: SmsReceipt) -> bool:
            tries.append(1)
            if len(tries) == 2:
                raise RuntimeError("the store is away")
            return len(tries) == 4

        carrier.report_to(sink)
        await carrier.submit(SmsRequest(b"key", "+447700900000", "hello", None, 0))
        await Conductor(clock, {"carrier": carrier.is_quiet}).advance()
        assert len(tries) == 4

    run(story())


def test_every_magic_number_and_conduct_has_its_promise() -> None:
    """The tables agree with each other."""
    assert set(NUMBERS.values()) <= set(CONDUCTS)
    assert all(conduct.promise for conduct in CONDUCTS.values())


@pytest.mark.parametrize(
    "told, ms",
    [
        ("300ms", 300),
        ("3s", 3_000),
        ("+15m", 900_000),
        ("1h30m", 5_400_000),
        ("2d", 2 * DAY_MS),
        ("1.5s", 1_500),
    ],
)
def test_durations_are_read_as_people_write_them(told: str, ms: int) -> None:
    """Units from milliseconds to days, also together."""
    assert duration_ms(told) == ms


@pytest.mark.parametrize("told", ["", "5", "m", "-5m", "5 minutes", "5m ago"])
def test_what_is_no_duration_is_refused(told: str) -> None:
    """Without a unit, or with words, it is no duration."""
    with pytest.raises(ValueError, match="no duration"):
        duration_ms(told)
