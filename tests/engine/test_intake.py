"""How a batch is taken from the queues: precedence, sizes, fairness, halves."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.engine.fakes import new_key, to_accept, to_settle, to_take_in

from homing.engine.intake import BATCH_DISPATCHES, BATCH_SETTLES, CLOCK_DISPATCHES, Intake, Taken
from homing.errors import HomingError, Unavailable
from homing.lifecycle.dispatch import Clock, Read
from homing.model import CommandKind
from homing.store.batch import CommandDone, Note, Occurrence

Run = Callable[[Coroutine[Any, Any, None]], None]


def fill(intake: Intake, happened: int = 0, accepts: tuple[int, ...] = (), ticks: int = 0) -> None:
    """Queue so many receipts, messages to so many recipients each, and deadlines."""
    intake.happened.extend((Occurrence(new_key(), Read()), None) for _ in range(happened))
    for recipients in accepts:
        intake.accept(to_accept(recipients), 0.0)
    if ticks:
        intake.tick([new_key() for _ in range(ticks)])


def sizes(taken: Taken) -> tuple[int, list[int], int]:
    """Return receipts, recipients of each message, deadlines."""
    return len(taken.happened), [len(a.addressees) for a, _ in taken.accepts], len(taken.ticked)


def test_receipts_come_before_messages_and_those_before_the_clock(run: Run) -> None:
    """Within one batch, occurrences of devices stand before those of the clock."""

    async def story() -> None:
        intake = Intake()
        fill(intake, happened=2, accepts=(1,), ticks=2)
        intake.settles.append(to_settle())
        batch = intake.take(frozenset({7})).batch()
        assert [type(o.input) for o in batch.occurrences] == [Read, Read, Clock, Clock]
        assert (len(batch.settles), len(batch.accepts), batch.born_free) == (1, 1, frozenset({7}))
        assert not intake

    run(story())


def test_a_batch_has_so_many_dispatches(run: Run) -> None:
    """The rest waits for the next one, in its order."""

    async def story() -> None:
        intake = Intake()
        fill(intake, happened=300, accepts=(100, 100, 1))
        assert sizes(intake.take(frozenset())) == (300, [100, 100], 0)
        assert sizes(intake.take(frozenset())) == (0, [1], 0)
        intake.settles.extend(to_settle() for _ in range(BATCH_SETTLES + 1))
        assert len(intake.take(frozenset()).settles) == BATCH_SETTLES
        assert len(intake.settles) == 1

    run(story())


def test_a_message_is_never_split(run: Run) -> None:
    """One that fits into no batch is a batch of its own, whole."""

    async def story() -> None:
        intake = Intake()
        fill(intake, accepts=(400, 1_000, 1))
        assert sizes(intake.take(frozenset()))[1] == [400]
        assert sizes(intake.take(frozenset()))[1] == [1_000]
        assert sizes(intake.take(frozenset()))[1] == [1]

    run(story())


@pytest.mark.parametrize("recipients", [1, 300, 1_000])
def test_however_many_receipts_messages_get_on(run: Run, recipients: int) -> None:
    """A message that found no room in one batch has the first place in the next."""

    async def story() -> None:
        intake = Intake()
        fill(intake, happened=3 * BATCH_DISPATCHES, accepts=(recipients,))
        assert sizes(intake.take(frozenset()))[:2] == (500, [])
        happened, accepts, _ = sizes(intake.take(frozenset()))
        assert accepts == [recipients]
        assert happened == max(0, BATCH_DISPATCHES - recipients)
        assert sizes(intake.take(frozenset()))[0] == BATCH_DISPATCHES

    run(story())


def test_however_busy_the_rest_the_clock_gets_on(run: Run) -> None:
    """A few deadlines are in every batch, and never so many that they are in the way."""

    async def story() -> None:
        intake = Intake()
        fill(intake, happened=BATCH_DISPATCHES, ticks=500)
        assert sizes(intake.take(frozenset()))[2] == CLOCK_DISPATCHES // 10
        assert sizes(intake.take(frozenset()))[2] == CLOCK_DISPATCHES

    run(story())


def test_what_is_given_back_stands_in_front(run: Run) -> None:
    """In its old order, before what came meanwhile; messages are not given back."""

    async def story() -> None:
        intake = Intake()
        fill(intake, happened=2, accepts=(1,), ticks=1)
        intake.settles.append(to_settle())
        intake.notes.append(Note(new_key(), "x"))
        intake.commands.append(CommandDone(new_key(), CommandKind.PUSH))
        taken = intake.take(frozenset())
        fill(intake, happened=1)
        late = intake.happened[0]
        intake.give_back(taken)
        assert list(intake.happened) == [*taken.happened, late]
        assert (len(intake.settles), len(intake.notes), len(intake.commands), len(intake.ticked)) == (
            1,
            1,
            1,
            1,
        )
        assert not intake.accepts

    run(story())


def test_halves_hold_everything_once_and_in_order(run: Run) -> None:
    """Down to the single items, none of which can be halved."""

    async def story() -> None:
        intake = Intake()
        fill(intake, happened=3, accepts=(1, 2), ticks=2)
        intake.settles.append(to_settle())
        intake.incomings.append((to_take_in(), None))  # type: ignore[arg-type]
        intake.notes.append(Note(new_key(), "x"))
        intake.commands.append(CommandDone(new_key(), CommandKind.PUSH))
        whole = intake.take(frozenset())
        pieces = [whole]
        while any(piece.halves() for piece in pieces):
            pieces = [half for piece in pieces for half in (piece.halves() or (piece,))]
        assert [piece.kind() for piece in pieces] == [
            "settle", "command", "note", *["occurrence"] * 3, "incoming", "accept", "accept",
            "deadline", "deadline",
        ]  # fmt: skip
        assert [o for piece in pieces for o in piece.happened] == whole.happened
        assert [piece.has_owed() for piece in pieces].count(False) == 3

    run(story())


def test_waiting_is_counted_from_the_oldest_message(run: Run) -> None:
    """And in recipients, all of them gone when the messages are taken."""

    async def story() -> None:
        intake = Intake()
        assert intake.waited_s(9.0) == 0.0
        intake.accept(to_accept(3), 1.0)
        intake.accept(to_accept(2), 2.0)
        assert (intake.waited_s(9.0), intake.waiting_recipients) == (8.0, 5)
        intake.take(frozenset())
        assert (intake.waited_s(9.0), intake.waiting_recipients) == (0.0, 0)

    run(story())


def test_who_waits_is_told_once(run: Run) -> None:
    """A failure reaches senders and recorders; one who went away is no fault."""

    async def story() -> None:
        intake = Intake()
        gone, here = intake.accept(to_accept(), 0.0), intake.accept(to_accept(), 0.0)
        gone.cancel()
        taken = intake.take(frozenset())
        taken.fail_new(Unavailable("full"))
        taken.fail(HomingError("twice"))
        with pytest.raises(Unavailable):
            await here

    run(story())
