"""The courier's own duties: what it claims, how much it takes, that a restart finds everything, and that it rests."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from tests.channels.fakes import House, ScriptedCarrier, ScriptedPush, device
from tests.channels.town import town

from homing.channels import courier as courier_module
from homing.channels.push import PushOutcome, PushRequest, PushVerdict
from homing.channels.retry import push_delay_ms, sms_delay_ms
from homing.channels.sms import SmsReceipt, SmsRequest, SmsUnanswered
from homing.errors import Unavailable
from homing.lifecycle.dispatch import SmsOutcome
from homing.model import CommandKind
from homing.simulator.clock import VirtualClock
from homing.store.batch import CommandWork, Outlook
from homing.store.changes import Change
from homing.store.port import Applied
from homing.store.views import PushJob

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_restart_finds_what_was_left(run: Run) -> None:
    """A push put off by one process is done by the next one, at its time."""

    async def story() -> None:
        house = House(VirtualClock())
        async with town(
            {"ios": ScriptedPush(PushOutcome(PushVerdict.TRY_LATER, None, 60_000))}, house=house
        ) as it:
            key = house.message(device("a"))
            await it.after()
        service = ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            await it.after(59)
            assert not service.asked
            await it.after(1)
            assert house.said[key] == ["enqueued", "PushSent"]

    run(story())


def test_an_sms_left_in_flight_by_a_crash_waits_and_goes_again(run: Run) -> None:
    """Found with its intent stored and no outcome: 30 s after that, it is submitted again."""

    async def story() -> None:
        house = House(VirtualClock())

        class Hangs(ScriptedCarrier):
            async def submit(self, sms: SmsRequest) -> SmsUnanswered:
                self.asked.append(sms)
                await hang.wait()
                return SmsUnanswered()

        hang = asyncio.Event()
        first = Hangs()
        async with town(carrier=first, house=house) as it:
            key = house.message(fallback_s=60)
            house.clock.jump_to(house.clock.now_ms() + 60_000)
            await first.asked.until(1)
            # The crash: a new process finds the command as nobody's.
            house.commands[key, CommandKind.SMS] = (0, house.clock.now_ms(), None)
            second = ScriptedCarrier()
            async with town(carrier=second, house=house) as again:
                await again.after(29.9)
                assert not second.asked
                await again.after(0.2)
                assert len(second.asked) == 1
            hang.set()
        del it

    run(story())


def test_one_query_per_hand_over_and_no_more_than_the_bound_in_flight(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood is worked off in groups, never more at a time than allowed, and none is forgotten."""

    async def story() -> None:
        most = [0, 0]

        class Counts(ScriptedPush):
            async def push(self, job: PushRequest) -> PushOutcome:
                most[0] += 1
                most[1] = max(most)
                await asyncio.sleep(0)  # others begin meanwhile
                most[0] -= 1
                return await super().push(job)

        service = Counts()
        async with town({"ios": service}) as it:
            for _ in range(100):
                it.house.message(device("a"))
            await it.after()
            assert len(service.asked) == 100
            assert most[1] == 8
            assert it.house.queries < 40
            assert not it.house.commands

    monkeypatch.setattr(courier_module, "MAX_IN_FLIGHT", 8)
    monkeypatch.setattr(courier_module, "HAND_OVER", 16)
    run(story())


