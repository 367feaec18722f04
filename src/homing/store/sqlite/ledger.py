"""The hot path on SQLite: one batch, one transaction, on the writer's thread.

What the rows become is `homing.store.fold`'s to say; here they are loaded and written. Nothing else writes these
tables but `homing.store.sqlite.claims`.
"""

from collections import defaultdict
from collections.abc import Container, Sequence
from typing import Any, Final

import apsw
import msgspec

from homing.errors import HomingError, IdempotencyConflict, NotFound
from homing.lifecycle.dispatch import State
from homing.model import App, DispatchKey, FallbackSettings
from homing.store.batch import (
    Accept,
    Accepted,
    Batch,
    CommandDone,
    Committed,
    Facts,
    Idempotency,
    LaneWork,
    Occurrence,
    Result,
    Settle,
    Verdict,
)
from homing.store.fold import Addressed, Fold, Loaded, Target
from homing.store.sql import load
from homing.store.sqlite.claims import lane_work

IDEMPOTENCY_MS: Final = 24 * 3600 * 1000
_POSITIONS: Final = 1_000_000
"""How many event positions are reserved at a time; a restart skips what is left of them."""
_SQL: Final = load("sqlite", "ledger")
_settings: Final = msgspec.json.Decoder(FallbackSettings).decode
_State: Final = State._make


