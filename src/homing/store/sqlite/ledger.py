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
    Occurrence,
    Result,
)
from homing.store.claims import finished
from homing.store.fold import Addressed, Fold, Loaded, Target, look_ahead
from homing.store.sql import load
from homing.store.sqlite.rows import fetch
from homing.store.sqlite.settles import settle

IDEMPOTENCY_MS: Final = 24 * 3600 * 1000
_POSITIONS: Final = 1_000_000
"""How many event positions are reserved at a time; a restart skips what is left of them."""
_SQL: Final = load("sqlite", "ledger")
_ONE_BY_ONE: Final = 4
"""So many recipients are looked up one by one; more in one statement."""
_to_json: Final = msgspec.json.Encoder().encode
_settings: Final = msgspec.json.Decoder(FallbackSettings).decode
_State: Final = State._make


class Writer:
    """The writer's side of the ledger; lives on the writer's thread."""

    def __init__(self, epoch: int, positions_from: int, online: Container[int]) -> None:
        self._epoch = epoch
        self._position = positions_from
        self._online = online
        self._tables = {
            name: _SQL[name]
            for name in ("add_message", "add_dispatch", "set_state", "add_event", "add_lane", "add_bits",
                         "add_command", "end_command", "add_timer", "drop_timer", "add_history", "add_sms",
                         "add_incoming", "set_seq")
        }  # fmt: skip

    def commit(self, connection: apsw.Connection, batch: Batch, now_ms: int) -> Committed:
        """Write one batch inside the transaction the caller opened."""
        lanes, due = settle(connection, batch.settles, self._epoch, now_ms) if batch.settles else ([], [])
        self._finish(connection, batch.commands_done)
        targets: dict[int, Sequence[Target]] = _Targets(connection)
        fold = Fold(now_ms, self._epoch, targets, batch.born_free)
        committed = fold.committed
        committed.lanes.extend(lanes)
        committed.lanes_due.update(dict.fromkeys(due, now_ms))
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
                position = self._positions(connection, 1)
                connection.execute(_SQL["add_incoming"], (*fold.writes.incoming.pop(), position))
            committed.incomings.append(incoming.message_id if same is None else same[0])
        if keyed := sum(accept.idempotency is not None for accept in batch.accepts):
            drop_old_answers(connection, now_ms, 2 * keyed)
        committed.occurrences = self._advance(connection, fold, batch.occurrences)
        for note in batch.notes:
            fold.writes.history.append((note.key, now_ms, note.code, note.detail))
        self._write(connection, fold)
        look_ahead(committed, batch)
        return committed

    def _finish(self, connection: apsw.Connection, commands: list[CommandDone]) -> None:
        ended, given_up, put_off = finished(commands, self._epoch)
        _many(connection, _SQL["end_command"], ended)
        _many(connection, _SQL["give_up_command"], given_up)
        _many(connection, _SQL["put_off_command"], put_off)

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
        accepted = fold.accept(accept, app, _addressed(connection, app.id, accept), self._online)
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
            lanes = {lane: bool(held) for lane, held in fetch(connection, load_lanes, (key, self._epoch))}
            loaded = Loaded(row[0], Facts(*row[1:7]), row[7], _State(row[9:]), lanes, row[8])
            answers = fold.advance(key, loaded, [occurrences[index] for index in indexes])
            for index, answer in zip(indexes, answers, strict=True):
                results[index] = answer
        return results

    def _write(self, connection: apsw.Connection, fold: Fold) -> None:
        writes, sql = fold.writes, self._tables
        events = writes.events
        if events:
            first = self._positions(connection, len(events))
            numbered = [(*event, position) for position, event in enumerate(events, first)]
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

    def _positions(self, connection: apsw.Connection, count: int) -> int:
        """Take the next ``count`` positions of the feed and return the first of them.

        How far they are reserved only the store can tell: what reserved some may have been rolled back since.
        """
        position = self._position
        row = connection.execute(_SQL["last_position"]).fetchone()
        if row is None or position + count > row[0]:
            connection.execute(_SQL["set_position"], (position + count + _POSITIONS,))
        self._position = position + count
        return position + 1


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


def drop_old_answers(connection: apsw.Connection, now_ms: int, most: int) -> None:
    """Drop up to ``most`` answers past their day; called with each that is kept, so that the table does not grow."""
    connection.execute(_SQL["drop_old_answers"], (now_ms - IDEMPOTENCY_MS, most))


def _addressed(connection: apsw.Connection, app: int, accept: Accept) -> Sequence[Addressed | None]:
    addressees = accept.addressees
    if len(addressees) <= _ONE_BY_ONE:
        sql = _SQL["load_recipient"]
        rows = (connection.execute(sql, (app, addressee.folded)).fetchone() for addressee in addressees)
        return [None if row is None else Addressed._make(row) for row in rows]
    folded = _to_json([addressee.folded for addressee in addressees]).decode()
    found = connection.execute(_SQL["load_recipients"], (app, folded))
    return [None if row[0] is None else Addressed._make(row) for row in found]


def _app(connection: apsw.Connection, app: int) -> App | None:
    row = connection.execute(_SQL["load_app"], (app,)).fetchone()
    if row is None:
        return None
    return App(row[0], row[1], row[2], row[3], _settings(row[4]), row[5], row[6])


def _many(connection: apsw.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.executemany(sql, rows)
