"""Beginning a durable job that tells callbacks again, and counting beforehand what it would tell."""

import time
from typing import Final

import uuid_utils

from homing.model import Job, ReplaySpec
from homing.store.archive.port import Archive
from homing.store.changes import CreateJob
from homing.store.port import Registry

_STEP: Final = 1_000
"""Messages looked at in one question."""
_COUNT_S: Final = 5.0
"""How long counting may take before what was found so far is the answer."""


def new_job(app: int, spec: ReplaySpec, rate: float | None) -> CreateJob:
    """Return the change that begins a job."""
    return CreateJob(str(uuid_utils.uuid7()), app, spec, rate)


async def begin(registry: Registry, app: int, spec: ReplaySpec, rate: float | None) -> str:
    """Begin a job and return its id."""
    job = (await registry.apply(new_job(app, spec, rate))).value
    assert isinstance(job, Job)
    return job.uid


async def count(archive: Archive, app: int, spec: ReplaySpec) -> tuple[int, bool]:
    """Return how many callbacks a replay would tell, and whether all were counted."""
    ends_s = time.monotonic() + _COUNT_S
    total, after = 0, b""
    while True:
        found, on = await archive.count_replay(app, spec, after, _STEP)
        total += found
        if on is None:
            return total, True
        if time.monotonic() > ends_s:
            return total, False
        after = on
