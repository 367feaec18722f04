"""Runs a production node until a signal ends it: what is under way is ended first."""

import uvloop

from homing.cli.signals import when_told
from homing.config import Settings
from homing.node import Node
from homing.server import bind
from homing.telemetry import configure


def run_node(settings: Settings) -> int:
    """Serve in this process until a signal; return the exit code. Raises a `StartError` when it cannot start."""
    configure(settings.telemetry.log_format, settings.telemetry.log_level)
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    listener = bind(settings.server.listen)  # first: an address in use must not leave a new store behind
    try:
        ended = when_told()
        node = await Node.open(settings)
        try:
            port = await node.listen(listener)
            host = settings.server.listen.rpartition(":")[0]
            print(f"http://{host}:{port}", flush=True)
            return await ended
        finally:
            await node.close()
    finally:
        listener.close()
