"""What each change of a job does to the rows, inside the caller's transaction; what jobs do is `replays`' business."""

from homing.errors import Conflict, NotFound
from homing.model import Job
from homing.store.changes import CreateJob, UpdateJob
from homing.store.dialogue import Dialogue
from homing.store.nouns import as_json, to_job
from homing.store.registry.apps import need_app
from homing.store.registry.rows import every, one


def create_job(change: CreateJob, now_ms: int) -> Dialogue[Job]:
    """See `CreateJob`."""
    yield from need_app(change.app)
    row = yield from one("add_job", change.uid, change.app, as_json(change.spec), change.rate, now_ms)
    if row is None:
        raise Conflict("there is a job with this id already")
    return to_job(row)


def update_job(change: UpdateJob, now_ms: int) -> Dialogue[Job]:
    """See `UpdateJob`."""
    ended_at_ms = now_ms if change.state == "cancelled" else None
    row = yield from one("set_job", change.uid, change.state, change.rate, change.total, ended_at_ms)
    if row is None:
        if (yield from one("job", change.uid)) is None:
            raise NotFound("there is no such job")
        raise Conflict("the job has ended")
    job = to_job(row)
    if change.state == "cancelled":
        yield from every("drop_job_lanes", job.id)
    return job
