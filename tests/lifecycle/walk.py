"""The walk: every state one dispatch can reach, every input, at every instant that can make a difference.

Times are abstract: from a state only its own deadlines matter, so the instants tried are now, each deadline, one
millisecond before and after it, and far later. Two dispatches that differ only in absolute times go the same ways, so
one of them stands for both. The judgements here are made from the laws and the state's meaning, not from the tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from homing.contract.status import Status, mask
from homing.lifecycle.dispatch import (
    Clock,
    Command,
    Fallback,
    FallbackMode,
    Input,
    Message,
    Policy,
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
    Transition,
)
from homing.lifecycle.laws import check
from homing.lifecycle.machine import begin, next_deadline, step
from homing.lifecycle.policy import SMS_VALIDITY_MS, FallbackPlan, resolve
from homing.lifecycle.tables import NOTES

T0 = 1_764_000_000_000
HOUR = 3_600_000
Step = Callable[[State, Input, int], Transition]
Story = tuple[tuple[Status, int], ...]

POLICIES: dict[str, Policy] = {
    "off": resolve(T0, 7200),
    **{
        f"{mode.name.lower()} {name}": resolve(T0, ttl_s, FallbackPlan(mode, undelivered_s, unread_s))
        for mode in (FallbackMode.NOTIFY, FallbackMode.SMS)
        for name, ttl_s, undelivered_s, unread_s in (
            ("undelivered", 7200, 900, None),
            ("undelivered at the expiry", 7200, 9999, None),
            ("undelivered, long expiry", 172_800, 900, None),
            ("unread", 7200, None, 900),
            ("both", 7200, 900, 900),
        )
    },
}

RECEIPTS: tuple[Input, ...] = (
    Received(),
    Received(T0 - HOUR),
    Received(T0 + 1000 * HOUR),
    Read(),
    Read(T0 - HOUR),
    Read(T0 + 1000 * HOUR),
)
PUSHES: tuple[Input, ...] = (
    PushAccepted(),
    *(PushRefused(platform, invalid) for platform in ("ios", "android", "web") for invalid in (False, True)),
)
SMS: tuple[Input, ...] = (
    SmsSubmitting(),
    SmsAccepted(),
    *(SmsRefused(kind) for kind in SmsRefusal),
    *(SmsReport(outcome) for outcome in SmsOutcome),
)
INPUTS: tuple[Input, ...] = (Clock(), Recalled(), *RECEIPTS, *PUSHES, *SMS)
FEW_PUSHES: tuple[Input, ...] = (
    Clock(),
    Recalled(),
    *RECEIPTS,
    PushAccepted(),
    PushRefused("web", token_invalid=False),
    *SMS,
)

# What the walk of a policy is given. The 32 sets of push statuses said are walked in full where the policy has every
# joint state of its kind ("sms both"); the rest of its kind differ from it in their deadlines only.
GIVEN = {name: FEW_PUSHES if "sms" in name and name != "sms both" else INPUTS for name in POLICIES}

PUSH_BITS = mask(
    (
        Status.PUSH_SENT,
        Status.IOS_ERROR,
        Status.IOS_ERROR_INVALID_TOKEN,
        Status.ANDROID_ERROR,
        Status.ANDROID_ERROR_INVALID_TOKEN,
    )
)
FALLBACK_STATUSES = frozenset(status for status in Status if status.startswith("fallback"))
NECESSARY = frozenset({Status.FALLBACK_ON_UNDELIVERED, Status.FALLBACK_ON_UNREAD})


class Node(NamedTuple):
    """A state, the time at which it was reached, all it said, and whether an SMS command was given."""

    state: State
    now: int
    story: Story
    submits: int


@dataclass
class Visit:
    """One step of the walk and what was found wrong with it."""

    node: Node
    input: Input
    now: int
    after: Transition
    faults: list[str]

    def __str__(self) -> str:
        return f"{self.faults} when {self.input} at +{self.now - T0} ms after {self.node.story}: {self.after}"


def instants(node: Node) -> list[int]:
    """Every moment that can make a difference in this state, derived without the machine's help."""
    state = node.state
    marks = [state.expires_at]
    if state.undelivered_at is not None:
        marks.append(state.undelivered_at)
    if state.delivered_at is not None and state.unread_ms is not None:
        marks.append(state.delivered_at + state.unread_ms)
    if state.fallback_at is not None:
        marks.append(state.fallback_at + SMS_VALIDITY_MS)
    moments = {node.now, *(mark + shift for mark in marks for shift in (-1, 0, 1)), max(marks) + 2000 * HOUR}
    return sorted(moment for moment in moments if moment >= node.now)


def walk(policy: str, take: Step = step, inputs: tuple[Input, ...] | None = None) -> Iterator[Visit]:
    """Every step from every reachable state, judged. `take` is the machine under judgement."""
    for known in (True, False):
        start = begin(known, POLICIES[policy], T0)
        root = Node(start.state, T0, start.events, 0)
        todo = [root]
        seen = {_kind(root)}
        while todo:
            node = todo.pop()
            for now in instants(node):
                for happening in inputs or GIVEN[policy]:
                    after = take(node.state, happening, now)
                    yield Visit(node, happening, now, after, judge(node, happening, now, after, take))
                    if after.state is node.state:
                        continue
                    reached = Node(
                        after.state,
                        now,
                        node.story + after.events,
                        node.submits + after.commands.count(Command.SUBMIT_SMS),
                    )
                    if (kind := _kind(reached)) not in seen:
                        seen.add(kind)
                        todo.append(reached)


