"""The fixtures with a PostgreSQL in them, for every room of the tests, and its log beside each failure.

postgres            one server for the whole run: fast, keeps nothing through a machine's end; nobody may stop it
fresh_database      the name of a new database in it
dsn                 the address of one, where nothing else of the server is needed
mortal_postgres     a server of this module's own that keeps what it committed; each test may kill it and finds it up

Both live in memory where there is room: a process that is killed loses nothing there, and the tests wait for no disk.
"""

from collections.abc import Generator, Iterator

import pytest
from tests.postgres.server import Server

_STARTS: pytest.StashKey[dict[Server, int]] = pytest.StashKey()
LOG_CHARACTERS = 8000


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Return the server that all tests of this run share, each in a database of its own."""
    with Server(fast=True, name="shared", max_connections=200) as server:
        yield server


@pytest.fixture
def fresh_database(postgres: Server) -> Iterator[str]:
    """Return the name of a database that is empty and this test's own."""
    name = postgres.create()
    yield name
    postgres.drop(name)


@pytest.fixture
def dsn(postgres: Server, fresh_database: str) -> str:
    """Return the address of a database that is empty and this test's own."""
    return postgres.dsn(fresh_database)


@pytest.fixture(scope="module")
def _mortal_postgres() -> Iterator[Server]:
    with Server(name="mortal", in_memory=True) as server:
        yield server


@pytest.fixture
def mortal_postgres(_mortal_postgres: Server) -> Iterator[Server]:
    """Return a running server that may be killed, frozen, stopped; it synchronises what it answers, as in production."""
    server = _mortal_postgres
    settings = dict(server.settings)
    yield server
    if server.settings != settings or not server.is_running:
        server.kill()
        server.settings = settings
        server.start()
    server.thaw()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember how long each server's log is before the test."""
    item.stash[_STARTS] = {server: server.home.log.stat().st_size for server in Server.alive}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the servers logged meanwhile beside a failure."""
    report = yield
    if report.failed:
        starts = item.stash.get(_STARTS, {})
        for server in Server.alive:
            if text := server.log_text(starts.get(server, 0))[-LOG_CHARACTERS:]:
                report.sections.append((f"PostgreSQL's log: {server.name}", text))
    return report