class Writer:
    """The writer's side of the ledger; lives on the writer's thread."""

    def __init__(self, epoch: int, positions_from: int, online: Container[int]) -> None:
        self._epoch = epoch
        self._position = positions_from
        self._reserved = positions_from
        self._online = online
        self._tables = {
            name: _SQL[name]
            for name in ("add_message", "add_dispatch", "set_state", "add_event", "add_lane", "add_bits",
                         "add_command", "end_command", "add_timer", "drop_timer", "add_history", "add_sms",
                         "add_incoming", "set_seq")
        }  # fmt: skip

    def commit(self, connection: apsw.Connection, batch: Batch, now_ms: int) -> Committed:
        """Write one batch inside the transaction the caller opened."""
        lanes = self._settle(connection, batch.settles, now_ms)
        self._finish(connection, batch.commands_done, now_ms)
        targets: dict[int, Sequence[Target]] = _Targets(connection)
        fold = Fold(now_ms, self._epoch, targets, batch.born_free)
        committed = fold.committed
        committed.lanes.extend(lanes)
        apps: dict[int, App | None] = {}
        for accept in batch.accepts:
            committed.accepts.append(self._accept(connection, fold, accept, apps))
        for incoming in batch.incomings:
            same = None
            if incoming.client_ref is not None:
                same = connection.execute(
                    _SQL["same_incoming"], (incoming.device, incoming.client_ref)
                ).fetchone()
            if same is None:
                fold.take_in(incoming)
                # Written at once: a repeat of the same client_ref may stand in this very batch.
                connection.execute(_SQL["add_incoming"], fold.writes.incoming.pop())
            committed.incomings.append(incoming.message_id if same is None else same[0])
        committed.occurrences = self._advance(connection, fold, batch.occurrences)
        for note in batch.notes:
            fold.writes.history.append((note.key, now_ms, note.code, note.detail))
        self._write(connection, fold)
        committed.settled = batch.settles
        for settle in batch.settles:
            if settle.verdict is Verdict.RETRY:
                earliest = committed.lanes_due.get(settle.endpoint)
                if earliest is None or settle.retry_at_ms < earliest:
                    committed.lanes_due[settle.endpoint] = settle.retry_at_ms
        for done in batch.commands_done:
            at_ms = done.retry_at_ms
            if at_ms is not None and (committed.next_command_ms is None or at_ms < committed.next_command_ms):
                committed.next_command_ms = at_ms
        return committed

    def _settle(self, connection: apsw.Connection, settles: list[Settle], now_ms: int) -> list[LaneWork]:
        if not settles:
            return []
        attempts: list[tuple[Any, ...]] = []
        drained: list[tuple[bytes, int, int]] = []
        put_off: list[tuple[bytes, int, int, int, int]] = []
        settled: list[tuple[bytes, int, int, int]] = []
        dead: list[tuple[bytes, int, int, int, str]] = []
        for s in settles:
            bit = 1 << (s.n - 1)
            if (a := s.attempt) is not None:
                attempts.append(
                    (
                        s.endpoint,
                        s.key,
                        s.n,
                        s.tries + 1,
                        a.at_ms,
                        a.took_ms,
                        a.code,
                        a.error,
                        a.address,
                        a.answer,
                    )
                )
            if s.verdict is Verdict.RETRY:
                put_off.append((s.key, s.endpoint, s.retry_at_ms, s.tries, self._epoch))
            else:
                drained.append((s.key, s.endpoint, bit))
                is_dead = s.verdict is Verdict.DEAD
                settled.append((s.key, s.endpoint, 0, bit) if is_dead else (s.key, s.endpoint, bit, 0))
                if is_dead:
                    dead.append((s.key, s.endpoint, s.n, now_ms, s.reason or "gave_up"))
        _many(connection, _SQL["add_attempt"], attempts)
        before = connection.total_changes()
        _many(connection, _SQL["drain_lane"], drained)
        more = []
        if connection.total_changes() - before < len(drained):
            # Several settles of one lane may stand in one batch: clearing leaves the last bit for the guard.
            _many(connection, _SQL["clear_bit"], drained)
            _many(connection, _SQL["drain_lane"], drained)
            more = self._forgotten(connection, settles)
        _many(connection, _SQL["put_off"], put_off)
        _many(connection, _SQL["add_settled"], settled)
        _many(connection, _SQL["add_dead"], dead)
        return more

    def _forgotten(self, connection: apsw.Connection, settles: list[Settle]) -> list[LaneWork]:
        """Find the events that lanes of ours hold and their courier does not know of: only the row can tell."""
        known: dict[tuple[bytes, int], int] = {}
        for s in settles:
            if s.verdict is not Verdict.RETRY:
                known[s.key, s.endpoint] = s.known
        more = []
        for (key, endpoint), bits in known.items():
            row = connection.execute(_SQL["lane_pending"], (key, endpoint, self._epoch)).fetchone()
            if row is not None and row[0] & ~bits:
                work = lane_work(connection, key, endpoint, row[0] & ~bits, 0)
                if work is not None:
                    more.append(msgspec.structs.replace(work, fresh=False))
        return more

    def _finish(self, connection: apsw.Connection, commands: list[CommandDone], _now_ms: int) -> None:
        done = [(c.key, c.kind) for c in commands if c.retry_at_ms is None]
        later = [(c.key, c.kind, c.retry_at_ms, c.detail) for c in commands if c.retry_at_ms is not None]
        _many(connection, _SQL["end_command"], done)
        _many(connection, _SQL["put_off_command"], later)

    def _accept(
        self, connection: apsw.Connection, fold: Fold, accept: Accept, apps: dict[int, App | None]
    ) -> Accepted | HomingError:
        idempotency = accept.idempotency
        if idempotency is not None:
            try:
                answer = first_answer(connection, idempotency, fold.now_ms)
            except IdempotencyConflict as error:
                return error
            if answer is not None:
                return Accepted(accept.message_id, fold.now_ms, (), answer, replayed=True)
        if accept.app not in apps:
            apps[accept.app] = _app(connection, accept.app)
        app = apps[accept.app]
        if app is None:
            return NotFound("there is no such application")
        sql = _SQL["load_recipient"]
        rows = [
            Addressed._make(row) if (row := connection.execute(sql, (app.id, a.folded)).fetchone()) else None
            for a in accept.addressees
        ]
        accepted = fold.accept(accept, app, rows, self._online)
        if idempotency is not None and accept.render is not None:
            answer = accept.render(accepted)
            keep_answer(connection, idempotency, answer, fold.now_ms)
            accepted = msgspec.structs.replace(accepted, answer=answer)
        return accepted

    def _advance(
        self, connection: apsw.Connection, fold: Fold, occurrences: list[Occurrence]
    ) -> list[Result]:
        if not occurrences:
            return []
        by_key: dict[DispatchKey, list[int]] = defaultdict(list)
        for index, occurrence in enumerate(occurrences):
            by_key[occurrence.key].append(index)
        results: list[Result] = [Result(None, "unknown_dispatch")] * len(occurrences)
        load_dispatch, load_lanes = _SQL["load_dispatch"], _SQL["load_lanes"]
        for key in sorted(by_key):
            indexes = by_key[key]
            row = connection.execute(load_dispatch, (key,)).fetchone()
            if row is None:
                continue
            # Two looks by key cost 5 µs, one with a LEFT JOIN 20.
            lanes = dict(connection.execute(load_lanes, (key, self._epoch)).fetchall())
            loaded = Loaded(row[0], Facts(*row[1:6]), row[6], _State(row[7:]), lanes)
            answers = fold.advance(key, loaded, [occurrences[index] for index in indexes])
            for index, answer in zip(indexes, answers, strict=True):
                results[index] = answer
        return results

    def _write(self, connection: apsw.Connection, fold: Fold) -> None:
        writes, sql = fold.writes, self._tables
        events = writes.events
        if events:
            position = self._position
            if position + len(events) > self._reserved:
                self._reserved = position + len(events) + _POSITIONS
                connection.execute(_SQL["set_position"], (self._reserved,))
            numbered = [(*event, position + index) for index, event in enumerate(events, 1)]
            self._position = position + len(events)
            _many(connection, sql["add_event"], numbered)
        _many(connection, sql["set_seq"], list(writes.recipients.items()))
        _many(connection, sql["add_message"], writes.messages)
        _many(connection, sql["add_dispatch"], writes.dispatches)
        _many(connection, sql["set_state"], writes.states)
        _many(connection, sql["add_lane"], writes.lanes)
        _many(connection, sql["add_bits"], writes.bits)
        _many(connection, sql["add_command"], writes.commands)
        _many(connection, sql["end_command"], writes.dropped)
        _many(connection, sql["drop_timer"], writes.timers_gone)
        _many(connection, sql["add_timer"], writes.timers)
        _many(connection, sql["add_history"], writes.history)
        _many(connection, sql["add_sms"], writes.sms)


