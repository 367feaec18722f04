"""What a batch does to the rows: pure arithmetic between what a store loaded and what it must write.

Both stores use it, so a message's life cannot differ between them. It must not read a clock or a database.
"""

from collections.abc import Container, Iterable, Sequence
from re import sub
from typing import NamedTuple, get_args

import msgspec

from homing.contract.status import NUMBER
from homing.lifecycle.dispatch import Command, FallbackMode, Input, Message, Policy, State
from homing.lifecycle.machine import begin, next_deadline, step
from homing.lifecycle.policy import FallbackPlan, resolve
from homing.model import (
    INCOMING_POSITION,
    App,
    CommandKind,
    DispatchKey,
    FallbackSettings,
    dispatch_key,
    single_lane,
)
from homing.phone_numbers import e164
from homing.store.batch import (
    ENDINGS,
    Accept,
    Accepted,
    Batch,
    Changed,
    CommandWork,
    Committed,
    Facts,
    Incoming,
    IncomingFacts,
    LaneWork,
    NewMessage,
    Occurrence,
    Recorded,
    Result,
    Verdict,
)

WAKE_LATER_MS = 5_000
"""How long a push waits for a recipient who has a live link, which usually makes it needless."""

_MODES = {"off": FallbackMode.OFF, "notify": FallbackMode.NOTIFY, "sms": FallbackMode.SMS}
_ENQUEUED = int(Message.ENQUEUED)
_CODES = {kind: sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower() for kind in get_args(Input)}
"""How the history names an input that did something and brought a detail: push_accepted, sms_refused, …"""
_encode = msgspec.json.Encoder().encode


class Target(NamedTuple):
    """An endpoint as the transaction sees it; ``statuses`` is a bitset, None for all.

    ``is_ordered`` False: each event is told by itself, none waits for the one before.
    """

    id: int
    kind: str
    statuses: int | None
    is_ordered: bool = True


class Addressed(NamedTuple):
    """A recipient's row, locked by the transaction."""

    id: int
    identifier: str
    mobile_number: str | None
    seq: int
    wakeable: int


class Loaded(NamedTuple):
    """A dispatch's row, locked by the transaction, and the lanes it has: endpoint → held by this node.

    ``notify`` is the endpoint of the message's own callbacks: None when it has none, 0 when that is gone.
    """

    recipient: int | None
    facts: Facts
    timer_at: int | None
    state: State
    lanes: dict[int, bool]
    notify: int | None = None


class Writes:
    """The rows to write, one list per statement; a store may write each list as it likes best."""

    __slots__ = (
        "bits", "commands", "dispatches", "dropped", "events", "history", "incoming", "lanes",
        "messages", "recipients", "sms", "states", "timers", "timers_gone",
    )  # fmt: skip

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, int, str | None, bytes, int, int]] = []
        self.dispatches: list[tuple[object, ...]] = []
        self.states: list[tuple[object, ...]] = []
        self.events: list[tuple[bytes, int, int, int]] = []
        self.lanes: list[tuple[bytes, int, int, int | None, int]] = []
        self.bits: list[tuple[int, bytes, int]] = []
        self.commands: list[tuple[bytes, int, int | None, int]] = []
        self.dropped: list[tuple[bytes, int]] = []
        self.timers: list[tuple[int, bytes]] = []
        self.timers_gone: list[tuple[int, bytes]] = []
        self.history: list[tuple[bytes, int, str, str | None]] = []
        self.recipients: dict[int, int] = {}
        self.sms: list[tuple[str, str, bytes, int]] = []
        self.incoming: list[tuple[object, ...]] = []


def _plan(settings: FallbackSettings | None) -> FallbackPlan:
    if settings is None:
        return FallbackPlan()
    mode = None if settings.mode is None else _MODES[settings.mode]
    return FallbackPlan(mode, settings.on_undelivered_seconds, settings.on_unread_seconds)


class _Beginning(NamedTuple):
    """How every dispatch of one message to a known, or to an unknown, recipient begins."""

    state: State
    status: int
    events: tuple[tuple[int, int, int], ...]
    targets: Sequence[Target]


