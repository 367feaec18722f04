"""Runs a production node until a signal ends it: what is under way is ended first."""

import asyncio
import contextlib
from collections.abc import Callable

import uvloop

from homing.cli.signals import when_told
from homing.config import Settings
from homing.node import Node
from homing.server import bind, neighbour
from homing.telemetry import configure

Stops = Callable[["asyncio.Future[int]"], None]
"""Ends a future with the exit code when a process is told to stop in another way than by a signal."""


def run_node(
    settings: Settings,
    *,
    number: int | None = None,
    name: str | None = None,
    stops: Stops = lambda _ended: None,
) -> int:
    """Serve in this process until it is told to stop; return the exit code. Raises a `StartError` when it cannot start.

    ``number`` says which of several processes that share an address it is, ``name`` is its own among all nodes.
    """
    configure(settings.telemetry.log_format, settings.telemetry.log_level)
    return uvloop.run(_serve(settings, number, name, stops))


async def _serve(settings: Settings, number: int | None, name: str | None, stops: Stops) -> int:
    server = settings.server
    with contextlib.ExitStack() as stack:
        # First: an address in use must not leave a new store behind.
        listener = stack.enter_context(bind(server.listen, is_shared=number is not None))
        aside = None
        if server.metrics_listen:
            aside = stack.enter_context(bind(neighbour(server.metrics_listen, (number or 1) - 1)))
        ended = when_told()
        stops(ended)
        node = await Node.open(settings, name=name)
        try:
            port = await node.listen(listener)
            if aside is not None:
                await node.listen_aside(aside)
            host = server.listen.rpartition(":")[0]
            print(f"http://{host}:{port}", flush=True)
            return await ended
        finally:
            await node.close()
