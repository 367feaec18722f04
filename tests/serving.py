"""A uvicorn of a test's own: without signal handlers, so that several can run in one process, and it says when it serves."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn


class Serving(uvicorn.Server):
    """Serves until ``should_exit``; `is_up` is set when whoever connects is answered."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the tests."""
        yield
