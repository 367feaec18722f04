"""What a commit of unknown outcome left to a courier is found, and what is held here is not done twice."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from tests.channels.fakes import House, ScriptedCarrier, ScriptedPush, device
from tests.channels.town import town

from homing.channels import courier as courier_module
from homing.channels.held import Held, messages_of
from homing.channels.sms import SmsAnswer, SmsRequest, SmsSubmitted
from homing.errors import Unavailable
from homing.lifecycle.dispatch import Received
from homing.model import Body, CommandKind, DispatchKey, dispatch_key, message_of
from homing.simulator.clock import VirtualClock
from homing.store.batch import Accept, Batch, CommandDone, CommandWork, Committed, Occurrence, Result
from homing.store.views import PushJob

Run = Callable[[Coroutine[Any, Any, Any]], Any]


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
        async with town({"ios": service}, house=house) as it:
            house.hidden()
            await service.asked.until(1)
            await it.after()
            assert len(service.asked) == 1
            assert not house.commands

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
            await carrier.asked.until(1)
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


class Slow(Hides):
    """A house whose answers about jobs, claims and commands of ours are held back until `hear`."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.asked: list[str] = []
        self._heard = asyncio.Event()
        self.holds_back = ""

    def hear(self) -> None:
        """Give the answers that were held back."""
        self.holds_back = ""
        self._heard.set()

    async def _answer(self, question: str) -> None:
        if question == self.holds_back:
            self.asked.append(question)
            await self._heard.wait()

    async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
        jobs = await super().push_jobs(keys)
        await self._answer("jobs")
        return jobs

    async def claim_commands(self, limit: int) -> list[CommandWork]:
        works = await super().claim_commands(limit)
        if works:
            await self._answer("claim")
        return works

    async def held_commands(self, after: tuple[bytes, int], limit: int) -> list[CommandWork]:
        works = await super().held_commands(after, limit)
        if works:
            await self._answer("held")
        return works

    async def record(self, occurrences: Sequence[Occurrence]) -> list[Result]:
        results = await super().record(occurrences)
        await self._answer("record")
        return results

    def another_takes(self, key: DispatchKey, kind: CommandKind) -> None:
        """Another node takes a command over and carries it out."""
        del self.commands[key, kind]


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def _asked(house: Slow) -> None:
    async with asyncio.timeout(5):
        while not house.asked:
            await asyncio.sleep(0)


@pytest.mark.parametrize("question", ["jobs", "claim", "held"])
def test_what_was_asked_before_a_lost_term_is_not_done_after_it(run: Run, question: str) -> None:
    """The answer comes when another node may have the command, and be at it."""

    async def story() -> None:
        house, service = Slow(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            house.holds_back = question
            if question == "jobs":
                key = house.message(device("a"))
            else:
                key = house.hidden()
            if question == "claim":
                house.commands[key, CommandKind.PUSH] = (0, it.clock.now_ms(), None)
                it.courier.on_work(it.clock.now_ms())
                it.clock.jump_to(it.clock.now_ms() + 1)
            if question == "held":
                it.courier.on_unknown(Batch(occurrences=[Occurrence(key, Received())]))
            await _asked(house)
            it.courier.lost()
            house.another_takes(key, CommandKind.PUSH)
            house.hear()
            await _turns()
            await it.after(2)
            assert not service.asked

    run(story())


def test_what_a_look_found_is_not_done_again_when_its_claim_is_answered(run: Run) -> None:
    """The claim was stored before the look, and its answer comes when the push is long done."""

    async def story() -> None:
        house, service = Slow(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            key = house.hidden()
            house.commands[key, CommandKind.PUSH] = (0, it.clock.now_ms(), None)
            house.holds_back = "claim"
            it.courier.on_work(it.clock.now_ms())
            it.clock.jump_to(it.clock.now_ms() + 1)
            await _asked(house)
            it.courier.on_unknown(Batch(occurrences=[Occurrence(key, Received())]))
            async with asyncio.timeout(5):
                while house.commands:
                    await asyncio.sleep(0)
            await _turns()
            house.hear()
            await it.after()
            assert [job.key for job in service.asked] == [key]

    run(story())


def test_what_waits_for_a_store_that_fails_is_dropped_with_the_term(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that cannot reach the store loses its term for that very reason; claimed anew the command is done."""

    class Down(Hides):
        async def push_jobs(self, keys: Sequence[bytes]) -> list[PushJob]:
            if not self.looks:
                self.looks += 1
                raise Unavailable
            return await super().push_jobs(keys)

    async def story() -> None:
        house, service = Down(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            key = house.message(device("a"))
            async with asyncio.timeout(5):
                while not house.looks:
                    await asyncio.sleep(0)
            await _turns()
            taken = house.commands.pop((key, CommandKind.PUSH))
            it.courier.lost()
            await it.after()
            assert not service.asked
            house.commands[key, CommandKind.PUSH] = (taken[0], it.clock.now_ms(), None)
            it.courier.on_work(it.clock.now_ms())
            await it.after(1)
            assert [job.key for job in service.asked] == [key]

    monkeypatch.setattr(courier_module, "_AFTER_FAILURE_S", 0.001)
    run(story())


def test_a_push_is_not_begun_where_the_term_is_not_sure_any_more(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store took so long to say whom to push to that the try might outlive the term; it goes once that is renewed."""

    async def story() -> None:
        house, service = Slow(VirtualClock()), ScriptedPush()
        async with town({"ios": service}, house=house) as it:
            house.holds_back = "jobs"
            key = house.message(device("a"))
            await _asked(house)
            it.courier._may_start = lambda: False
            house.hear()
            await _turns()
            assert not service.asked
            it.courier._may_start = lambda: True
            await it.after()
            assert [job.key for job in service.asked] == [key]

    monkeypatch.setattr(courier_module, "_AFTER_FAILURE_S", 0.001)
    run(story())


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "not sure any more"])
def test_an_sms_whose_intent_was_stored_late_is_not_sent(run: Run, *, is_lost: bool) -> None:
    """By then another node may be sending it; where it is still ours it goes as soon as the term is sure."""

    async def story() -> None:
        house, carrier = Slow(VirtualClock()), ScriptedCarrier()
        async with town(carrier=carrier, house=house) as it:
            key = house.message(fallback_s=60)
            house.holds_back = "record"
            it.clock.jump_to(it.clock.now_ms() + 60_000)
            await _asked(house)
            if is_lost:
                it.courier.lost()
            it.courier._may_start = lambda: False
            house.hear()
            await _turns()
            assert not carrier.asked
            it.courier._may_start = lambda: True
            await it.after(5)
            assert len(carrier.asked) == 1
            assert not house.commands
            assert house.said[key][-1] == "fallbackSent"

    run(story())
