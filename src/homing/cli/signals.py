"""How a signal ends a verb that runs: SIGTERM is success, Ctrl-C is 130; the second one does not wait."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from homing.cli.exits import ExitCode

ENDS: Final = {signal.SIGTERM: ExitCode.DONE, signal.SIGINT: ExitCode.INTERRUPTED}
"""Signal → how the process ends when it comes."""


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


def when_told_again(ended: "asyncio.Future[int]", hurry: Callable[[], None]) -> None:
    """Have ``hurry()`` called before the signal after the one that ended the future kills this process.

    What it started would outlive it otherwise: nobody waits for that either.
    """
    loop = asyncio.get_running_loop()

    def arm(_: "asyncio.Future[int]") -> None:
        for number in ENDS:
            loop.add_signal_handler(number, _hurry, number, hurry)

    ended.add_done_callback(arm)


def _hurry(number: int, hurry: Callable[[], None]) -> None:
    hurry()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


@contextmanager
def ends_well() -> Iterator[None]:
    """Have SIGTERM end the block as Ctrl-C does, cleaning up on the way, and the process with success.

    Ctrl-C is a KeyboardInterrupt, also where a shell had this process ignore it (one that it started with ``&``).
    """
    wanted = {signal.SIGTERM: _leave, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(int(ExitCode.DONE))
