"""Follows a job until it ends, on stderr: a bar where a person watches, elsewhere a line when something changed."""

import os
import sys
import time
from typing import Final

from homing.cli.client import Client, Doc, path
from homing.cli.exits import ExitCode
from homing.cli.render import say
from homing.cli.times import length

_LOOK_S: Final = 0.25
_TELL_S: Final = 2.0
"""A log is told no more often; the first and the last line always come."""
_BAR: Final = 15
_CLEAR: Final = "\r\x1b[K"


def follow(api: Client, job_id: str) -> Doc:
    """Return the job once it has ended. Who stops watching does not stop the job."""
    is_bar = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    told, told_s, began_s, before = "", -_TELL_S, time.monotonic(), -1
    try:
        while True:
            job: Doc = api.call("GET", path("1", "jobs", job_id))
            now_s, is_over = time.monotonic(), "endedAt" in job
            before = _through(job) if before < 0 else before
            speed = job.get("ratePerSecond") or (_through(job) - before) / max(now_s - began_s, _LOOK_S)
            if is_bar:
                told = progress(job, speed, bar=_BAR)
                print(f"{_CLEAR}{told}", end="", file=sys.stderr, flush=True)
            elif (text := progress(job)) != told and (is_over or now_s - told_s >= _TELL_S):
                say(text)
                told, told_s = text, now_s
            if is_over:
                return job
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        say(f"{_CLEAR if is_bar else ''}the job goes on: homing jobs show {job_id[-8:]} --watch")
        raise
    finally:
        if is_bar and told:
            say("")


def progress(job: Doc, speed: float = 0.0, *, bar: int = 0) -> str:
    """Return how far a job is in one line; with a ``bar`` so wide, and by a ``speed`` (a second) how long it takes still."""
    through, total = _through(job), max(job["total"], _through(job))
    parts = [f"job …{job['id'][-4:]}"]
    if bar:
        full = bar * through // total if total else 0
        parts.append("█" * full + "░" * (bar - full))
    parts += [f"{through:,}/{total:,}", f"{job['failed']:,} failed"]
    if job["state"] != "running":
        parts.append(job["state"])
    elif bar and speed and (left := length((total - through) / speed)) is not None:
        parts.append(f"{left} left")
    return "  ".join(parts)


def ended(job: Doc) -> int:
    """Return the exit code that an ended job stands for, and tell what is left: 7 where something failed once more."""
    if job["failed"]:
        say(
            f"{job['failed']:,} of them failed again: they are dead once more (homing endpoints dead ENDPOINT)"
        )
        return ExitCode.PARTLY
    if job["state"] == "cancelled":
        say("the job was cancelled before it was through")
        return ExitCode.NO
    return ExitCode.DONE


def _through(job: Doc) -> int:
    return int(job["done"] + job["failed"])
