"""`homing serve` with a bug planted on purpose: what T8 is worth is shown by its finding each of these.

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
        return self._writer.do(lambda: work(self._writer.connection))

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

if __name__ == "__main__":
    from homing.cli.main import main

    BUGS[sys.argv[1]][1]()
    main(sys.argv[2:])
