"""The engine that runs the tables: `begin`, `step`, `next_deadline`. It decides nothing that is not in `tables`.

At import the small tables are composed into one array, CELLS[message][phase][symbol], so that a step is a look-up;
the walk in tests/lifecycle visits every cell that can be reached.
"""

from itertools import product
from typing import Final, NamedTuple

from homing.contract.status import NUMBER, Status, mask
from homing.lifecycle.dispatch import (
    Command,
    Fallback,
    FallbackMode,
    Input,
    Message,
    Policy,
    State,
    Symbol,
    Transition,
)
from homing.lifecycle.policy import stamp
from homing.lifecycle.tables import DEADLINES, FALLBACK, JOINT, MESSAGE, PUSH, STORED_AS, Phase


class Cell(NamedTuple):
    """What one column does in one pair (message, phase): the composed row. Plain numbers, for speed."""

    message: int
    fallback: int
    says: tuple[Status, ...]
    bits: int
    """`says` as a set of status numbers."""
    commands: tuple[Command, ...]
    note: str | None
    is_idle: bool
    """Nothing changes but, perhaps, the note."""
    delivers: bool
    falls_back: bool
    submits: bool


_MESSAGE_ROWS: Final = {
    (message, symbol): row for row in (*MESSAGE, *PUSH) for message, symbol in product(row.when, row.hears)
}
_FALLBACK_ROWS: Final = {
    (phase, symbol): row for row in FALLBACK for phase, symbol in product(row.when, row.hears)
}
_JOINT_ROWS: Final = {pair: row for row in JOINT for pair in product(row.messages, row.phases)}
_FALLBACK_BITS: Final = mask((Status.FALLBACK_ON_UNDELIVERED, Status.FALLBACK_ON_UNREAD))


def compose(message: Message, phase: Phase, symbol: Symbol) -> Cell | None:
    """The one cell that the tables give for this state and column, None if they have no row for it."""
    told = _MESSAGE_ROWS.get((message, symbol))
    heard = _FALLBACK_ROWS.get((phase, symbol)) if told is None or told.hands_on else None
    if told is None and heard is None:
        return None
    says: tuple[Status, ...] = ()
    commands: list[Command | None] = []
    note = None
    next_message, next_phase = message, phase
    if told is not None:
        says, note = told.says, told.note
        next_message = message if told.then is None else told.then
    if heard is not None:
        says, note = says + heard.says, heard.note or note
        commands.append(heard.command)
        next_phase = phase if heard.then is None else heard.then
    joint = _JOINT_ROWS.get((next_message, next_phase)) if next_message != message else None
    if joint is not None:
        commands.append(joint.command)
        next_phase, note = joint.then, joint.note or note
    submits = symbol == Symbol.SMS_SUBMITTING and next_phase == Phase.SUBMITTED
    bits = mask(says)
    return Cell(
        int(next_message),
        int(STORED_AS[next_phase]),
        says,
        bits,
        tuple(command for command in commands if command is not None),
        note,
        is_idle=(next_message, next_phase, bits) == (message, phase, 0) and not submits,
        delivers=Status.DELIVERED in says,
        falls_back=bool(bits & _FALLBACK_BITS),
        submits=submits,
    )


CELLS: Final = [[[compose(m, p, s) for s in Symbol] for p in Phase] for m in Message]

# Per pair of states, the deadlines that run, in the order in which equal ones take effect.
_RUNNING: Final = [
    [
        [(row.at, row.notify, row.sms) for row in DEADLINES if m in row.messages and p in row.phases]
        for p in Phase
    ]
    for m in Message
]

# The stored fallback's phase where it needs no second look.
_PHASE: Final = [next(int(phase) for phase in Phase if STORED_AS[phase] == fallback) for fallback in Fallback]

# Members as plain module names: looking one up on an enum class costs more than the rest of a line.
_ARMED: Final = int(Fallback.ARMED)
_DUE: Final = int(Fallback.DUE)
_NOTIFY: Final = int(FallbackMode.NOTIFY)
_ON_UNREAD: Final = 1 << NUMBER[Status.FALLBACK_ON_UNREAD]
_DUE_UNDELIVERED: Final = int(Phase.DUE_UNDELIVERED)
_DUE_UNREAD: Final = int(Phase.DUE_UNREAD)
_SUBMITTED: Final = int(Phase.SUBMITTED)
_WAITING: Final = frozenset({_DUE_UNDELIVERED, _DUE_UNREAD})
_new: Final = tuple.__new__  # a third of the time of calling the class, whose __new__ only does this


def phase_of(state: State) -> int:
    """The fallback's Phase, as a plain number."""
    fallback = state.fallback
    if fallback == _ARMED:
        # 1 undelivered, 2 unread, 3 both: the numbers of the three ARMED phases are made for this.
        return (state.undelivered_at is not None) + 2 * (state.unread_ms is not None)
    if fallback == _DUE:
        if state.sms_submitted_at is not None:
            return _SUBMITTED
        return _DUE_UNREAD if state.emitted & _ON_UNREAD else _DUE_UNDELIVERED
    return _PHASE[fallback]


