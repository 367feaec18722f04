"""The fold, without a store: what it writes is what the pure machine says, however inputs are cut into batches (I8)."""

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from tests.store.fakes import NOON_MS, message_id

from homing.contract.status import NUMBER, Status
from homing.lifecycle.dispatch import (
    Clock,
    Fallback,
    FallbackMode,
    Input,
    Message,
    PushAccepted,
    PushRefused,
    Read,
    Recalled,
    Received,
    SmsAccepted,
    SmsOutcome,
    SmsRefusal,
    SmsRefused,
    SmsReport,
    SmsSubmitting,
    State,
)
from homing.lifecycle.machine import begin, next_deadline, step
from homing.lifecycle.policy import FallbackPlan, resolve
from homing.model import App, Body, FallbackSettings, dispatch_key
from homing.store.batch import Accept, Addressee, Facts, Occurrence
from homing.store.fold import Addressed, Fold, Loaded, Target

APP = App(1, "bank", "live", 600, FallbackSettings(mode="sms", on_undelivered_seconds=60), "key", NOON_MS)
ANN = Addressed(7, "Ann", "+39 1", 4, 0)
TARGETS: dict[int, Sequence[Target]] = {1: [Target(1, "status", None)]}
INPUTS: list[Input] = [
    Received(), Received(NOON_MS + 5), Read(), Clock(), PushAccepted(), PushRefused("ios", token_invalid=False),
    Recalled(), SmsSubmitting(), SmsAccepted(), SmsRefused(SmsRefusal.OPERATOR_ERROR),
    SmsReport(SmsOutcome.DELIVERED), SmsReport(SmsOutcome.EXPIRED),
]  # fmt: skip


def _instant(value: object) -> int | None:
    assert value is None or isinstance(value, int)
    return value


class Rows:
    """A dispatch's row and events, kept as a store would keep them."""

    def __init__(self) -> None:
        self.message = message_id(NOON_MS)
        self.key = dispatch_key(self.message, 0)
        fold = Fold(NOON_MS, 1, TARGETS, frozenset())
        accept = Accept(self.message, 1, None, Body("hello"), (Addressee("Ann", "ann"),))
        fold.accept(accept, APP, [ANN], frozenset())
        (row,) = fold.writes.dispatches
        self.timer_at = _instant(row[9])
        self.state = State._make(row[12:])
        self.events = [event[1:] for event in fold.writes.events]
        self.timers = {at for at, _key in fold.writes.timers}
        self.pending = fold.writes.lanes[0][2]
        facts = fold.committed.lanes[0].facts
        assert isinstance(facts, Facts)
        self.facts = facts

    def advance(self, inputs: Iterable[Input], now_ms: int) -> None:
        fold = Fold(now_ms, 1, TARGETS, frozenset())
        loaded = Loaded(7, self.facts, self.timer_at, self.state, {1: True})
        fold.advance(self.key, loaded, [Occurrence(self.key, what) for what in inputs])
        for row in fold.writes.states:
            self.timer_at, self.state = _instant(row[1]), State._make(row[2:])
        self.events += [event[1:] for event in fold.writes.events]
        self.timers -= {at for at, _key in fold.writes.timers_gone}
        self.timers |= {at for at, _key in fold.writes.timers}
        for bits, _key, _endpoint in fold.writes.bits:
            assert not self.pending & bits
            self.pending |= bits


@given(
    batches=st.lists(
        st.tuples(st.lists(st.sampled_from(INPUTS), min_size=1, max_size=4), st.integers(0, 400_000)),
        max_size=8,
    )
)
def test_the_rows_are_what_the_pure_machine_says(batches: list[tuple[list[Input], int]]) -> None:
    """State, events, lane bits and the one timer of a dispatch agree with it, for every cut into batches."""
    rows = Rows()
    plan = FallbackPlan(FallbackMode.SMS, 60, None)
    started = begin(True, resolve(NOON_MS, 600, plan), NOON_MS)
    state, events, now_ms = started.state, list(started.events), NOON_MS
    for inputs, pause_ms in batches:
        now_ms += pause_ms
        rows.advance(inputs, now_ms)
        for what in inputs:
            transition = step(state, what, now_ms)
            state = transition.state
            events += transition.events
        assert rows.state == state
        assert rows.events == [(n, NUMBER[status], at) for n, (status, at) in enumerate(events, 1)]
        assert rows.pending == (1 << len(events)) - 1
        deadline = next_deadline(state)
        assert rows.timers == ({rows.timer_at} if rows.timer_at is not None else set())
        if deadline is None:
            assert rows.timer_at is None
        else:
            assert rows.timer_at is not None
            assert rows.timer_at <= deadline, "the clock would look too late"
            assert rows.timer_at > now_ms or deadline <= now_ms, "the clock would look for ever"


@given(inputs=st.lists(st.sampled_from(INPUTS), max_size=20))
def test_events_alone_tell_the_state_that_people_see(inputs: list[Input]) -> None:
    """What was said determines whether the message is enqueued, delivered, read or expired, and how the SMS ended."""
    rows = Rows()
    for turn, what in enumerate(inputs):
        rows.advance([what], NOON_MS + turn * 30_000)
    said = {status for _n, status, _at in rows.events}
    by_status = {
        Status.READ: Message.READ,
        Status.EXPIRED: Message.EXPIRED,
        Status.DELIVERED: Message.DELIVERED,
    }
    seen = next((m for status, m in by_status.items() if NUMBER[status] in said), Message.ENQUEUED)
    assert rows.state.message == seen
    assert rows.state.emitted == sum(1 << status for status in said)
    assert (rows.state.fallback == Fallback.DELIVERED) == (NUMBER[Status.FALLBACK_DELIVERED] in said)
