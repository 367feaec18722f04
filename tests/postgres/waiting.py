"""Waiting for what another process does: a fact and a limit, never a pause that hopes."""

import time
from collections.abc import Callable, Iterable

import psutil


class ServerError(RuntimeError):
    """The server did not do in time what it was told; the message ends with the end of its log."""


def until(fact: Callable[[], object], timeout_s: float, what: Callable[[], str]) -> None:
    """Return as soon as `fact` holds; after `timeout_s` raise with what `what` says."""
    ends_at = time.monotonic() + timeout_s
    while not fact():
        if time.monotonic() > ends_at:
            raise ServerError(what())
        time.sleep(0.005)


def all_gone(processes: Iterable[psutil.Process]) -> bool:
    """True when each has ended, even if its new parent has not asked after it yet."""
    return all(_status(it) in {None, psutil.STATUS_ZOMBIE} for it in processes)


def all_still(processes: Iterable[psutil.Process]) -> bool:
    """True when each stands still, or has ended."""
    return all(_status(it) in {None, psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED} for it in processes)


def _status(process: psutil.Process) -> str | None:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return None
