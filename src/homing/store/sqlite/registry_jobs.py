"""What each change of a job does to the rows, inside the caller's transaction; what jobs do is `replays`' business."""

from typing import Final

import apsw

from homing.errors import Conflict, NotFound
from homing.model import Job
from homing.store.changes import CreateJob, UpdateJob
from homing.store.sql import load
from homing.store.sqlite.nouns import as_json, to_job
from homing.store.sqlite.registry_changes import need_app, one

_SQL: Final = load("sqlite", "registry")


def create_job(connection: apsw.Connection, change: CreateJob, now_ms: int) -> Job:
    """See `CreateJob`."""
    need_app(connection, change.app)
    row = one(connection, "add_job", change.uid, change.app, as_json(change.spec), change.rate, now_ms)
    if row is None:
        raise Conflict("there is a job with this id already")
    return to_job(row)


def update_job(connection: apsw.Connection, change: UpdateJob, now_ms: int) -> Job:
    """See `UpdateJob`."""
    ended_at_ms = now_ms if change.state == "cancelled" else None
    row = one(connection, "set_job", change.uid, change.state, change.rate, change.total, ended_at_ms)
    if row is None:
        if one(connection, "job", change.uid) is None:
            raise NotFound("there is no such job")
        raise Conflict("the job has ended")
    job = to_job(row)
    if change.state == "cancelled":
        connection.execute(_SQL["drop_job_lanes"], (job.id,))
    return job
