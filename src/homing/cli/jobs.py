"""`homing jobs`: replays under way and those that have ended."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from homing.cli.client import Doc, path
from homing.cli.exits import ExitCode
from homing.cli.following import ended, follow
from homing.cli.render import field, moment
from homing.cli.session import LimitOption, Session, talks
from homing.cli.times import per_second

WHERE: Final = path("1", "jobs")
_COUNTS: Final = tuple(
    field(name) for name in ("state", "done", "failed", "total", "ratePerSecond", "mobileAppId")
)
LIST: Final = (field("id"), *_COUNTS, moment("createdAt"), moment("endedAt"))
SHOW: Final = (field("id"), field("kind"), *_COUNTS, field("createdAt"), field("endedAt"))

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or the end of it.")]


@talks
def list_(
    session: Session,
    app: Annotated[int | None, typer.Option("--app", help="Of this application.", metavar="ID")] = None,
    limit: LimitOption = 50,
) -> None:
    """List jobs, the newest first."""
    session.out.items(session.api.items(WHERE, query={"mobileAppId": app}, limit=limit), LIST, "jobs")


@talks
def show(
    session: Session,
    job: JobArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
) -> int:
    """Show how far a job is; with --watch follow it, and exit 7 if some callbacks failed again."""
    job_id = _id(session, job)
    if watch:
        found = follow(session.api, job_id)
        session.out.thing(found, SHOW)
        return ended(found)
    session.out.thing(session.api.call("GET", f"{WHERE}{path(job_id)}"), SHOW)
    return ExitCode.DONE


@talks
def pause(session: Session, job: JobArgument) -> None:
    """Have a job wait; what is on its way still comes."""
    _change(session, job, {"state": "paused"})


@talks
def resume(
    session: Session,
    job: JobArgument,
    rate: Annotated[str | None, typer.Option("--rate", metavar="50/s", help="… at this pace.")] = None,
) -> None:
    """Have a job go on; with --rate at another pace."""
    pace = {} if rate is None else {"ratePerSecond": per_second(rate, "--rate")}
    _change(session, job, {"state": "running", **pace})


@talks
def cancel(session: Session, job: JobArgument) -> None:
    """End a job; what it has told stays told."""
    _change(session, job, {"state": "cancelled"})


def _id(session: Session, given: str) -> str:
    return session.whole_id(given, WHERE, "job")


def _change(session: Session, given: str, wish: Doc) -> None:
    changed = session.api.call("PATCH", f"{WHERE}{path(_id(session, given))}", wish)
    session.out.thing(changed, SHOW)


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., int | None]]]] = {
    "jobs": {"list": list_, "show": show, "pause": pause, "resume": resume, "cancel": cancel}
}
