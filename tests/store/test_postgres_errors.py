"""What PostgreSQL refuses, as the store's callers hear it: nobody's items are blamed for what its operator must change."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock

from homing.errors import HomingError, NotAcceptable, Unavailable
from homing.store.postgres.database import Database

pytestmark = needs_postgres
Ask = Callable[[Database, str], Awaitable[object]]

WAYS: dict[str, Ask] = {
    "write": lambda db, sql: db.write(lambda c: c.execute(sql)),
    "look": lambda db, sql: db.look(lambda c: c.execute(sql)),
    "look up": lambda db, sql: db.look_up(lambda c: c.execute(sql)),
    "fetch": lambda db, sql: db.fetch(sql),
    "alone": lambda db, sql: db.alone(lambda c: c.execute(sql)),
}
REFUSALS = {
    "disk full": "53100",
    "privileges": "42501",
    "no such table": "42P01",
    "no such schema": "3F000",
    "in use": "55006",
    "disk broken": "58030",
    "read only": "25006",
    "deadlock": "40P01",
    "shut down": "57P01",
}


@pytest.fixture
def asked(
    fresh_database: str, postgres: Any, run: Run
) -> Callable[[Callable[[Database], Awaitable[None]]], None]:
    """Tell a story of one open database."""

    def tell(story: Callable[[Database], Awaitable[None]]) -> None:
        async def whole() -> None:
            db = Database(postgres.dsn(fresh_database), StillClock(), writers=1, readers=1)
            await db.open()
            try:
                await story(db)
            finally:
                await db.close()

        run(whole())

    return tell


def test_what_its_operator_must_change_is_unavailable(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is asked; a full disk says when to come again."""
    monkeypatch.setattr("homing.store.postgres.database._REPEATS", 1)

    async def story(db: Database) -> None:
        for way, ask in WAYS.items():
            for what, code in REFUSALS.items():
                with pytest.raises(Unavailable) as caught:
                    await ask(db, f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$")
                assert (caught.value.retry_after_s > 1) == (code == "53100"), (way, what)

    asked(story)


def test_tables_of_another_role_are_unavailable(asked: Any) -> None:
    """Whose rights were taken away is told so; the node goes on when they are back."""

    async def story(db: Database) -> None:
        await db.write(lambda c: c.execute("CREATE TABLE t (n int); REVOKE ALL ON t FROM CURRENT_USER"))
        for ask in WAYS.values():
            with pytest.raises(Unavailable, match="permission denied"):
                await ask(db, "SELECT n FROM t")
        await db.write(lambda c: c.execute("GRANT ALL ON t TO CURRENT_USER"))
        for ask in WAYS.values():
            await ask(db, "SELECT n FROM t")

    asked(story)


def test_a_connection_that_is_lost_meanwhile_is_unavailable(asked: Any) -> None:
    """Also one outside the pools."""

    async def work(connection: Any) -> None:
        connection.terminate()
        await connection.execute("SELECT 1")

    async def story(db: Database) -> None:
        for doing in (db.write(work), db.look(work), db.alone(work)):
            with pytest.raises(Unavailable):
                await doing

    asked(story)


def test_what_a_value_is_to_blame_for_is_not_unavailable(asked: Any) -> None:
    """A batch is split for it, which no outage is worth; U+0000 is its sender's fault."""

    async def story(db: Database) -> None:
        with pytest.raises(Exception, match="division by zero") as caught:
            await db.write(lambda c: c.execute("SELECT 1 / 0"))
        assert not isinstance(caught.value, HomingError)
        for ask in (db.write, db.look):
            with pytest.raises(NotAcceptable):
                await ask(lambda c: c.fetch("SELECT $1::text", "a\0b"))

    asked(story)
