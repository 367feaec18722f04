"""The whole joint state space × all inputs × all instants that matter, walked once and judged."""

from dataclasses import dataclass, field

import pytest
from tests.lifecycle.walk import GIVEN, POLICIES, PUSH_BITS, T0, Node, Story, instants, walk

from homing.contract.status import NUMBER, Status
from homing.lifecycle import machine
from homing.lifecycle.dispatch import Clock, Command, FallbackMode, Message, State, Symbol, Transition
from homing.lifecycle.explain import Facts, explain
from homing.lifecycle.machine import begin, next_deadline, step
from homing.lifecycle.tables import DEADLINES, FALLBACK, JOINT, MESSAGE, NOTES, PUSH
from homing.lifecycle.wording import moment

pytestmark = pytest.mark.timeout(300)

# Keys of sentences that say what comes next, or that nothing does.
NEXT = frozenset(
    f"explain.{name}"
    for name in (
        "unknown_recipient",
        "next_expiry",
        "next_undelivered",
        "next_either",
        "next_unread_after_delivery",
        "next_unread",
        "next_read",
        "settled",
        "sms_waiting",
        "sms_unanswered",
        "sms_sent",
    )
)


@dataclass
class Journey:
    """What one walk over all policies met."""

    steps: int = 0
    faults: list[str] = field(default_factory=list)
    said: set[Status] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    cells: set[tuple[int, int, int]] = field(default_factory=set)
    nodes: dict[State, Node] = field(default_factory=dict)


@pytest.fixture(scope="module")
def journey() -> Journey:
    """Walk everything once, recording which cells of the tables were used."""
    met = Journey()
    original = machine._take

    def recording(state: State, phase: int, symbol: Symbol, at_ms: int, now_ms: int) -> Transition:
        met.cells.add((state.message, phase, symbol))
        return original(state, phase, symbol, at_ms, now_ms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "_take", recording)
        for policy in GIVEN:
            for visit in walk(policy):
                met.steps += 1
                if visit.faults:
                    met.faults.append(str(visit))
                met.said.update(status for status, _ in visit.node.story)
                met.nodes[visit.node.state] = visit.node
                if visit.after.note is not None:
                    met.notes.add(visit.after.note)
    return met


def test_no_step_from_any_reachable_state_breaks_a_law(journey: Journey) -> None:
    """Whatever happens, whenever, to whatever a dispatch has become: every law of CONTRACT.md §4 holds."""
    assert journey.faults == []
    assert journey.steps > 500_000


def test_all_18_statuses_can_happen(journey: Journey) -> None:
    """The tables reach each status of the contract."""
    assert journey.said == set(Status)


def test_every_note_can_happen(journey: Journey) -> None:
    """NOTES lists what the machine says, and nothing that it cannot say."""
    assert journey.notes == set(NOTES)


def test_every_message_row_is_used_in_every_state_it_names(journey: Journey) -> None:
    """The message's and the push tables have no dead entry."""
    used = {(message, symbol) for message, _, symbol in journey.cells}
    named = {(state, symbol) for row in (*MESSAGE, *PUSH) for state in row.when for symbol in row.hears}
    assert named <= used


def test_every_fallback_row_is_used_in_every_phase_it_names(journey: Journey) -> None:
    """The fallback's table has no dead entry."""
    used = {
        (phase, symbol)
        for message, phase, symbol in journey.cells
        if (row := machine._MESSAGE_ROWS.get((Message(message), Symbol(symbol)))) is None or row.hands_on
    }
    named = {(phase, symbol) for row in FALLBACK for phase in row.when for symbol in row.hears}
    assert named <= used


def test_every_joint_row_is_used_in_every_pair_it_names(journey: Journey) -> None:
    """The joint table has no dead entry."""
    met = {
        (row.then, phase)
        for message, phase, symbol in journey.cells
        if (row := machine._MESSAGE_ROWS.get((Message(message), Symbol(symbol)))) is not None
    }
    assert {(message, phase) for row in JOINT for message in row.messages for phase in row.phases} <= met


def test_every_deadline_takes_effect_in_both_modes(journey: Journey) -> None:
    """Each column that only the clock has is reached."""
    columns = {symbol for row in DEADLINES for symbol in (row.notify, row.sms)}
    assert columns <= {symbol for _, _, symbol in journey.cells}
    assert columns == {symbol for symbol in Symbol if symbol >= Symbol.EXPIRY}


def test_late_or_on_time_the_story_is_the_same(journey: Journey) -> None:
    """A clock that looks once, late, gives the events, times and state of one that looks at every deadline (law 7)."""
    for node in journey.nodes.values():
        late = step(node.state, Clock(), instants(node)[-1])
        state = node.state
        story: Story = ()
        commands: tuple[Command, ...] = ()
        while (deadline := next_deadline(state)) is not None:
            punctual = step(state, Clock(), deadline)
            state, story, commands = punctual.state, story + punctual.events, commands + punctual.commands
        assert (late.state, late.events) == (state, story)
        assert len(commands) - len(late.commands) in {
            0,
            2,
        }  # what was begun and dropped unseen is not commanded


def test_push_answers_move_nothing(journey: Journey) -> None:
    """States that differ only in the push statuses said go the same ways (law 8)."""
    bare = {_without_push(state) for state in journey.nodes}
    silent = {_without_push(state) for state in journey.nodes if not state.emitted & PUSH_BITS}
    assert bare == silent


def _without_push(state: State) -> tuple[int | bool | None, ...]:
    return (
        state.message,
        state.fallback,
        state.emitted & ~PUSH_BITS,
        state.sms_submitted_at is None,
        *state[5:9],
    )


def test_every_reachable_state_is_explained(journey: Journey) -> None:
    """In each state there is a sentence that says why it is there and one that says what comes next, and when."""
    for state, node in journey.nodes.items():
        sentences = explain(Facts(state, "bob", node.now, events=node.story))
        keys = [sentence.key for sentence in sentences]
        assert 1 <= len(sentences) <= 6
        assert len(set(keys)) == len(keys)
        assert NEXT.intersection(keys), (state, keys)
        text = " ".join(sentence.text for sentence in sentences)
        assert "{" not in text
        deadline = next_deadline(state)
        if deadline is not None and not (state.mode and state.message == Message.ENQUEUED):
            assert moment(deadline, node.now) in text
        if state.mode == FallbackMode.OFF and state.message != Message.UNKNOWN:
            assert "allback" not in text


@pytest.mark.parametrize("known", [True, False])
def test_a_dispatch_begins_with_one_event(known: bool) -> None:
    """Acceptance says `enqueued` for a known recipient and `IdentifierNotFound` for an unknown one, and no more."""
    for policy in POLICIES.values():
        start = begin(known, policy, T0)
        status = Status.ENQUEUED if known else Status.IDENTIFIER_NOT_FOUND
        assert start.events == ((status, T0),)
        assert (start.commands, start.note) == ((), None)
        assert (start.state.events, start.state.emitted) == (1, 1 << NUMBER[status])
        assert start.state[5:9] == policy
