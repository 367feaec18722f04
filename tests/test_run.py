"""The way tests run a coroutine: its result, its error, and what it leaves open all come out; nothing hangs."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


async def leave_open(kept: list[object]) -> None:
    """Connect, and forget to close."""
    loop = asyncio.get_running_loop()
    async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        kept.append(await loop.create_connection(asyncio.Protocol, "127.0.0.1", port))


def test_the_result_comes_out(run: Run) -> None:
    """What the coroutine returns is what the fixture returns."""
    assert run(asyncio.sleep(0, "coo")) == "coo"


def test_what_is_left_open_is_an_error(run: Run) -> None:
    """A connection that nobody closed fails the test that opened it."""
    with pytest.raises(ResourceWarning, match="unclosed"):
        run(leave_open([]))


def test_a_failure_is_not_hidden_by_what_it_leaves_open(run: Run) -> None:
    """A test that fails before it could close its connections fails with its own error, at once."""
    kept: list[object] = []

    async def fail() -> None:
        await leave_open(kept)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(fail())
