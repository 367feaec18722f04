"""`homing serve --processes N`: starts N processes that share one address, and one again that ended; it serves nothing.

Each is a node of its own (`process`). What one is told comes through its stdin, whose end tells it to stop: so none
outlives the supervisor, however that ends. The first must be ready before the others start: what keeps all from starting
is said once, and ends the verb with that one's exit code. So does what keeps all from starting later on, several times in
a row; one that does not stop when it is told is killed, and all are when this is told a second time.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from homing.cli.exits import ExitCode
from homing.cli.process import Charge
from homing.cli.settings import ONE_OF_SEVERAL
from homing.cli.signals import when_told, when_told_again
from homing.config import Settings
from homing.server import reserve
from homing.telemetry import LogEvent, configure, logger

AGAIN_S: Final = (0.1, 1.0, 2.0, 5.0, 10.0, 30.0)
"""How long one that ended is left alone: the first time, the second, …; the last for ever."""
STEADY_S: Final = 60.0
"""Who served so long begins anew in that row."""
STOP_S: Final = 50.0
"""Who has not stopped so long after it was told is killed: all at once, however many hang.

More than a node's own end takes while its store answers (devices 5 s, channels 15 s, callbacks 15 s, requests 5 s), less
than systemd waits (60 s).
"""
FUTILE: Final = 5
"""So many starts of each in a row at which none came to serve, with none serving beside them, are enough."""
PROGRAM: Final = ("-m", "homing.cli", "serve")


def run_processes(settings: Settings) -> int:
    """Serve in several processes until a signal; return the exit code. Raises a `StartError` for an address in use."""
    configure(settings.telemetry.log_format, settings.telemetry.log_level)
    return asyncio.run(_supervise(settings))


async def _supervise(settings: Settings) -> int:
    told = when_told()
    reserved, listen = reserve(settings.server.listen)
    with reserved:
        server = msgspec.structs.replace(settings.server, listen=listen)
        crew = Crew(msgspec.structs.replace(settings, server=server))
        when_told_again(told, crew.kill)
        try:
            crew.keep(1)
            await _first(crew.ready, crew.failed, told)
            if crew.ready.done():
                print(f"http://{listen}", flush=True)
                for number in range(2, server.processes + 1):
                    crew.keep(number)
                await _first(crew.failed, told)
        finally:
            ended = await crew.end()
        return (told.result() if told.done() else crew.failed.result()) or ended


async def _first(*awaited: "asyncio.Future[Any]") -> None:
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)


def delays_s() -> Iterator[float]:
    """Yield how long to wait before each start but the first."""
    yield from AGAIN_S
    while True:
        yield AGAIN_S[-1]


class Crew:
    """The processes. ``ready`` is done when one serves; ``failed`` has the exit code of one that ended before any did, or
    of the last one, when none came to serve again however often all were started.
    """

    def __init__(self, settings: Settings) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._name = f"{socket.gethostname()}/{secrets.token_hex(4)}"
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[Process] = set()
        self._serving: set[int] = set()
        self._futile: Counter[int] = Counter()
        """How often in a row each ended before it served, since one did."""

    def keep(self, number: int) -> None:
        """Have one run from now on."""
        self._tasks.append(asyncio.create_task(self._keep(number), name=f"process-{number}"))

    async def end(self) -> int:
        """Have none started again, tell all to stop, and wait until they have; who does not in time is killed.

        Returns the exit code: `ExitCode.DONE` where all stopped as they should.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self._running:
            assert process.stdin is not None
            process.stdin.close()
        codes = await asyncio.gather(*map(_stopped, self._running))
        # Who supervises this one tells all to stop, also one that is still starting: that ends it as it should, too.
        ours = any(code == ExitCode.OURS or (code < 0 and code != -signal.SIGTERM) for code in codes)
        return ExitCode.OURS if ours else ExitCode.DONE

    def kill(self) -> None:
        """Wait for none that runs."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _keep(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        delays = delays_s()
        while True:
            began_s = loop.time()
            pid, code = await self._run(number)
            if not self.ready.done() or self._is_futile():
                if not self.failed.done():
                    self.failed.set_result(code if code > 0 else int(ExitCode.OURS))
                return
            if loop.time() - began_s >= STEADY_S:
                delays = delays_s()
            again_s = next(delays)
            logger().warning(LogEvent.PROCESS_ENDED, process=number, pid=pid, code=code, again_s=again_s)
            await asyncio.sleep(again_s)

    def _is_futile(self) -> bool:
        """Say whether none serves, and each was started so often in vain that what keeps them is no accident."""
        return not self._serving and all(
            self._futile[number] >= FUTILE for number in range(1, len(self._tasks) + 1)
        )

    async def _run(self, number: int) -> tuple[int, int]:
        """Run one until it ends; return its pid and its exit code, which is below 0 for a signal."""
        try:
            process = await self._start(number)
        except OSError as error:
            logger().error(LogEvent.NODE_FAILED, process=number, error=str(error))
            self._futile[number] += 1
            return 0, int(ExitCode.OURS)
        self._running.add(process)
        assert process.stdout is not None
        if await process.stdout.readline():
            logger().info(LogEvent.PROCESS_STARTED, process=number, pid=process.pid)
            self._serving.add(number)
            self._futile.clear()
            if not self.ready.done():
                self.ready.set_result(None)
        else:
            self._futile[number] += 1
        code = await process.wait()
        self._running.discard(process)
        self._serving.discard(number)
        return process.pid, code

    async def _start(self, number: int) -> Process:
        """Start one in a group of its own: Ctrl-C is for the supervisor, which passes it on once."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, *PROGRAM,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0,
            env={**os.environ, ONE_OF_SEVERAL: str(number)},
        )  # fmt: skip
        assert process.stdin is not None
        charge = Charge(number, f"{self._name}/{number}", self._settings)
        process.stdin.write(msgspec.json.encode(charge) + b"\n")
        return process


async def _stopped(process: Process) -> int:
    """Return the exit code of one that was told to end; one that hangs would keep all from ending."""
    try:
        async with asyncio.timeout(STOP_S):
            return await process.wait()
    except TimeoutError:
        logger().error(
            LogEvent.NODE_FAILED, pid=process.pid, error=f"killed: it did not stop in {STOP_S:.0f} s"
        )
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()
