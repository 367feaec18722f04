"""`homing replay`: tell callbacks again, of one message or of one endpoint, as a durable job. Counts first, then asks."""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Final, NamedTuple

import typer

from homing.cli import endpoint_named
from homing.cli.client import Doc, path
from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.following import ended, follow
from homing.cli.render import Style, say
from homing.cli.session import AppOption, NoInputOption, Session, YesOption, talks
from homing.cli.times import instant, length, per_second

_SAME: Final = "Receivers see the same webhook-id as before."
_WEBHOOK_ID: Final = re.compile(r"msg_([0-9a-f]{32})[0-9a-f]{4}_[0-9]+_[0-9]+")
_WHICH: Final = {
    "dead": "given up",
    "missed": "not told, or given up",
    "all": "told already or not",
}
"""Which callbacks of an endpoint → how that is said."""


class Bulk(NamedTuple):
    """Which of an endpoint's callbacks are meant, as the flags say it."""

    which: list[str]
    since: str | None
    until: str | None
    statuses: str | None
    rate: str | None


class Wish(NamedTuple):
    """What is to be told again: the request that begins it, how many that would be, and all of it in words."""

    where: str
    body: Doc
    tally: Doc
    told: str


@talks
def replay(
    session: Session,
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="One message's: its id, or the end of it.")
    ] = None,
    webhook_id: Annotated[
        str | None, typer.Option("--webhook-id", metavar="ID", help="Only the callback that came under it.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint", metavar="E", help="One endpoint's; its id, the end of it, or its description."
        ),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", "--failed", help="… that were given up.")] = False,
    missed: Annotated[
        bool, typer.Option("--missed", help="… that it was not told, since it was disabled or --since.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="… whether it was told or not.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", help="… from then on: 10m, today, or an ISO-8601 time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="… before then.")] = None,
    statuses: Annotated[
        str | None, typer.Option("--statuses", metavar="S[,S…]", help="… of these statuses.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option("--rate", metavar="50/s", help="At most so many a second, a minute or an hour."),
    ] = None,
    app: AppOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the job until it has ended.")] = False,
    yes: YesOption = False,
    no_input: NoInputOption = False,
) -> int:
    """Tell callbacks again, and print the job's id. With --watch exit 7 if some failed again."""
    which = [word for word, is_meant in (("dead", dead), ("missed", missed), ("all", all_)) if is_meant]
    bulk = Bulk(which, since, until, statuses, rate)
    if message is None and webhook_id is None:
        wish = _of_endpoint(session, app, endpoint, bulk)
    else:
        wish = _of_message(session, app, message, webhook_id, endpoint, bulk)
    if dry_run or (wish.tally["isExact"] and not wish.tally["total"]):
        say(wish.told)
        _print(session, wish.tally, str(wish.tally["total"]) if dry_run else None)
        return ExitCode.DONE
    if yes:
        say(wish.told)
    session.agree(f"{wish.told}\nReplay?", yes=yes, no_input=no_input)
    begun = session.api.call("POST", wish.where, wish.body)
    if not watch:
        _print(session, begun, begun["jobId"])
        return ExitCode.DONE
    if session.out.style in {Style.HUMAN, Style.PLAIN}:
        session.out.line(begun["jobId"])
    job = follow(session.api, begun["jobId"])
    _print(session, job, None)
    return ended(job)


def _of_endpoint(session: Session, app: int | None, given: str | None, bulk: Bulk) -> Wish:
    if given is None:
        raise usage("what is to be told again? give a message, --webhook-id, or --endpoint")
    if len(bulk.which) != 1:
        raise usage("which of the endpoint's callbacks? give one of --dead, --missed, --all")
    body: Doc = {"which": bulk.which[0]}
    if bulk.since is not None:
        body["since"] = instant(bulk.since, "--since", session.now())
    if bulk.until is not None:
        body["until"] = instant(bulk.until, "--until", session.now())
    if bulk.statuses is not None:
        body["statuses"] = [one.strip() for one in bulk.statuses.split(",")]
    if bulk.rate is not None:
        body["ratePerSecond"] = per_second(bulk.rate, "--rate")
    found = endpoint_named.find(session, app, given, endpoint_named.BOTH)
    if found["state"] == "disabled":  # the count would be 0, which says nothing about why
        verb = "inboxes" if found["kind"] in endpoint_named.INBOXES.kinds else "endpoints"
        named = f"“{endpoint_named.name(found)}”"
        line = f"{named} is disabled and takes no callbacks: homing {verb} enable {found['id']}"
        raise CliError(ExitCode.CONFLICT, line)
    where = endpoint_named.at(session, app, found, "replay")
    count = session.api.call("POST", f"{where}/count", body)
    return Wish(where, body, count, counted(endpoint_named.name(found), body, count))


def counted(name: str, body: Doc, count: Doc) -> str:
    """Return what would be told again, and how long that takes, in words."""
    total = count["total"]
    words = [_WHICH[body["which"]]]
    words += [f"{word} {body[word]}" for word in ("since", "until") if word in body]
    words += [" or ".join(body["statuses"])] if "statuses" in body else []
    about = "" if count["isExact"] else "at least "
    plural = "callback" if total == 1 else "callbacks"
    said = f"{about}{total:,} {plural} to “{name}” match: {', '.join(words)}."
    if not total:
        return said
    rate = body.get("ratePerSecond")
    if rate:
        took = length(total / rate) or "less than a second"
        return f"{said} At {rate:g}/s this takes {took}. {_SAME}"
    return f"{said} They go as fast as the endpoint takes them. {_SAME}"


def _of_message(
    session: Session,
    app: int | None,
    message: str | None,
    webhook_id: str | None,
    endpoint: str | None,
    bulk: Bulk,
) -> Wish:
    if webhook_id is not None and (message is not None or endpoint is not None):
        raise usage("--webhook-id says all: give no message and no --endpoint")
    if any(bulk):
        flags = "--dead, --missed, --all, --since, --until, --statuses and --rate"
        raise usage(f"{flags} are for the callbacks of an endpoint: give no message")
    body: Doc = {}
    if webhook_id is not None:
        named = _WEBHOOK_ID.fullmatch(webhook_id)
        if named is None:
            raise usage(f"--webhook-id: {webhook_id[:60]!r} is none that Homing gives")
        body["webhookId"] = webhook_id
        message_id = str(uuid.UUID(hex=named[1]))
    else:
        message_id = session.message_id(message or "")
    where = path("1", "messages", message_id, "callbacks")
    held = session.api.call("GET", where)["items"]
    whom = "everybody who hears of it"
    if endpoint is not None:
        found = endpoint_named.find(session, app, endpoint, endpoint_named.BOTH)
        body["endpointId"] = found["id"]
        held = [one for one in held if one["endpointId"] == found["id"]]
        whom = f"“{endpoint_named.name(found)}”"
    end = f"…{message_id[-4:]}"
    if webhook_id is not None:
        count = {"total": 1, "isExact": True}
        return Wish(f"{where}/replay", body, count, f"One callback of message {end} is told again. {_SAME}")
    told, dead = (sum(len(one[kind]) for one in held) for kind in ("settled", "dead"))
    said = (
        f"All callbacks of message {end} go to {whom} again: {told:,} were told, {dead:,} given up. {_SAME}"
    )
    return Wish(f"{where}/replay", body, {"total": told + dead, "isExact": False}, said)


def _print(session: Session, document: Doc, line: str | None) -> None:
    if session.out.style in {Style.JSON, Style.JSONL}:
        session.out.document(document)
    elif line is not None:
        session.out.line(line)


COMMANDS: Final[Mapping[str, Callable[..., int]]] = {"replay": replay}