class Fold:
    """One batch on its way into the store: fed with loaded rows, it fills `writes` and `committed`."""

    def __init__(
        self,
        now_ms: int,
        epoch: int,
        targets: dict[int, Sequence[Target]],
        born_free: Container[int],
        *,
        are_commands_free: bool = False,
    ) -> None:
        """Lanes of the endpoints in ``born_free`` are nobody's yet; so are all commands with ``are_commands_free``."""
        self.now_ms = now_ms
        self.writes = Writes()
        self.committed = Committed(now_ms=now_ms)
        self._epoch = epoch
        self._targets = targets
        self._born_free = born_free
        self._are_commands_free = are_commands_free

    def accept(
        self,
        accept: Accept,
        app: App,
        recipients: Iterable[Addressed | None],
        online: Container[int],
    ) -> Accepted:
        """Store a message and begin the life of each of its dispatches."""
        now_ms, writes = self.now_ms, self.writes
        policy = resolve(
            now_ms,
            app.ttl_s if accept.ttl_s is None else accept.ttl_s,
            _plan(app.fallback),
            _plan(accept.fallback),
        )
        region = app.fallback.default_region
        message_id, ref, body, app_id = accept.message_id, accept.ref, accept.body, app.id
        writes.messages.append((message_id, app_id, ref, _encode(body), now_ms, policy.expires_at))
        # What is the same for every recipient is worked out once: a message may have a thousand.
        notify = accept.notify
        own = None if notify is None else f"{notify.form} {notify.url}"
        own_endpoint = None if notify is None else notify.endpoint
        unknown = self._beginning(False, policy, app_id, own_endpoint)
        known = self._beginning(True, policy, app_id, own_endpoint)
        deadline = next_deadline(known.state)
        events, recorded = writes.events, self.committed.recorded
        messages, counters = self.committed.messages, writes.recipients
        answer: list[tuple[str, int]] = []
        for position, (addressee, row) in enumerate(zip(accept.addressees, recipients, strict=True)):
            key = dispatch_key(message_id, position)
            identifier, fallback_ref = addressee.identifier, addressee.mobile_number
            seq, recipient, timer_at, beginning = 0, None, None, unknown
            if row is not None:
                recipient, identifier, number, last_seq, wakeable = row
                beginning, timer_at = known, deadline
                fallback_ref = fallback_ref or number
                seq = counters.get(recipient, last_seq) + 1
                counters[recipient] = seq
                if wakeable:
                    self._wake(key, is_online=recipient in online)
                if timer_at is not None:
                    writes.timers.append((timer_at, key))
                text = addressee.text or body.text
                messages.append(NewMessage(recipient, seq, key, text, body, now_ms, policy.expires_at))
            if fallback_ref is None and policy.mode and e164(identifier, region) is not None:
                fallback_ref = identifier
            writes.dispatches.append(
                (key, app_id, recipient, seq, identifier, ref, addressee.recipient_ref, fallback_ref,
                 addressee.text, timer_at, own_endpoint, own, *beginning.state)
            )  # fmt: skip
            status = beginning.status
            events.append((key, 1, status, now_ms))
            recorded.append(Recorded(key, app_id, identifier, 1, status, now_ms))
            answer.append((identifier, status))
            if beginning.targets:
                facts = Facts(app_id, identifier, ref, addressee.recipient_ref, fallback_ref, own)
                for target in beginning.targets:
                    self._begin_lane(key, target, facts, beginning.events)
        if deadline is not None and writes.timers:
            self._expect(deadline)
        return Accepted(message_id, now_ms, tuple(answer))

    def _beginning(self, is_known: bool, policy: Policy, app: int, notify: int | None) -> "_Beginning":
        state, ((status, at_ms),), _commands, _note = begin(is_known, policy, self.now_ms)
        number = NUMBER[status]
        targets = [
            target for target in self._hearers(app, notify)
            if target.statuses is None or target.statuses >> number & 1
        ]  # fmt: skip
        return _Beginning(state, number, ((1, number, at_ms),), targets)

    def _hearers(self, app: int, notify: int | None) -> list[Target]:
        """Whoever hears of a dispatch's events: the application's status endpoints, or the message's own."""
        if notify is None:
            return [target for target in self._targets[app] if target.kind == "status"]
        return [Target(notify, "notify", None)] if notify else []

    def take_in(self, incoming: Incoming) -> None:
        """Store a message from a device and open a lane to each of the application's inboxes."""
        key = dispatch_key(incoming.message_id, INCOMING_POSITION)
        self.writes.incoming.append(
            (incoming.message_id, incoming.app, incoming.recipient, incoming.identifier, incoming.device,
             incoming.client_ref, incoming.text, incoming.channel, incoming.in_reply_to, self.now_ms)
        )  # fmt: skip
        facts = IncomingFacts(
            incoming.app, incoming.identifier, incoming.text, incoming.channel, incoming.in_reply_to
        )
        for target in self._targets[incoming.app]:
            if target.kind == "inbox":
                self._open(key, target.id, facts, ((1, 0, self.now_ms),))

    def advance(self, key: DispatchKey, loaded: Loaded, occurrences: Sequence[Occurrence]) -> list[Result]:
        """Feed what happened to one dispatch through the machine, in order of arrival."""
        now_ms, writes = self.now_ms, self.writes
        state = before = loaded.state
        results: list[Result] = []
        events: list[tuple[int, int, int]] = []
        commands: list[Command] = []
        for occurrence in occurrences:
            n = state.events
            state, said, ordered, note = step(state, occurrence.input, now_ms)
            for status, at_ms in said:
                n += 1
                events.append((n, NUMBER[status], at_ms))
            commands.extend(ordered)
            if note is not None or occurrence.detail is not None:
                code = note or _CODES[type(occurrence.input)]
                writes.history.append((key, now_ms, code, occurrence.detail))
            for carrier, carrier_id in occurrence.sms:
                writes.sms.append((carrier, carrier_id, key, now_ms))
            results.append(Result(state, note))
        if state is not before or loaded.timer_at is not None:
            timer_at = self._rearm(key, loaded.timer_at, next_deadline(state))
            if state != before or timer_at != loaded.timer_at:
                writes.states.append((key, timer_at, *state))
        if events:
            self._tell(key, loaded, tuple(events))
        if commands:
            # An SMS that began and ceased to be wanted within one batch is no command at all: the last word counts.
            if commands[-1] is Command.SUBMIT_SMS:
                self._command(key, CommandKind.SMS)
            else:
                writes.dropped.append((key, CommandKind.SMS))
        if state.message != before.message and loaded.recipient is not None:
            what = ENDINGS.get(state.message)
            if what is not None:
                self.committed.changes.append(Changed(loaded.recipient, key, what))
        return results

    def _wake(self, key: DispatchKey, *, is_online: bool) -> None:
        if is_online:
            self._later(key, CommandKind.PUSH, self.now_ms + WAKE_LATER_MS)
        else:
            self._command(key, CommandKind.PUSH)

    def _command(self, key: DispatchKey, kind: CommandKind) -> None:
        if self._are_commands_free:
            self._later(key, kind, self.now_ms)
        else:
            self.writes.commands.append((key, kind, None, self._epoch))
            self.committed.commands.append(CommandWork(key, kind))

    def _later(self, key: DispatchKey, kind: CommandKind, due_ms: int) -> None:
        """Give a command to the store until then, whoever takes it."""
        self.writes.commands.append((key, kind, due_ms, 0))
        earliest = self.committed.next_command_ms
        if earliest is None or due_ms < earliest:
            self.committed.next_command_ms = due_ms

    def _arm(self, at_ms: int, key: bytes) -> None:
        self.writes.timers.append((at_ms, key))
        self._expect(at_ms)

    def _expect(self, at_ms: int) -> None:
        earliest = self.committed.next_timer_ms
        if earliest is None or at_ms < earliest:
            self.committed.next_timer_ms = at_ms

    def _rearm(self, key: bytes, timer_at: int | None, deadline: int | None) -> int | None:
        """Keep the timer's row where it is when the deadline moved later: ringing early changes nothing."""
        if timer_at is not None:
            if deadline is not None and self.now_ms < timer_at <= deadline:
                return timer_at
            self.writes.timers_gone.append((timer_at, key))
        if deadline is not None:
            self._arm(deadline, key)
        return deadline

    def _tell(self, key: DispatchKey, loaded: Loaded, events: tuple[tuple[int, int, int], ...]) -> None:
        """Write events and the lanes of every endpoint that is to hear of them: never one without the other."""
        facts, lanes, recorded = loaded.facts, loaded.lanes, self.committed.recorded
        for n, status, at_ms in events:
            self.writes.events.append((key, n, status, at_ms))
            recorded.append(Recorded(key, facts.app, facts.identifier, n, status, at_ms))
        for target in self._hearers(facts.app, loaded.notify):
            wanted = events
            if target.statuses is not None:
                wanted = tuple(event for event in events if target.statuses >> event[1] & 1)
                if not wanted:
                    continue
            held = lanes.get(target.id)
            if held is None:
                self._begin_lane(key, target, facts, wanted)
                continue
            self.writes.bits.append((_bits(wanted), key, target.id))
            if held:
                self.committed.lanes.append(LaneWork(key, target.id, facts, wanted, 0, False))

    def _begin_lane(
        self, key: DispatchKey, target: Target, facts: Facts, events: tuple[tuple[int, int, int], ...]
    ) -> None:
        if target.is_ordered:
            self._open(key, target.id, facts, events)
            return
        for event in events:
            self._open(single_lane(key, event[0]), target.id, facts, (event,))

    def _open(
        self,
        key: DispatchKey,
        endpoint: int,
        facts: Facts | IncomingFacts,
        events: tuple[tuple[int, int, int], ...],
    ) -> None:
        if endpoint in self._born_free:
            self.writes.lanes.append((key, endpoint, _bits(events), self.now_ms, 0))
            self.committed.lanes_due.setdefault(endpoint, self.now_ms)
        else:
            self.writes.lanes.append((key, endpoint, _bits(events), None, self._epoch))
            self.committed.lanes.append(LaneWork(key, endpoint, facts, events))


def _bits(events: Iterable[tuple[int, int, int]]) -> int:
    bits = 0
    for n, _status, _at_ms in events:
        bits |= 1 << (n - 1)
    return bits


def look_ahead(committed: Committed, batch: Batch) -> None:
    """Say when what this batch put off falls due."""
    committed.settled = batch.settles
    for outcome in batch.settles:
        if outcome.verdict in {Verdict.RETRY, Verdict.WAIT}:
            earliest = committed.lanes_due.get(outcome.endpoint)
            if earliest is None or outcome.retry_at_ms < earliest:
                committed.lanes_due[outcome.endpoint] = outcome.retry_at_ms
    for done in batch.commands_done:
        at_ms = done.retry_at_ms
        if at_ms is not None and (committed.next_command_ms is None or at_ms < committed.next_command_ms):
            committed.next_command_ms = at_ms
