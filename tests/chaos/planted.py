"""`homing serve` with a bug planted on purpose, some of a kind that only several nodes on a PostgreSQL can have: what T8 is
worth is shown by its finding each of these.

Run as a program: the bug's name, then the arguments of `homing`.
"""

import sys
import uuid
from collections.abc import Callable
from typing import Any

import apsw


def plant(where: object, name: str, bug: object) -> None:
    """Put a bug in place of what is there; what is not there any more cannot be replaced unnoticed."""
    assert hasattr(where, name), f"{where} has no {name}: the bug must move with the code"
    setattr(where, name, bug)


def acknowledges_before_the_commit() -> None:
    """Nothing is committed any more once the first message came; who asks is shown what is only in memory."""
    from homing.store.sqlite import SqliteStore
    from homing.store.sqlite.database import Database

    transact, commit = Database._transact, SqliteStore.commit
    is_lying = False

    def lie(self: Database, work: Callable[[apsw.Connection], Any]) -> Any:
        connection = self._writer.connection
        if not is_lying:
            return transact(self, work)
        if connection.get_autocommit():
            connection.execute("BEGIN IMMEDIATE")
        return work(connection)

    def read(self: Database, work: Callable[[apsw.Connection], Any]) -> Any:
        return self._writer.do(work)

    async def begin_to_lie(self: SqliteStore, batch: Any) -> Any:
        nonlocal is_lying
        is_lying = is_lying or bool(batch.accepts)
        return await commit(self, batch)

    for cls, name, bug in (
        (Database, "_transact", lie),
        (Database, "read", read),
        (SqliteStore, "commit", begin_to_lie),
    ):
        plant(cls, name, bug)


def forgets_what_the_dead_process_held() -> None:
    """Lanes that were in the memory of the process before stay where they are."""
    from homing.store.sqlite import SqliteStore

    async def none(*_: object) -> list[object]:
        return []

    plant(SqliteStore, "adopt_lanes", none)


def draws_an_id_for_each_try() -> None:
    """A retry comes under a webhook-id of its own."""
    from homing.callbacks import courier

    plant(courier, "webhook_id", lambda *_: f"msg_{uuid.uuid4().hex}")


def takes_a_failure_for_a_success() -> None:
    """A 500 settles an event."""
    from homing.callbacks import judge
    from homing.callbacks.verdict import Outcome

    plant(judge, "outcome", lambda *_: Outcome.SUCCESS)


def keeps_no_answers() -> None:
    """An idempotency key is forgotten at once."""
    from homing.store.sqlite import ledger

    plant(ledger, "keep_answer", lambda *_: None)


BUGS: dict[str, tuple[str, Callable[[], None]]] = {
    bug.__name__: (number, bug)
    for number, bug in (
        ("I1", acknowledges_before_the_commit),
        ("I10", forgets_what_the_dead_process_held),
        ("I5", draws_an_id_for_each_try),
        ("I2", takes_a_failure_for_a_success),
        ("I1", keeps_no_answers),
    )
}
"""Name → (the invariant that it breaks, what plants it)."""


def takes_the_living_for_dead() -> None:
    """Claims are not fenced: whoever starts takes what the others hold."""
    from homing.store.claims import walk
    from homing.store.postgres import PostgresStore, claims

    async def adopt_lanes(self: PostgresStore, after: tuple[bytes, int], limit: int) -> list[Any]:
        alone = self._known._replace(newest=self._known.newest + 1, live=[self._epoch])
        return await walk(
            after,
            lambda place: self._db.write(lambda c: claims.adopt_lanes(c, place, limit, self._epoch, alone)),
        )

    plant(PostgresStore, "adopt_lanes", adopt_lanes)


def forgets_what_the_dead_held() -> None:
    """Lanes of a node that died are marked as the survivor's, and never told."""
    from homing.callbacks.leftovers import Leftovers

    plant(Leftovers, "_has_taken", lambda *_: True)


def lets_the_dead_be() -> None:
    """Nobody ever finds out that a term has run out."""
    from homing.store.postgres import nodes

    plant(nodes, "_SQL", {**nodes._SQL, "bury": "SELECT epoch FROM node WHERE false"})


def is_content_with_one_server() -> None:
    """A message is acknowledged when the primary has it, whatever the standby has."""
    from homing.store.postgres import database

    for name in ("_COMMON", "_HOT"):
        plant(database, name, {**getattr(database, name), "synchronous_commit": "local"})


NODE_BUGS: dict[str, tuple[str, float, Callable[[], None]]] = {
    bug.__name__: (number, quiet_s, bug)
    for number, quiet_s, bug in (
        ("I7", 2.0, takes_the_living_for_dead),
        ("I2", 30.0, forgets_what_the_dead_held),
        ("I2", 30.0, lets_the_dead_be),
    )
}
"""Name → (the invariant that it breaks, how long everything may take at the end to be told, what plants it)."""

if __name__ == "__main__":
    from homing.cli.main import main

    planted = [bug for _, bug in BUGS.values()] + [bug for _, _, bug in NODE_BUGS.values()]
    {bug.__name__: bug for bug in (*planted, is_content_with_one_server)}[sys.argv[1]]()
    main(sys.argv[2:])
