"""`homing listen`: this server's callbacks, here, without a public address."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Final

import typer

from homing.callbacks.job import Job
from homing.cli.client import Doc
from homing.cli.event_words import COLUMNS, app_ids, line_of, status_of, wanted, whom
from homing.cli.events import AppsOption, ToOption, moment_of
from homing.cli.exits import ExitCode, usage
from homing.cli.feed import Try
from homing.cli.forwarding import (
    FORMS,
    RETRY_DELAYS_S,
    Answered,
    Event,
    Forms,
    Forwarder,
    Maker,
    notification,
)
from homing.cli.listening import Listening, usual_name
from homing.cli.posting import Forward, headers_of, method_of
from homing.cli.render import Style, harmless, say
from homing.cli.session import Session, talks
from homing.cli.signals import ends_well
from homing.contract.forms import Form
from homing.contract.notification import keys, parse_utc

EXAMPLE: Final = "http://localhost:8000/"
"""Where `--print raw` and `curl` without `--forward-to` say that callbacks go."""


_CURLS_OWN: Final = frozenset({"Host", "Accept", "Content-Length"})
"""Headers that curl makes itself, as they are."""


class Shown(StrEnum):
    """How much of each callback is printed."""

    LINE = "line"
    KEYS = "keys"
    RAW = "raw"
    CURL = "curl"


@talks
def listen(
    session: Session,
    app: AppsOption = None,
    forward_to: Annotated[
        str | None, typer.Option("--forward-to", metavar="URL", help="Where callbacks go on this machine.")
    ] = None,
    form: Annotated[
        str, typer.Option("--form", metavar="json|form|get|as-configured", help="How they travel.")
    ] = "json",
    statuses: Annotated[
        str | None, typer.Option("--statuses", metavar="S[,S…]", help="Only these; `incoming` is one too.")
    ] = None,
    to: ToOption = None,
    since: Annotated[
        str,
        typer.Option("--since", metavar="10m|last|beginning", help="From when on; last: where it stopped."),
    ] = "last",
    print_: Annotated[Shown, typer.Option("--print", help="What is printed of each callback.")] = Shown.LINE,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Whose place it is; without it user@host.")
    ] = None,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Also while another process listens under this name.")
    ] = False,
    once: Annotated[
        int | None, typer.Option("--once", metavar="N", min=1, help="End after so many callbacks.")
    ] = None,
) -> int:
    """Receive this server's callbacks here, without a public address; what came meanwhile is caught up."""
    if form not in FORMS:
        raise usage(f"--form: {form[:40]!r} is none of {', '.join(FORMS)}")
    url = forward_to or EXAMPLE
    Forward(url, Form.JSON, ())  # a URL that cannot be is told before anything listens
    wants = wanted(statuses, to)
    name = name or usual_name()
    begin = None if since == "last" else moment_of(since, session)
    listening = Listening(session.api, name, app_ids(app))
    opened = listening.open(since=begin, takeover=takeover)
    try:
        with ends_well():
            is_resumed = begin is None and not opened["isNew"]
            items = listening.catch_up(opened) if is_resumed else []
            maker = Maker(url, opened["secret"], name, Forms(session.api, form, listening.rest))
            _greet(name, opened, None if forward_to is None else f"{url} ({form})")
            listening.run(items, wants, _handler(session, maker, listening, print_, forward_to), once)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    finally:
        listening.close()
        _farewell(listening, "shown" if forward_to is None else "taken")
    return ExitCode.PARTLY if listening.passed_over else ExitCode.DONE


def _handler(
    session: Session, maker: Maker, listening: Listening, print_: Shown, forward_to: str | None
) -> Callable[[Event], bool]:
    """Return what becomes of an event: it is printed, or brought to the local server and printed with its answer."""
    if forward_to is None:

        def show(event: Event) -> bool:
            _print(session, event, None if print_ is Shown.LINE else maker.make(event, 1), None, print_)
            return True

        return show

    def tried(event: Event, job: Job, answered: Answered, number: int, next_s: float | None) -> None:
        _print(session, event, job, _try(event, answered, number, next_s), print_)

    return Forwarder(maker, listening.rest, tried).deliver


def _try(event: Event, answered: Answered, number: int, next_s: float | None) -> Try:
    return Try(
        message_id=event["messageId"],
        recipient=whom(event),
        what="incoming message" if event["kind"] == "incoming" else status_of(event),
        answered="failed" if answered.status is None else str(answered.status),
        took_ms=answered.took_ms,
        number=number,
        tries=len(RETRY_DELAYS_S) + 1,
        next_s=next_s,
        answer="" if answered.is_taken else answered.text,
    )


def _print(session: Session, event: Event, job: Job | None, told: Try | None, print_: Shown) -> None:
    """Print one event, or one try to bring it to the local server."""
    out = session.out
    answer = None
    if told is not None:
        answer = {"attempt": told.number, "answered": told.answered, "tookMs": told.took_ms}
    if out.style in {Style.JSON, Style.JSONL}:
        out.compact(event if answer is None else {**event, **answer})
        return
    if not out.is_human and print_ is Shown.LINE:
        row = [column.value(event) for column in COLUMNS]
        out.row(row if answer is None else [*row, *answer.values()])
        return
    at_ms, _ = parse_utc(event["timestamp"])
    out.line(line_of(event) if told is None else told.line(at_ms))
    if job is not None:
        for line in _more(event, job, print_):
            out.line(harmless(line) if out.is_human else line)


def _more(event: Event, job: Job, print_: Shown) -> Iterator[str]:
    """Yield what follows an event's line."""
    match print_:
        case Shown.LINE:
            return
        case Shown.KEYS:
            for key, value in keys(notification(event), "ms"):
                yield f"    {key:<20} {value}"
        case Shown.RAW:
            yield f"{method_of(job)} {job.target or job.endpoint.url.target} HTTP/1.1"
            for key, value in headers_of(job):
                yield f"{key}: {value}"
            yield ""
            if job.body is not None:
                yield job.body.decode("utf-8")
                yield ""
        case Shown.CURL:
            yield curl(job)


def curl(job: Job) -> str:
    """Return the command that makes the same request."""
    url = job.endpoint.url
    words = ["curl", "-X", method_of(job)]
    for key, value in headers_of(job):
        if key not in _CURLS_OWN:
            words += ["-H", f"{key}: {value}"]
    if job.body is not None:
        words += ["--data-raw", job.body.decode("utf-8")]
    return shlex.join([*words, url.origin + (job.target or url.target)])


def _greet(name: str, opened: Doc, where: str | None) -> None:
    apps = opened["mobileAppIds"]
    whose = "all applications" if apps is None else "application " + ", ".join(map(str, apps))
    what = "callbacks are shown" if where is None else f"callbacks go to {where}"
    say(harmless(f"listening as {name} to {whose}; {what}, signed with {opened['secret']}"))


def _farewell(listening: Listening, done: str) -> None:
    parts = [f"{listening.taken} {done}"]
    if listening.filtered:
        parts.append(f"{listening.filtered} filtered out")
    if listening.passed_over:
        parts.append(f"{listening.passed_over} passed over: the local server did not take them")
    say(", ".join(parts))


COMMANDS: Final[Mapping[str, Callable[..., int]]] = {"listen": listen}