def begin(known: bool, policy: Policy, now_ms: int) -> Transition:
    """Acceptance: the dispatch's first state and its first event, `enqueued` or `IdentifierNotFound` (law 2)."""
    status = Status.ENQUEUED if known else Status.IDENTIFIER_NOT_FOUND
    is_armed = known and policy.mode and (policy.undelivered_at is not None or policy.unread_ms is not None)
    state = State(
        message=int(Message.ENQUEUED if known else Message.UNKNOWN),
        fallback=int(Fallback.ARMED if is_armed else Fallback.OFF),
        emitted=1 << NUMBER[status],
        events=1,
        last_at=now_ms,
        expires_at=policy.expires_at,
        mode=int(policy.mode),
        undelivered_at=policy.undelivered_at,
        unread_ms=policy.unread_ms,
        delivered_at=None,
        fallback_at=None,
        sms_submitted_at=None,
    )
    return Transition(state, ((status, now_ms),), (), None)


def step(state: State, input: Input, now_ms: int) -> Transition:  # noqa: A002 -- the machine's own word for it
    """What `input` does to the dispatch at `now_ms`, after every deadline that is not later than `now_ms` has taken
    effect, in the order of their times and each stamped with its own (law 7).

    Total and idempotent: any input may come in any state, any number of times; what it cannot change it leaves alone
    and says why in the note.
    """
    phase = phase_of(state)
    pending = _first_deadline(state, phase)
    if pending is None or pending[0] > now_ms:
        at = input.at
        return _take(state, phase, input.symbol, now_ms if at is None or at > now_ms else at, now_ms)
    return _catch_up(state, input, now_ms, pending)


def next_deadline(state: State) -> int | None:
    """When the clock must look at this dispatch again, in ms; None: never. It may lie in the past."""
    pending = _first_deadline(state, phase_of(state))
    return None if pending is None else pending[0]


def _first_deadline(state: State, phase: int) -> tuple[int, Symbol] | None:
    first = None
    for at, notify, sms in _RUNNING[state.message][phase]:
        at_ms = at(state)
        if first is None or at_ms < first[0]:
            first = (at_ms, notify if state.mode == _NOTIFY else sms)
    return first


def _catch_up(
    state: State,
    input: Input,  # noqa: A002 -- as in `step`
    now_ms: int,
    pending: tuple[int, Symbol] | None,
) -> Transition:
    events: tuple[tuple[Status, int], ...] = ()
    commands: tuple[Command, ...] = ()
    note = None
    while pending is not None and pending[0] <= now_ms:
        late = _take(state, phase_of(state), pending[1], pending[0], now_ms)
        state = late.state
        events += late.events
        commands += late.commands
        note = late.note or note
        pending = _first_deadline(state, phase_of(state))
    last = _take(state, phase_of(state), input.symbol, stamp(0, input.at, now_ms), now_ms)
    commands += last.commands
    if Command.SUBMIT_SMS in commands and phase_of(last.state) not in _WAITING:
        commands = ()  # It began and ceased to wait in this one step: nobody was told, nobody need be.
    return Transition(last.state, events + last.events, commands, last.note or note)


def _take(state: State, phase: int, symbol: Symbol, at_ms: int, now_ms: int) -> Transition:
    """One column of the tables, its events stamped `at_ms` but never before the previous event (law 9)."""
    cell = CELLS[state[0]][phase][symbol]
    assert cell is not None, (state, symbol)
    if cell.is_idle:
        return Transition(state, (), (), cell.note)
    message, fallback, says, bits, commands, note, _, delivers, falls_back, submits = cell
    (
        _,
        _,
        emitted,
        events,
        last_at,
        expires_at,
        mode,
        undelivered_at,
        unread_ms,
        delivered,
        fell_back,
        submitted,
    ) = state
    if emitted & bits:
        # Law 1. Only push statuses come here: the other tables never say a word twice.
        return Transition(state, (), (), "push_repeated")
    said: tuple[tuple[Status, int], ...] = ()
    if says:
        if at_ms > last_at:  # noqa: PLR1730 -- max() costs a call, on the hottest line there is
            last_at = at_ms
        # No row says more than two words; the walk would miss a third.
        said = ((says[0], last_at),) if len(says) == 1 else ((says[0], last_at), (says[1], last_at))
    after = (
        message,
        fallback,
        emitted | bits,
        events + len(says),
        last_at,
        expires_at,
        mode,
        undelivered_at,
        unread_ms,
        last_at if delivers else delivered,
        last_at if falls_back else fell_back,
        now_ms if submits else submitted,
    )
    return _new(Transition, (_new(State, after), said, commands, note))
