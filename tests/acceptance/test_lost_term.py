"""A whole node whose term is lost: what it keeps of the configuration in memory is read anew."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from homing.config import Settings
from homing.errors import Unavailable
from homing.node import Node, running

Run = Callable[[Coroutine[Any, Any, None]], None]


def test_a_term_that_is_lost_again_while_the_node_reads_begins_anew(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before may lack what was missed since; a store that does not answer is asked again."""
    monkeypatch.setattr(running, "RELOAD_AGAIN_S", 0.0)

    async def story() -> None:
        node = await Node.open(Settings(), memory=True)
        begun, ended, gate = list[int](), list[int](), asyncio.Event()

        async def reload() -> None:
            begun.append(len(begun))
            if len(begun) == 2:
                raise Unavailable("away")
            await gate.wait()
            ended.append(len(begun))

        monkeypatch.setattr(node._parts, "reload", reload)
        for _ in range(2):
            node._lost()
            while len(begun) % 2 == 0:
                await asyncio.sleep(0)
        gate.set()
        while not ended:
            await asyncio.sleep(0)
        assert (begun, ended) == ([0, 1, 2], [3])
        await node.close()

    run(story())