def _kind(node: Node) -> tuple[int | bool, ...]:
    """What of a node decides its future: not the absolute times, but what of them has passed."""
    state = node.state
    return (
        state.message,
        state.fallback,
        state.emitted,
        state.sms_submitted_at is not None,
        (next_deadline(state) or node.now + 1) <= node.now,
    )


def judge(node: Node, happening: Input, now: int, after: Transition, take: Step = step) -> list[str]:
    """What is wrong with one step, from the laws and from what the fields of a state mean."""
    before, state = node.state, after.state
    if state == before and not after.events and not after.commands:
        return list(_judge_nothing(state, happening, now, after.note))
    said = [status for status, _ in after.events]
    faults = check(node.story + after.events)
    truths = {
        "events are counted": state.events == before.events + len(said),
        "what was said is remembered": state.emitted == before.emitted | mask(said),
        "the last timestamp is remembered": state.last_at == (node.story + after.events)[-1][1],
        "no event is in the future": all(at <= max(now, before.last_at) for _, at in after.events),
        "nothing is delivered at or after the expiry": Status.DELIVERED not in said or now < state.expires_at,
        "the policy stays": state[5:9] == before[5:9],
        "the message never goes back": state.message >= before.message,
        "an unknown recipient's message is left alone": before.message != Message.UNKNOWN or state == before,
        "notes are listed": after.note is None or after.note in NOTES,
        "mode off has no fallback": state.mode != FallbackMode.OFF
        or not FALLBACK_STATUSES.intersection(said),
        "mode notify only notifies": state.mode != FallbackMode.NOTIFY
        or (not after.commands and not (FALLBACK_STATUSES - NECESSARY).intersection(said)),
        "the delivered timestamp is kept": state.delivered_at
        == dict(after.events).get(Status.DELIVERED, before.delivered_at),
        "a repetition says nothing": _is_idempotent(state, happening, now, take),
    }
    faults += [f"not true: {truth}" for truth, holds in truths.items() if not holds]
    faults += _judge_times(node, happening, now, after)
    faults += _judge_sms(node, happening, after)
    return faults


def _judge_nothing(state: State, happening: Input, now: int, note: str | None) -> Iterator[str]:
    """Most steps change nothing: then nothing was due, and the note says why."""
    deadline = next_deadline(state)
    if deadline is not None and deadline <= now:
        yield "a deadline that has passed did not take effect"
    if note not in NOTES and not (note is None and isinstance(happening, Clock)):
        yield "an ignored input does not say why"


def _is_idempotent(state: State, happening: Input, now: int, take: Step) -> bool:
    deadline = next_deadline(state)
    if deadline is not None and deadline <= now:
        return True  # Delivered long ago by the device's clock: the unread time has passed already.
    again = take(state, happening, now)
    return again.state == state and not again.events and not again.commands


def _judge_times(node: Node, happening: Input, now: int, after: Transition) -> Iterator[str]:
    """Law 7: deadlines that have passed have taken effect, each event stamped with its own time."""
    state, own = after.state, dict(after.events)
    deadline = next_deadline(state)
    if deadline is not None and deadline <= now and Status.DELIVERED not in own:
        yield "a deadline that has passed did not take effect"
    previous = node.state.last_at
    if Status.EXPIRED in own and own[Status.EXPIRED] != (now if now < state.expires_at else state.expires_at):
        yield "expired is not stamped with the expiry, or the moment of the recall"
    if Status.FALLBACK_ON_UNDELIVERED in own and own[Status.FALLBACK_ON_UNDELIVERED] != state.undelivered_at:
        yield "fallbackOnUndelivered is not stamped with its time"
    if Status.FALLBACK_ON_UNREAD in own:
        due = (state.delivered_at or 0) + (state.unread_ms or 0)
        if own[Status.FALLBACK_ON_UNREAD] != max(previous, due):
            yield "fallbackOnUnread is not stamped with its time"
    if isinstance(happening, Received) and Status.DELIVERED in own:
        told = now if happening.at is None else min(happening.at, now)
        if own[Status.DELIVERED] < min(told, now):
            yield "delivered is stamped before the device's time"


def _judge_sms(node: Node, happening: Input, after: Transition) -> Iterator[str]:
    """Law 5: exactly one command for an SMS that waits, and one that takes it back when its reason is gone."""
    before, state = node.state, after.state
    had, has = _waits(before), _waits(state)
    if (Command.SUBMIT_SMS in after.commands) != (has and not had):
        yield "an SMS is to be submitted exactly when one begins to wait"
    if node.submits + after.commands.count(Command.SUBMIT_SMS) > 1:
        yield "an SMS is submitted twice"
    is_left = had and not has and not isinstance(happening, SmsSubmitting | SmsAccepted | SmsRefused)
    if is_left and after.commands != (Command.DROP_SMS,):
        yield "an SMS that no longer waits is not dropped"
    if has and state.message == Message.READ:
        yield "an SMS waits though the message was read"
    if has and state.message == Message.DELIVERED and not state.emitted & mask((Status.FALLBACK_ON_UNREAD,)):
        yield "an SMS waits though the message was delivered"
    if (
        before.fallback == Fallback.SENT
        and state.fallback != Fallback.SENT
        and not isinstance(happening, SmsReport)
    ):
        yield "an SMS that was sent is left by something else than its receipt"
    if before.sms_submitted_at is not None and state.sms_submitted_at is None:
        yield "a submission is forgotten"


def _waits(state: State) -> bool:
    return state.fallback == Fallback.DUE and state.sms_submitted_at is None
