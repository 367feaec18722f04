"""The stores on which the contract suite runs: each test gets a fresh one of every kind."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.store.fakes import StillClock

from homing.store.port import Store
from homing.store.sqlite import SqliteStore

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture
def clock() -> StillClock:
    """Return the clock of this test's store."""
    return StillClock()


@pytest.fixture(params=["sqlite-file", "memory"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> OpenStore:
    """Return what opens this test's store for the length of an ``async with``; a file can be opened again."""
    path = ":memory:" if request.param == "memory" else str(tmp_path / "homing.db")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store = await SqliteStore.open(path, clock=clock)
        try:
            yield store
        finally:
            await store.close()

    return opened


@pytest.fixture(params=["sqlite-file"])
def open_again(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> OpenStore:
    """Return what opens this test's store again and again, each time as another process would: the durable kinds."""
    path = str(tmp_path / "homing.db")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store = await SqliteStore.open(path, clock=clock)
        try:
            yield store
        finally:
            await store.close()

    return opened


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
