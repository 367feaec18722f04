"""Runs a node until a signal ends it: SIGTERM drains and is success, Ctrl-C drains too; a second signal does not wait."""

import asyncio
import signal

import uvloop

from homing.cli.exits import ExitCode
from homing.config import Settings
from homing.node import Node
from homing.server import bind
from homing.telemetry import configure

ENDS = {signal.SIGTERM: ExitCode.DONE, signal.SIGINT: ExitCode.INTERRUPTED}
"""Signal → how the process ends when it comes."""


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


def when_told() -> "asyncio.Future[int]":
    """Return a future that the first signal ends with the exit code; after it, signals kill as usual."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    for number, code in ENDS.items():
        loop.add_signal_handler(number, _end, ended, code)
    return ended


def _end(ended: "asyncio.Future[int]", code: int) -> None:
    loop = asyncio.get_running_loop()
    for number in ENDS:
        loop.remove_signal_handler(number)
    if not ended.done():
        ended.set_result(code)
