"""One of the processes of `homing serve --processes N`: what it is to do comes through stdin, whose end tells it to stop."""

import asyncio
import os
import sys

import msgspec
import structlog

from homing.cli.exits import ExitCode
from homing.cli.serving import run_node
from homing.config import Settings


class Charge(msgspec.Struct, frozen=True):
    """What the supervisor tells a process when it starts it.

    ``number`` says which one it is, from 1; ``name`` is that one's among all nodes, the same after each start; the
    settings are as the supervisor read them.
    """

    number: int
    name: str
    settings: Settings


def run_process() -> int:
    """Serve as one of several; every line of the log says which."""
    line = sys.stdin.buffer.readline()
    if not line:  # the supervisor is no more
        return ExitCode.DONE
    charge = msgspec.json.decode(line, type=Charge)
    structlog.contextvars.bind_contextvars(process=charge.number)
    return run_node(charge.settings, number=charge.number, name=charge.name, stops=_when_left)


def _when_left(ended: "asyncio.Future[int]") -> None:
    """End this process when the supervisor closed its end of stdin, or is no more."""
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            if not ended.done():
                ended.set_result(int(ExitCode.DONE))

    loop.add_reader(stdin, read)
