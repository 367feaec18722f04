"""What each change of a job does to the rows, inside the caller's transaction; what jobs do is `replays`' business."""

from typing import Any, Final

from homing.errors import Conflict, NotFound
from homing.model import Job
from homing.store.changes import CreateJob, UpdateJob
from homing.store.postgres.registry_changes import need_app, one
from homing.store.sql import load
from homing.store.sqlite.nouns import as_json, to_job

_SQL: Final = load("postgres", "registry")


async def create_job(connection: Any, change: CreateJob, now_ms: int) -> Job:
    """See `CreateJob`."""
    await need_app(connection, change.app)
    row = await one(connection, "add_job", change.uid, change.app, as_json(change.spec), change.rate, now_ms)
    if row is None:
        raise Conflict("there is a job with this id already")
    return to_job(row)


async def update_job(connection: Any, change: UpdateJob, now_ms: int) -> Job:
    """See `UpdateJob`."""
    ended_at_ms = now_ms if change.state == "cancelled" else None
    row = await one(connection, "set_job", change.uid, change.state, change.rate, change.total, ended_at_ms)
    if row is None:
        if await one(connection, "job", change.uid) is None:
            raise NotFound("there is no such job")
        raise Conflict("the job has ended")
    job = to_job(row)
    if change.state == "cancelled":
        await connection.execute(_SQL["drop_job_lanes"], job.id)
    return job
