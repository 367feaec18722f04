"""What tests of the courier start from: an office with everything real but the sender."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.callbacks.office import Office, office

Run = Callable[[Coroutine[Any, Any, None]], None]
Story = Callable[[Office], Coroutine[Any, Any, None]]


@pytest.fixture
def at_work(run: Run) -> Callable[..., None]:
    """Return what runs a test's story in an office that was opened with the given settings."""

    def tell(story: Story, **given: Any) -> None:
        async def whole() -> None:
            async with office(**given) as place:
                await story(place)

        run(whole())

    return tell


AtWork = Callable[..., None]
