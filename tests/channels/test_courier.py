"""The courier's own duties: what it claims, how much it takes, that a restart finds everything, and that it rests."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from tests.channels.fakes import House, ScriptedCarrier, ScriptedPush, device
from tests.channels.town import town

from homing.channels import courier as courier_module
from homing.channels.held import Held, messages_of
from homing.channels.push import PushOutcome, PushRequest, PushVerdict
from homing.channels.retry import push_delay_ms, sms_delay_ms
from homing.channels.sms import SmsAnswer, SmsReceipt, SmsRequest, SmsSubmitted, SmsUnanswered
from homing.errors import Unavailable
from homing.lifecycle.dispatch import Received, SmsOutcome
from homing.model import Body, CommandKind, DispatchKey, dispatch_key, message_of
from homing.simulator.clock import VirtualClock
from homing.store.batch import Accept, Batch, CommandDone, CommandWork, Committed, Occurrence, Outlook
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
            async with asyncio.timeout(5):
                while not first.asked:
                    await asyncio.sleep(0)
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
                await asyncio.sleep(0.001)
                most[0] -= 1
                return await super().push(job)

        service = Counts()
        async with town({"ios": service}) as it:
            for _ in range(100):
                it.house.message(device("a"))
            await it.after()
            assert len(service.asked) == 100
            assert most[1] <= 8
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
        is_asked = asyncio.Event()

        class Tells(ScriptedPush):
            async def push(self, job: PushRequest) -> PushOutcome:
                is_asked.set()
                return await super().push(job)

        async with town({"ios": Tells()}) as it:
            house = it.house
            sink, house.sink = house.sink, lambda _batch, _committed: None
            key = house.message(device("a"))
            house.sink = sink
            house.commands[key, CommandKind.PUSH] = (0, house.clock.now_ms(), None)
            async with asyncio.timeout(5):
                await is_asked.wait()

    monkeypatch.setattr(courier_module, "_SWEEP_S", 0.005)
    run(story())


class Hides(House):
    """A house that stores a command and tells nobody: its commit's outcome is unknown."""

    def hidden(self) -> DispatchKey:
        sink, self.sink = self.sink, lambda _batch, _committed: None
        key = self.message(device("a"))
        self.sink = sink
        return key


def test_a_command_of_a_commit_of_unknown_outcome_is_looked_for(run: Run) -> None:
    """Stored after all and told to nobody: it is found at once, by what the batch was about; another message's is not."""

    async def story() -> None:
        house, service = Hides(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            accepted, happened, other = [house.hidden() for _ in range(3)]
            accept = Accept(message_of(accepted), 1, None, Body("hello"), ())
            it.courier.on_unknown(Batch(accepts=[accept], occurrences=[Occurrence(happened, Received())]))
            await it.after()
            assert sorted(job.key for job in service.asked) == [accepted, happened]
            assert list(house.commands) == [(other, CommandKind.PUSH)]

    run(story())


def test_a_store_that_does_not_answer_is_asked_again_for_what_it_may_hold(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look after a commit of unknown outcome does not end with the first failure."""

    class Deaf(Hides):
        async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
            if not self.looks:
                self.looks += 1
                raise Unavailable
            return await super().held_commands(after, limit)

    async def story() -> None:
        house, service = Deaf(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            key = house.hidden()
            it.courier.on_unknown(Batch(occurrences=[Occurrence(key, Received())]))
            await it.after()
            assert [job.key for job in service.asked] == [key]

    monkeypatch.setattr(courier_module, "_AFTER_FAILURE_S", 0.001)
    run(story())


def test_the_sweep_finds_a_command_that_is_ours_and_that_nobody_here_holds(run: Run) -> None:
    """Seen twice as ours and not held it was forgotten, as after a claim of unknown outcome; once is no proof."""

    async def story() -> None:
        house, service = Hides(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            key = house.hidden()
            await it.courier._held.sweep()
            await it.after()
            assert not service.asked
            await it.courier._held.sweep()
            await it.after()
            assert [job.key for job in service.asked] == [key]
            assert not house.commands

    run(story())


def test_the_courier_sweeps_by_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was forgotten is found though nobody asks."""

    async def story() -> None:
        house, service = Hides(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house):
            house.hidden()
            async with asyncio.timeout(5):
                while house.commands:
                    await asyncio.sleep(0.001)
            assert len(service.asked) == 1

    monkeypatch.setattr(courier_module, "_SWEEP_S", 0.005)
    run(story())


def test_what_is_under_way_here_is_not_missing(run: Run) -> None:
    """An SMS that hangs at its carrier is not sent again, however often the store says that it is ours."""

    async def story() -> None:
        hang = asyncio.Event()

        class Hangs(ScriptedCarrier):
            async def submit(self, sms: SmsRequest) -> SmsAnswer:
                self.asked.append(sms)
                await hang.wait()
                return SmsSubmitted(("id1",))

        carrier = Hangs()
        async with town(carrier=carrier) as it:
            key = it.house.message(fallback_s=60)
            it.clock.jump_to(it.clock.now_ms() + 60_000)
            async with asyncio.timeout(5):
                while not carrier.asked:
                    await asyncio.sleep(0)
            it.clock.jump_to(it.clock.now_ms() + 60_000)
            unknown = Batch(occurrences=[Occurrence(key, Received())])
            for _ in range(3):
                await it.courier._held.sweep()
                await it.courier._held.look_for(messages_of(unknown))
                it.courier.committed(Batch(), Committed(0, commands=[CommandWork(key, CommandKind.SMS)]))
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(carrier.asked) == 1
            hang.set()
            await it.after()
            assert len(carrier.asked) == 1
            assert not it.house.commands

    run(story())


def test_what_ended_while_the_store_was_asked_is_not_done_again(run: Run) -> None:
    """The answer of a look may be older than the outcome that is on disk by then."""

    async def story() -> None:
        house = House(VirtualClock())
        given: list[CommandWork] = []
        key = dispatch_key(bytes(16), 0)
        work = CommandWork(key, CommandKind.SMS)

        class Late(House):
            async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
                if after[0]:
                    return []
                held.ended([CommandDone(key, CommandKind.SMS)])
                return [work]

        held = Held(Late(house.clock), given.extend)
        assert held.take([work]) == [work]
        for _ in range(2):
            await held.sweep()
            await held.look_for(frozenset([message_of(key)]))
        assert not given
        assert held.take([work]) == [work]

    run(story())


def test_what_is_lost_before_it_was_begun_may_be_taken_again(run: Run) -> None:
    """After a term that ran out the node claims what it had dropped, if nobody else did."""

    async def story() -> None:
        house, service = Hides(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            key = house.hidden()
            it.courier._backlog.extend(it.courier._held.take([CommandWork(key, CommandKind.PUSH)]))
            it.courier.lost()
            await it.courier._held.look_for(frozenset([message_of(key)]))
            await it.after()
            assert [job.key for job in service.asked] == [key]

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
            async with asyncio.timeout(5):
                while not service.asked:
                    await asyncio.sleep(0)
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