class _Targets(dict[int, Sequence[Target]]):
    """The endpoints of each application of a batch, read inside its transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, app: int) -> Sequence[Target]:
        targets = [Target._make(row) for row in self._connection.execute(_SQL["load_targets"], (app,))]
        self[app] = targets
        return targets


def first_answer(connection: apsw.Connection, idempotency: Idempotency, now_ms: int) -> bytes | None:
    """Return the answer kept under a key; raises `IdempotencyConflict` when another request has it."""
    row = connection.execute(
        _SQL["first_answer"], (idempotency.scope, idempotency.key, now_ms - IDEMPOTENCY_MS)
    ).fetchone()
    if row is None:
        return None
    if row[0] != idempotency.digest:
        raise IdempotencyConflict
    return bytes(row[1])


def keep_answer(connection: apsw.Connection, idempotency: Idempotency, answer: bytes, now_ms: int) -> None:
    """Keep the first answer to a key, in the transaction that does what the answer says."""
    connection.execute(
        _SQL["keep_answer"], (idempotency.scope, idempotency.key, idempotency.digest, answer, now_ms)
    )


def _app(connection: apsw.Connection, app: int) -> App | None:
    row = connection.execute(_SQL["load_app"], (app,)).fetchone()
    if row is None:
        return None
    return App(row[0], row[1], row[2], row[3], _settings(row[4]), row[5], row[6])


def _many(connection: apsw.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.executemany(sql, rows)
