"""The hot path on PostgreSQL: one batch, one transaction, each table written by one statement.

What the rows become is `homing.store.fold`'s and `homing.store.postgres.lanes`' to say; here they are locked, loaded
and written, in the one order in which everybody locks (see ``sql/postgres/ledger.sql``).
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from homing.config.settings import ROLES, Role
from homing.errors import HomingError, NotFound
from homing.lifecycle.dispatch import State
from homing.model import App, FallbackSettings
from homing.store.batch import Accept, Accepted, Batch, Committed, Facts, Idempotency, Result
from homing.store.claims import finished
from homing.store.dialogue import Again
from homing.store.fold import Addressed, Fold, Loaded, Target, Writes, look_ahead
from homing.store.postgres import settles
from homing.store.postgres.answers import Keys, replayed
from homing.store.postgres.lanes import Lanes, Outcomes, settle, settled_rows
from homing.store.postgres.positions import Positions
from homing.store.sql import joined, load

Row = Any
_SQL: Final = load("postgres", "ledger")
_settings: Final = msgspec.json.Decoder(FallbackSettings).decode
_UNKNOWN: Final = Result(None, "unknown_dispatch")


class Online:
    """Who has a live link: here, or as the transaction saw it at another node."""

    def __init__(self, here: Container[int]) -> None:
        self._here = here
        self.elsewhere: set[int] = set()

    def __contains__(self, recipient: object) -> bool:
        return recipient in self._here or recipient in self.elsewhere


class _Everywhere(Container[int]):
    """All endpoints there are."""

    def __contains__(self, _endpoint: object) -> bool:
        return True


class Transaction:
    """One batch on its way into the store; made anew when it is repeated."""

    def __init__(
        self,
        connection: Any,
        batch: Batch,
        now_ms: int,
        epoch: int,
        positions: Positions,
        online: Container[int],
        roles: Container[str] = ROLES,
        number: int | None = None,
    ) -> None:
        """``number`` is noted with the batch as the epoch's last (`homing.store.postgres.standing`)."""
        self._connection = connection
        self._batch = batch
        self._now_ms = now_ms
        self._epoch = epoch
        self._positions = positions
        self._online = Online(online)
        self._roles = roles
        self._number = number

    async def commit(self) -> Committed:
        """Write the batch inside the transaction the caller opened."""
        batch = self._batch
        keys = Keys()
        wanted = [a.idempotency for a in batch.accepts if a.idempotency is not None]
        if wanted:
            await keys.take(self._connection, wanted, self._now_ms)
        answers = [replayed(keys, accept, self._now_ms) for accept in batch.accepts]
        apps = await self._apps(accept.app for accept in batch.accepts)
        recipients = await self._recipients(self._new(answers, apps))
        dispatches = await self._dispatches()
        targets = await self._targets(apps, dispatches)
        lanes = await self._lanes(dispatches)
        outcomes = settle(lanes, batch.settles, self._epoch) if batch.settles else Outcomes()
        # What is found now was there before this batch, which hands over itself what it records.
        forgotten = outcomes.forgotten(lanes, self._epoch)
        fold = self._fold(targets)
        committed = fold.committed
        for accept, answer in zip(batch.accepts, answers, strict=True):
            committed.accepts.append(answer or self._accept(fold, accept, apps, recipients, keys))
        committed.incomings = await self._take_in(fold)
        committed.occurrences = self._advance(fold, dispatches, lanes)
        fold.writes.history += [(note.key, self._now_ms, note.code, note.detail) for note in batch.notes]
        for key, endpoint, pending, due_ms, owner in fold.writes.lanes:
            lanes.add(key, endpoint, pending, due_ms, owner)
        for bits, key, endpoint in fold.writes.bits:
            lanes.widen(key, endpoint, bits)
        committed.lanes = [work if work.fresh else lanes.seen(work) for work in committed.lanes]
        await self._write(fold, lanes, outcomes)
        works, due = await settles.write(self._connection, outcomes, forgotten, self._now_ms)
        if wanted:
            await keys.write(self._connection, self._now_ms)
        committed.lanes[:0] = works
        for endpoint in due:
            committed.lanes_due.setdefault(endpoint, self._now_ms)
        look_ahead(committed, batch)
        return committed

    def _fold(self, targets: dict[int, Sequence[Target]]) -> Fold:
        """What this node has not the role for is born free: it owns nothing that it would not do."""
        born_free = self._batch.born_free if Role.CALLBACKS in self._roles else _Everywhere()
        are_commands_free = Role.CHANNELS not in self._roles
        return Fold(self._now_ms, self._epoch, targets, born_free, are_commands_free=are_commands_free)

    def _new(self, answers: Sequence[object], apps: dict[int, App]) -> Iterable[Accept]:
        """Those accepts that will be stored, should no earlier one of this batch have their key."""
        seen: set[tuple[str, str]] = set()
        for accept, answer in zip(self._batch.accepts, answers, strict=True):
            if answer is not None or accept.app not in apps:
                continue
            if accept.idempotency is not None:
                name = (accept.idempotency.scope, accept.idempotency.key)
                if name in seen:
                    continue
                if accept.render is not None:
                    seen.add(name)
            yield accept

    async def _apps(self, wanted: Iterable[int]) -> dict[int, App]:
        ids = sorted(set(wanted))
        if not ids:
            return {}
        rows = await self._connection.fetch(_SQL["load_apps"], ids)
        return {r[0]: App(r[0], r[1], r[2], r[3], _settings(r[4]), r[5], r[6]) for r in rows}

    async def _recipients(self, accepts: Iterable[Accept]) -> dict[tuple[int, str], Addressed]:
        """Move the counters of everybody who gets a message on, under their locks; return what they were."""
        counts = Counter(
            (accept.app, addressee.folded) for accept in accepts for addressee in accept.addressees
        )
        if not counts:
            return {}
        columns = zip(*((app, folded, count) for (app, folded), count in counts.items()), strict=True)
        found: dict[tuple[int, str], Addressed] = {}
        for app, folded, id_, identifier, number, seq, wakeable, is_linked in await self._connection.fetch(
            _SQL["number_messages"], *map(list, columns)
        ):
            found[app, folded] = Addressed(id_, identifier, number, seq, wakeable)
            if is_linked:
                self._online.elsewhere.add(id_)
        return found

    async def _dispatches(self) -> dict[bytes, Row]:
        keys = sorted({occurrence.key for occurrence in self._batch.occurrences})
        if not keys:
            return {}
        return {row[0]: row for row in await self._connection.fetch(_SQL["load_dispatches"], keys)}

    async def _targets(
        self, apps: dict[int, App], dispatches: dict[bytes, Row]
    ) -> dict[int, Sequence[Target]]:
        wanted = {
            *apps, *(row[2] for row in dispatches.values()), *(incoming.app for incoming in self._batch.incomings)
        }  # fmt: skip
        targets: dict[int, list[Target]] = {app: [] for app in wanted}
        if wanted:
            for app, *target in await self._connection.fetch(_SQL["load_targets"], sorted(wanted)):
                targets[app].append(Target._make(target))
        return dict(targets)

    async def _lanes(self, dispatches: dict[bytes, Row]) -> Lanes:
        """Lock and load the lanes that were settled, and all those of the dispatches to which something happened."""
        keys = sorted({*(s.key for s in self._batch.settles), *dispatches})
        if not keys:
            return Lanes()
        endpoints = sorted({s.endpoint for s in self._batch.settles})
        return Lanes(await self._connection.fetch(_SQL["load_lanes"], keys, endpoints, sorted(dispatches)))

    def _accept(
        self,
        fold: Fold,
        accept: Accept,
        apps: dict[int, App],
        recipients: dict[tuple[int, str], Addressed],
        keys: Keys,
    ) -> Accepted | HomingError:
        again = replayed(keys, accept, self._now_ms)  # by an earlier one of this very batch
        if again is not None:
            return again
        app = apps.get(accept.app)
        if app is None:
            return NotFound("there is no such application")
        rows = [recipients.get((app.id, addressee.folded)) for addressee in accept.addressees]
        accepted = fold.accept(accept, app, rows, self._online)
        idempotency: Idempotency | None = accept.idempotency
        if idempotency is not None and accept.render is not None:
            answer = accept.render(accepted)
            keys.keep(idempotency, answer)
            accepted = msgspec.structs.replace(accepted, answer=answer)
        return accepted

    async def _take_in(self, fold: Fold) -> list[Any]:
        """Store incoming messages that are new; who repeats a client_ref, here or at another node, gets the first's id."""
        incomings = self._batch.incomings
        if not incomings:
            return []
        named = [(i.device, i.client_ref) for i in incomings if i.client_ref is not None]
        same: dict[tuple[str, str | None], bytes] = {}
        if named:
            rows = await self._connection.fetch(_SQL["same_incomings"], *map(list, zip(*named, strict=True)))
            same = {(row[0], row[1]): row[2] for row in rows}
        new = []
        for incoming in incomings:
            name = (incoming.device, incoming.client_ref)
            if incoming.client_ref is None or name not in same:
                new.append(incoming)
                same.setdefault(name, incoming.message_id)
        first = self._positions.take(self._now_ms, len(new))
        for incoming in new:
            fold.take_in(incoming)
        rows = [(*row, first[i]) for i, row in enumerate(fold.writes.incoming)]
        if rows:
            stored = await self._connection.fetch(_SQL["add_incoming"], *map(list, zip(*rows, strict=True)))
            if len(stored) < len(rows):
                raise Again("another node was told the same by a device")
        return [i.message_id if i.client_ref is None else same[i.device, i.client_ref] for i in incomings]

    def _advance(self, fold: Fold, dispatches: dict[bytes, Row], lanes: Lanes) -> list[Result]:
        occurrences = self._batch.occurrences
        by_key: dict[Any, list[int]] = defaultdict(list)
        for index, occurrence in enumerate(occurrences):
            by_key[occurrence.key].append(index)
        results: list[Result] = [_UNKNOWN] * len(occurrences)
        for key in sorted(by_key):
            indexes = by_key[key]
            row = dispatches.get(key)
            if row is None:
                continue
            loaded = Loaded(
                row[1], Facts(*row[2:8]), row[8], State._make(row[10:]), lanes.held(key, self._epoch), row[9]
            )
            answers = fold.advance(key, loaded, [occurrences[index] for index in indexes])
            for index, answer in zip(indexes, answers, strict=True):
                results[index] = answer
        return results

    async def _write(self, fold: Fold, lanes: Lanes, outcomes: Outcomes) -> None:
        """Write it all in one statement: no two of its parts are about the same row, and none reads what another writes."""
        writes = fold.writes
        events = writes.events
        first = self._positions.take(self._now_ms, len(events))
        added, changed, dropped = lanes.written()
        commands = await self._finished(writes)
        gone, armed = set(writes.timers_gone), set(writes.timers)
        tables: dict[str, Sequence[tuple[Any, ...]]] = {
            "add_messages": writes.messages,
            "add_dispatches": writes.dispatches,
            "set_states": writes.states,
            "add_events": [(*event, first[i]) for i, event in enumerate(events)],
            "add_commands": writes.commands,
            **commands,
            "drop_lanes": dropped,
            "set_lanes": changed,
            "add_lanes": added,
            "drop_timers": sorted(gone - armed),
            "add_timers": writes.timers,
            "add_history": writes.history,
            "add_sms": _last_of_each(writes.sms),
            "add_attempts": outcomes.attempts,
            "add_settled": settled_rows(outcomes),
            "note_commit": [] if self._number is None else [(self._epoch, self._number)],
        }
        filled = {name: rows for name, rows in tables.items() if rows}
        if filled:
            columns = chain.from_iterable(zip(*rows, strict=True) for rows in filled.values())
            await self._connection.execute(joined(*(_SQL[name] for name in filled)), *columns)

    async def _finished(self, writes: Writes) -> dict[str, Sequence[tuple[Any, ...]]]:
        """Return what becomes of commands, by statement; where two are about the same one, they are run first, one by one."""
        done, given_up, later = finished(self._batch.commands_done, self._epoch)
        ended = set(done)
        by_name: dict[str, Sequence[tuple[Any, ...]]] = {
            "end_commands": sorted(ended), "give_up_commands": given_up, "put_off_commands": later,
        }  # fmt: skip
        places = [row[:2] for row in (*ended, *given_up, *later, *writes.commands)]
        dropped = set(writes.dropped)
        if len(places) > len(set(places)) or not dropped.isdisjoint(row[:2] for row in (*given_up, *later)):
            for name, rows in by_name.items():
                await self._many(name, rows)
            return {"end_commands": sorted(dropped)}
        return {**by_name, "end_commands": sorted(ended | dropped)}

    async def _many(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            await self._connection.execute(_SQL[name], *zip(*rows, strict=True))


def _last_of_each(sms: Sequence[tuple[str, str, bytes, int]]) -> list[tuple[str, str, bytes, int]]:
    """One statement may not write a row twice: the last word counts, as if they were written one by one."""
    return list({row[:2]: row for row in sms}.values())
