"""A carrier in place of the SMSC: what becomes of an SMS is decided by its number, or for all by what it is told.

Numbers are of Ofcom's drama range, which belongs to nobody. Receipts come by the clock; one that is not acknowledged
comes again, as from a real SMSC.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from homing.channels.sms import (
    ReceiptSink,
    SmsAnswer,
    SmsReceipt,
    SmsRefusedAt,
    SmsRequest,
    SmsSubmitted,
    SmsTryLater,
    SmsUnanswered,
)
from homing.clock import Clock
from homing.lifecycle.dispatch import SmsOutcome, SmsRefusal
from homing.simulator.durations import duration_ms

AGAIN_MS: Final = 10_000
_TIMES: Final = 6


class Conduct(msgspec.Struct, frozen=True):
    """What happens to an SMS. ``after_ms`` is when each receipt comes, -1 meaning at the end of its validity."""

    promise: str
    receipt: SmsOutcome | None = None
    after_ms: tuple[int, ...] = (5_000,)
    reason: str | None = None
    refusal: SmsRefusal | None = None
    is_early: bool = False
    is_unanswered: bool = False
    gives_reference: bool = False


CONDUCTS: Final[dict[str, Conduct]] = {
    "good": Conduct("taken, delivered 5 s later", SmsOutcome.DELIVERED),
    "late": Conduct("taken, delivered 30 s later", SmsOutcome.DELIVERED, (30_000,)),
    "slow": Conduct("taken, delivered 20 min later", SmsOutcome.DELIVERED, (1_200_000,)),
    "expired": Conduct("taken, EXPIRED at the end of its validity", SmsOutcome.EXPIRED, (-1,), "EXPIRED"),
    "invalid-at-submit": Conduct(
        "refused for its number", refusal=SmsRefusal.INVALID_NUMBER, reason="RINVDSTADR"
    ),
    "unknown-number": Conduct("taken, no such subscriber", SmsOutcome.INVALID_NUMBER, reason="err:001"),
    "memory-full": Conduct(
        "taken, the phone's memory is full", SmsOutcome.PHONE_ERROR, reason="UNDELIV err:040"
    ),
    "absent": Conduct("taken, the phone is off", SmsOutcome.PHONE_ERROR, reason="UNDELIV err:060"),
    "operator-error": Conduct("taken, then the network failed", SmsOutcome.OPERATOR_ERROR, reason="REJECTD"),
    "refused": Conduct("refused by the system", refusal=SmsRefusal.OPERATOR_ERROR, reason="RINVSRCADR"),
    "throttle": Conduct("not taken for 30 s, then good", SmsOutcome.DELIVERED),
    "no-receipt": Conduct("taken, and nothing is heard of it"),
    "early-receipt": Conduct(
        "the receipt comes before the answer", SmsOutcome.DELIVERED, (0,), is_early=True
    ),
    "twice": Conduct("two receipts", SmsOutcome.DELIVERED, (5_000, 6_000)),
    "lost-answer": Conduct(
        "taken, but the answer is lost; the receipt names our reference",
        SmsOutcome.DELIVERED,
        is_unanswered=True,
        gives_reference=True,
    ),
    "half-open": Conduct("the link is dead without a word the first time, then good", SmsOutcome.DELIVERED),
}

NUMBERS: Final[dict[str, str]] = {
    "+447700900000": "good",
    "+447700900001": "late",
    "+447700900002": "expired",
    "+447700900003": "invalid-at-submit",
    "+447700900004": "unknown-number",
    "+447700900005": "memory-full",
    "+447700900006": "operator-error",
    "+447700900007": "throttle",
    "+447700900008": "no-receipt",
    "+447700900009": "early-receipt",
    "+447700900010": "twice",
    "+447700900012": "refused",
}


class SimulatedCarrier:
    """A carrier. ``becomes``: a name of CONDUCTS for every number without one of its own, or down, or down:10m."""

    def __init__(self, clock: Clock, name: str = "simulated") -> None:
        self.asked: list[SmsRequest] = []
        self.numbers = dict(NUMBERS)
        """Number in E.164 → conduct; to be changed by stories."""
        self._name = name
        self._clock = clock
        self._prefix = f"{clock.now_ms():x}"  # a store may remember the ids of an earlier process
        self._sink: ReceiptSink | None = None
        self._rest = "good"
        self._up_again_ms: int | None = 0
        self._throttled_until: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """See `Carrier.name`."""
        return self._name

    @property
    def is_up(self) -> bool:
        """See `Carrier.is_up`."""
        return self._up_again_ms is not None and self._clock.now_ms() >= self._up_again_ms

    def becomes(self, is_told: str) -> None:
        """Behave differently from now on; `ValueError` for what it does not know."""
        kind, _, argument = is_told.partition(":")
        if kind == "down":
            self._up_again_ms = self._clock.now_ms() + duration_ms(argument) if argument else None
            return
        if kind not in CONDUCTS:
            raise ValueError(
                f"{is_told!r} is no behaviour of a carrier; there are down, {', '.join(CONDUCTS)}"
            )
        self._rest, self._up_again_ms = kind, 0

    def report_to(self, sink: ReceiptSink) -> None:
        """See `Carrier.report_to`."""
        self._sink = sink

    async def submit(self, sms: SmsRequest) -> SmsAnswer:
        """See `Carrier.submit`."""
        if not self.is_up:
            return SmsTryLater("no link")
        self.asked.append(sms)
        kind = self.numbers.get(sms.number, self._rest)
        conduct = CONDUCTS[kind]
        if conduct.refusal is not None:
            return SmsRefusedAt(conduct.refusal, conduct.reason)
        if kind == "throttle":
            now_ms = self._clock.now_ms()
            left_ms = self._throttled_until.setdefault(sms.number, now_ms + 30_000) - now_ms
            if left_ms > 0:
                return SmsTryLater("RTHROTTLED", left_ms)
        if kind == "half-open" and sum(one.reference == sms.reference for one in self.asked) == 1:
            return SmsUnanswered("no answer")
        one = f"{self._prefix}-{len(self.asked)}"
        receipt = self._receipt(one, sms, conduct)
        if receipt is not None and conduct.is_early:
            self._report(receipt)
            await asyncio.sleep(0.005)  # real time: the receipt overtakes the answer on its way
        elif receipt is not None:
            for after_ms in conduct.after_ms:
                when_ms = sms.valid_until_ms if after_ms < 0 else self._clock.now_ms() + after_ms
                self._clock.at(when_ms, self._reporter(receipt))
        if conduct.is_unanswered:
            return SmsUnanswered("the answer was lost")
        return SmsSubmitted((one,))

    def is_quiet(self) -> bool:
        """Say whether no receipt is on its way just now."""
        return not self._tasks

    def _receipt(self, one: str, sms: SmsRequest, conduct: Conduct) -> SmsReceipt | None:
        if conduct.receipt is None:
            return None
        reference = sms.reference if conduct.gives_reference else None
        return SmsReceipt(self._name, one, conduct.receipt, reference, conduct.reason)

    def _reporter(self, receipt: SmsReceipt, times: int = _TIMES) -> Callable[[], None]:
        return lambda: self._report(receipt, times)

    def _report(self, receipt: SmsReceipt, times: int = _TIMES) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(receipt, times))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, receipt: SmsReceipt, times: int) -> None:
        """Report until it is acknowledged, a few times."""
        is_taken = False
        if self._sink is not None:
            try:
                is_taken = await self._sink(receipt)
            except Exception:  # noqa: BLE001 - whatever keeps the other side from taking it, it comes again
                is_taken = False
        if not is_taken and times > 1:
            self._clock.at(self._clock.now_ms() + AGAIN_MS, self._reporter(receipt, times - 1))
