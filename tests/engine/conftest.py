"""A started world for each test's story, closed when it is told."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.engine.world import Run, Tell, World

from homing.engine import loop


@pytest.fixture
def story(run: Run, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Return what runs a test's story in a started world, and closes it."""
    monkeypatch.setattr(loop, "AGAIN_S", 0.001)

    def tell(told: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            world = World()
            await world.engine.start()
            try:
                await told(world)
            finally:
                await world.engine.close(1.0)

        run(whole())

    return tell
