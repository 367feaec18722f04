"""First answers kept under idempotency keys: taken first of all in the accepting transaction, filled in at its end."""

from collections.abc import Sequence
from typing import Any, Final

from homing.errors import HomingError, IdempotencyConflict
from homing.store.batch import Accept, Accepted, Idempotency
from homing.store.sql import load

IDEMPOTENCY_MS: Final = 24 * 3600 * 1000
_SQL: Final = load("postgres", "ledger")
Name = tuple[str, str]


class Keys:
    """The idempotency keys of one batch: which are new and held by this transaction, which have their answer."""

    def __init__(self) -> None:
        self._new: set[Name] = set()
        self._kept: dict[Name, tuple[bytes, bytes]] = {}
        self._given: dict[Name, tuple[bytes, bytes]] = {}

    async def take(self, connection: Any, wanted: Sequence[Idempotency], now_ms: int) -> None:
        """Take what is new, in one order; wait for other transactions that are taking the same."""
        by_name = {(one.scope, one.key): one.digest for one in wanted}
        names = sorted(by_name)
        scopes, keys = [name[0] for name in names], [name[1] for name in names]
        taken = await connection.fetch(
            _SQL["take_keys"],
            scopes,
            keys,
            [by_name[name] for name in names],
            now_ms,
            now_ms - IDEMPOTENCY_MS,
        )
        self._new = {(row[0], row[1]) for row in taken}
        if len(self._new) < len(names):
            rows = await connection.fetch(_SQL["kept_answers"], scopes, keys, now_ms - IDEMPOTENCY_MS)
            self._kept = {(r[0], r[1]): (r[2], r[3]) for r in rows if (r[0], r[1]) not in self._new}

    def first(self, idempotency: Idempotency) -> bytes | None:
        """Return the first answer under a key; raises `IdempotencyConflict` when another request has it."""
        name = (idempotency.scope, idempotency.key)
        found = self._kept.get(name) or self._given.get(name)
        if found is None:
            return None
        if found[0] != idempotency.digest:
            raise IdempotencyConflict
        return found[1]

    def keep(self, idempotency: Idempotency, answer: bytes) -> None:
        """The key is used: whoever repeats it gets this."""
        self._given[idempotency.scope, idempotency.key] = (idempotency.digest, answer)

    async def write(self, connection: Any, now_ms: int) -> None:
        """Fill in the answers; give back what was taken and not used."""
        if self._given:
            names = sorted(self._given)
            await connection.execute(
                _SQL["set_answers"], [n[0] for n in names], [n[1] for n in names],
                [self._given[n][1] for n in names],
            )  # fmt: skip
        unused = sorted(self._new - self._given.keys())
        if unused:
            await connection.execute(_SQL["give_keys_back"], [n[0] for n in unused], [n[1] for n in unused])
        await connection.execute(_SQL["drop_old_answers"], now_ms - IDEMPOTENCY_MS, 2 * len(self._new) + 20)


async def recall(connection: Any, idempotency: Idempotency, now_ms: int) -> bytes | None:
    """Return the first answer kept under a key without taking it."""
    rows = await connection.fetch(
        _SQL["kept_answers"], [idempotency.scope], [idempotency.key], now_ms - IDEMPOTENCY_MS
    )
    if not rows:
        return None
    if rows[0][2] != idempotency.digest:
        raise IdempotencyConflict
    return bytes(rows[0][3])


def replayed(keys: Keys, accept: Accept, now_ms: int) -> Accepted | HomingError | None:
    """Answer an accept whose key was used before; None where it is new or has none."""
    if accept.idempotency is None:
        return None
    try:
        answer = keys.first(accept.idempotency)
    except IdempotencyConflict as error:
        return error
    return None if answer is None else Accepted(accept.message_id, now_ms, (), answer, replayed=True)
