"""The stores on which the contract suite runs: each test gets a fresh one of every kind."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.store import databases, later
from tests.store.fakes import StillClock

from homing.store import migrations, sql
from homing.store.port import Store
from homing.store.postgres import PostgresStore, schema
from homing.store.sqlite import SqliteStore

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture
def clock() -> StillClock:
    """Return the clock of this test's store."""
    return StillClock()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return where a SQLite file of this test's is to be."""
    return str(tmp_path / "homing.db")


needs_postgres = pytest.mark.usefixtures("server")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have a PostgreSQL: the one that HOMING_TEST_POSTGRES names, or the tests' own."""
    if not databases.is_named():
        postgres = request.getfixturevalue("postgres")
        databases.use(postgres.dsn("postgres", superuser=True))
    yield
    databases.drop_template()


@pytest.fixture
def database(server: None) -> Iterator[str]:
    """Return the address of a database of PostgreSQL with empty tables, this test's own."""
    with databases.fresh_database() as address:
        yield address


@pytest.fixture
def a_later_release(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of a schema on PostgreSQL that comes after today's."""
    number = schema.SCHEMA + 1
    load = sql.load

    def with_one_more(store: str, file: str) -> Mapping[str, str]:
        return {"migrate": later.NEXT} if file == f"schema_{number}" else load(store, file)

    monkeypatch.setattr(migrations, "load", with_one_more)
    return number


def _opening(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> OpenStore:
    path = ":memory:" if request.param == "memory" else str(tmp_path / "homing.db")
    address = request.getfixturevalue("database") if request.param == "postgres" else ""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store: Store
        if address:
            # One node, whose transactions end before the next begins: its feed need not wait for others.
            store = await PostgresStore.open(address, clock=clock, feed_lag_ms=0, beats=False)
        else:
            store = await SqliteStore.open(path, clock=clock)
        try:
            yield store
        finally:
            await store.close()

    return opened


@pytest.fixture(params=["sqlite-file", "memory", "postgres"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> OpenStore:
    """Return what opens this test's store for the length of an ``async with``; a durable one can be opened again."""
    return _opening(request, tmp_path, clock)


@pytest.fixture(params=["sqlite-file", "postgres"])
def open_again(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> OpenStore:
    """Return what opens this test's store again and again, each time as another process would: the durable kinds."""
    return _opening(request, tmp_path, clock)


Run = Callable[[Coroutine[Any, Any, None]], None]
Story = Callable[[Store], Coroutine[Any, Any, None]]
WithStore = Callable[[Story], None]


@pytest.fixture
def with_store(open_store: OpenStore, run: Run) -> WithStore:
    """Return what runs a test's story on an open store."""

    def tell(story: Story) -> None:
        async def whole() -> None:
            async with open_store() as store:
                await story(store)

        run(whole())

    return tell
