"""A whole node that is closed while its parts break: whatever one's end comes to, the next one's follows."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from homing.config import Settings
from homing.node import Node

Run = Callable[[Coroutine[Any, Any, None]], None]


def test_every_part_is_closed_whatever_the_others_come_to(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that breaks is logged; the store is closed, so that the others have what this node held."""

    async def story() -> None:
        node = await Node.open(Settings(), memory=True)
        parts, ended = node._parts, list[str]()

        def broken(name: str, close: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Any]:
            async def end(*given: Any) -> None:
                await close(*given)
                ended.append(name)
                raise RuntimeError(f"{name} is broken")

            return end

        doers = {
            "gateway": parts.gateway, "channels": parts.channels, "upkeep": parts.upkeep, "telling": parts.telling,
            "engine": node.engine, "store": node.store,
        }  # fmt: skip
        for name, part in doers.items():
            assert part is not None
            monkeypatch.setattr(part, "close", broken(name, part.close))
        await node.close()
        assert ended == list(doers)
        told = capsys.readouterr().err
        assert all(f"{name} is broken" in told for name in doers)

    run(story())
