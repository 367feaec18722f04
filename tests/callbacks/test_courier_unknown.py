"""What couriers do when the store fails them: a commit of which nobody knows, a settle or a claim that is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.callbacks.conftest import AtWork
from tests.callbacks.office import Answer, Office, script
from tests.engine.fakes import until

from homing.callbacks import leftovers
from homing.errors import CommitUnknown, Unavailable
from homing.lifecycle.dispatch import Read, Received
from homing.store.batch import Batch, Committed
from homing.store.port import Claimed, Ledger


class Flaky:
    """A ledger in front of the real one that fails once where it is told to."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.unknown = 0
        self.busy = 0
        self.poisoned = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def commit(self, batch: Batch) -> Committed:
        """Store it, and lose the answer as often as told; or fail as one that cannot be stored."""
        if self.poisoned and batch.settles:
            self.poisoned -= 1
            raise RuntimeError("poison")
        committed = await self._ledger.commit(batch)
        if self.unknown:
            self.unknown -= 1
            raise CommitUnknown
        return committed

    async def claim_lanes(self, endpoint: int, limit: int, chance: float | None = None) -> Claimed:
        """Fail as often as told."""
        if self.busy:
            self.busy -= 1
            raise Unavailable("busy")
        return await self._ledger.claim_lanes(endpoint, limit, chance)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ledger], Ledger]:
    """Return what puts a `Flaky` in front of a ledger, with short waits after failures."""
    monkeypatch.setattr(leftovers, "AGAIN_S", 0.001)
    monkeypatch.setattr("homing.engine.loop.AGAIN_S", 0.001)

    def wrap(ledger: Ledger) -> Ledger:
        return Flaky(ledger)

    return wrap


def test_lanes_of_a_commit_with_unknown_outcome_are_found_in_the_store(
    at_work: AtWork, flaky: Callable[[Ledger], Ledger]
) -> None:
    """The sender got 503; what was stored after all is told at once, and receipts are recorded once more."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        ledger = place.engine._ledger
        ledger.unknown = 1  # type: ignore[attr-defined]
        with pytest.raises(CommitUnknown):
            await place.send()
        await place.quiet()
        assert place.sender.statuses() == ["enqueued"]
        key = await place.send()
        await place.quiet()
        ledger.unknown = 1  # type: ignore[attr-defined]
        await place.happen(key, Read())
        await place.quiet()
        assert place.sender.statuses() == ["enqueued", "enqueued", "delivered", "read"]
        assert (await place.told(key, endpoint)).settled == 0b111

    at_work(story, wrap=flaky)


@pytest.mark.parametrize("answer", [Answer(), Answer(500), Answer(410)])
def test_settles_of_a_commit_with_unknown_outcome_are_repeated_harmlessly(
    at_work: AtWork, flaky: Callable[[Ledger], Ledger], answer: Answer
) -> None:
    """The second time finds done what the first did."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        await until(lambda: place.sender.open)
        place.engine._ledger.unknown = 1  # type: ignore[attr-defined]
        place.sender.let_go(answer)
        place.sender.answer = lambda _: Answer()
        await place.quiet()
        await place.push(5_000)
        view = await place.told(key, endpoint)
        assert (view.pending, view.settled, view.dead) == (
            0,
            int(answer.status != 410),
            int(answer.status == 410),
        )
        assert len(place.sender.tries) == (2 if answer.status == 500 else 1)
        assert place.courier.waiting() == {}

    at_work(story, wrap=flaky)


def test_an_event_whose_settle_cannot_be_stored_is_told_again(
    at_work: AtWork, flaky: Callable[[Ledger], Ledger]
) -> None:
    """Its lane is let go and found by the sweep, and what comes after it is told in its turn."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.engine._ledger.poisoned = 1  # type: ignore[attr-defined]
        key = await place.send()
        await place.quiet()
        assert place.courier.waiting() == {}
        await place.happen(key, Received())
        for _ in range(2):
            await place.courier._leftovers.sweep()
            await place.quiet()
        assert place.sender.statuses() == ["enqueued", "enqueued", "delivered"]
        assert (await place.told(key, endpoint)).settled == 0b11

    at_work(story, wrap=flaky)


def test_a_claim_that_fails_is_made_again(at_work: AtWork, flaky: Callable[[Ledger], Ledger]) -> None:
    """The store was busy: what is due is still due."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = script(Answer(500))
        await place.send()
        await place.quiet()
        place.engine._ledger.busy = 2  # type: ignore[attr-defined]
        await place.push(5_000)
        assert len(place.sender.tries) == 2

    at_work(story, wrap=flaky)