def test_what_does_not_fit_into_memory_goes_back_to_the_store(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the backlog commands wait in the store and come again."""

    async def story() -> None:
        service = ScriptedPush()
        async with town({"ios": service}) as it:
            for _ in range(30):
                it.house.message(device("a"))
            assert len(it.courier._backlog) <= 4
            await it.after(30)
            assert len(service.asked) == 30
            assert not it.house.commands

    monkeypatch.setattr(courier_module, "MAX_IN_FLIGHT", 2)
    monkeypatch.setattr(courier_module, "HAND_OVER", 8)
    monkeypatch.setattr(courier_module, "MAX_BACKLOG", 4)
    run(story())


def test_a_command_whose_message_is_gone_is_finished(run: Run) -> None:
    """Nothing is left behind for what the store no longer knows."""

    async def story() -> None:
        service = ScriptedPush()
        async with town({"ios": service}) as it:
            key = it.house.message(device("a"))
            del it.house.states[key]
            await it.after()
            assert not service.asked
            assert not it.house.commands

    run(story())


def test_closing_waits_for_what_is_in_flight(run: Run) -> None:
    """A push that has left is told about before the courier is gone; nothing new begins."""

    async def story() -> None:
        service = ScriptedPush()
        async with town({"ios": service}) as it:
            key = it.house.message(device("a"))
            await asyncio.sleep(0)
            await it.courier.close()
            while not it.house.is_quiet():
                await asyncio.sleep(0)
            assert len(service.asked) == 1
            assert "PushSent" in it.house.said[key]

    run(story())


class Fails(House):
    """A house whose store fails once at each thing that is asked of it."""

    def __init__(self, clock: VirtualClock, *, what: str) -> None:
        super().__init__(clock)
        self.left = {what}

    def _fail(self, what: str) -> None:
        if what in self.left:
            self.left.remove(what)
            raise Unavailable

    async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
        self._fail("push_jobs")
        return await super().push_jobs(keys)

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        if self.said:  # not at the start
            self._fail("claim_commands")
        return await super().claim_commands(limit)

    async def outlook(self) -> Outlook:
        if self.said:
            self._fail("outlook")
        return await super().outlook()

    async def apply(self, change: Change) -> Applied:
        self._fail("apply")
        return await super().apply(change)


@pytest.mark.parametrize("what", ["push_jobs", "claim_commands", "outlook", "apply"])
def test_a_store_that_fails_once_costs_no_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whatever the courier asks of the store may fail: the push is done all the same, a little later."""

    async def story() -> None:
        house = Fails(VirtualClock(), what=what)
        service = ScriptedPush(
            PushOutcome(PushVerdict.TRY_LATER), PushOutcome(PushVerdict.TOKEN_INVALID, "410")
        )
        async with town({"ios": service}, house=house) as it:
            key = house.message(device("a"))
            await it.after(10)
            assert house.said[key] == ["enqueued", "iOSErrorInvalidToken"]
            assert not house.left
            assert not house.commands

    monkeypatch.setattr(courier_module, "_AFTER_FAILURE_S", 0.001)
    monkeypatch.setattr(courier_module, "_ASK_EVERY_S", 0.0)
    run(story())


def test_the_sweep_finds_a_command_nobody_told_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A due command that never came with a commit is found by looking into the store now and then."""

    async def story() -> None:
        service = ScriptedPush()
        async with town({"ios": service}) as it:
            house = it.house
            sink, house.sink = house.sink, lambda _batch, _committed: None
            key = house.message(device("a"))
            house.sink = sink
            house.commands[key, CommandKind.PUSH] = (0, house.clock.now_ms(), None)
            await service.asked.until(1)

    monkeypatch.setattr(courier_module, "_SWEEP_S", 0.005)
    run(story())


def test_closing_does_not_wait_for_ever(run: Run) -> None:
    """A service that never answers holds up no shutdown; its command is still there for the next process."""

    class Hangs(ScriptedPush):
        async def push(self, job: PushRequest) -> PushOutcome:
            self.asked.append(job)
            await asyncio.Event().wait()
            raise AssertionError

    async def story() -> None:
        service = Hangs()
        async with town({"ios": service}) as it:
            key = it.house.message(device("a"))
            await service.asked.until(1)
            async with asyncio.timeout(5):
                await it.courier.close(0.01)
            assert (key, CommandKind.PUSH) in it.house.commands

    run(story())


def test_retries_grow_to_a_bound() -> None:
    """Delays double from the platform's first to its cap, spread by ±10 %, and a service's own wish goes first."""
    assert [push_delay_ms("ios", tries, None, 0.5) for tries in (0, 1, 2, 30)] == [
        1_000,
        2_000,
        4_000,
        60_000,
    ]
    assert push_delay_ms("android", 0, None, 0.0) == 9_000
    assert push_delay_ms("android", 0, 90_000, 0.0) == 90_000
    assert push_delay_ms("ios", 0, 1, 0.0) == 1_000
    assert [sms_delay_ms(tries, None, 1.0) for tries in (0, 1, 20)] == [5_500, 11_000, 330_000]


def test_answers_and_receipts_are_counted(run: Run) -> None:
    """Each answer of a push service and a carrier, and each receipt, is one count under its name."""

    class Counted:
        def __init__(self) -> None:
            self.said: list[tuple[str, str]] = []

        def push(self, service: str, outcome: str) -> None:
            self.said.append((service, outcome))

        def sms(self, carrier: str, outcome: str) -> None:
            self.said.append((carrier, outcome))

    async def story() -> None:
        counts, carrier = Counted(), ScriptedCarrier()
        async with town({"ios": ScriptedPush()}, carrier, counts=counts) as it:
            it.house.message(device("a"), fallback_s=60)
            await it.after(60)
            await carrier.report(SmsReceipt("tim", "id1", SmsOutcome.DELIVERED))
        assert counts.said == [("ios", "accepted"), ("tim", "submitted"), ("tim", "receipt_delivered")]

    run(story())
