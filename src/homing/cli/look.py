"""Looking at messages: `messages list`, `messages show`, `explain`."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from homing.cli.client import path
from homing.cli.exits import CliError, ExitCode
from homing.cli.render import Column, Item, Style, field, harmless, moment
from homing.cli.session import LimitOption, Session, talks
from homing.cli.times import clock, instant

MessageArgument = Annotated[str, typer.Argument(metavar="MESSAGE", help="Its id, or the end of it.")]

LIST: Final = (
    field("messageId"),
    moment("createdAt"),
    Column("to", lambda item: [one["identifier"] for one in item["recipients"]]),
    Column("status", lambda item: [one["status"] for one in item["recipients"]]),
    field("messageRef"),
    field("text"),
)
SHOW: Final = (
    field("messageId"),
    field("mobileAppId"),
    field("createdAt"),
    moment("expiresAt"),
    field("messageRef"),
    field("text"),
)


@talks
def list_(
    session: Session,
    app: Annotated[int | None, typer.Option("--app", help="Of this application.", metavar="ID")] = None,
    to: Annotated[str | None, typer.Option("--to", help="For this user.", metavar="ID")] = None,
    ref: Annotated[str | None, typer.Option("--ref", help="With this messageRef.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="With a recipient at this status.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="10m, today, or an ISO-8601 time.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="As --since.")] = None,
    limit: LimitOption = 50,
) -> None:
    """List messages, the newest first."""
    query = {
        "mobileAppId": app,
        "recipient": to,
        "messageRef": ref,
        "status": status,
        "since": instant(since, "--since", session.now()) if since is not None else None,
        "until": instant(until, "--until", session.now()) if until is not None else None,
    }
    session.out.items(session.api.items(path("1", "messages"), query=query, limit=limit), LIST, "messages")


@talks
def show(session: Session, message: MessageArgument) -> None:
    """Show a message and everything that happened to it."""
    found = session.api.call("GET", path("1", "messages", session.message_id(message)))
    out = session.out
    if out.style in {Style.JSON, Style.JSONL}:
        out.document(found)
        return
    if not out.is_human:
        for one in found["recipients"]:
            for event in one["events"]:
                out.row([one["identifier"], event["seq"], event["status"], event["timestamp"]])
        return
    out.thing(found, SHOW)
    for one in found["recipients"]:
        out.line("")
        out.line(harmless(f"{one['identifier']}: {one['status']}{_fallback(one)}"))
        for event in one["events"]:
            out.line(f"  {event['timestamp'][:10]} {clock(event['timestamp'])}  {event['status']}")


def _fallback(recipient: Item) -> str:
    return "" if recipient["fallback"] == "off" else f"  (fallback: {recipient['fallback']})"


@talks
def explain(
    session: Session,
    message: MessageArgument,
    recipient: Annotated[
        str | None, typer.Option("--recipient", help="Only for this user.", metavar="ID")
    ] = None,
) -> None:
    """Say why a message is where it is, and what happens next."""
    found = session.api.call("GET", path("1", "messages", session.message_id(message), "explain"))
    recipients: list[Mapping[str, Any]] = found["recipients"]
    if recipient is not None:
        wanted = recipient.casefold()
        recipients = [one for one in recipients if one["identifier"].casefold() == wanted]
        if not recipients:
            raise CliError(ExitCode.NO_SUCH_THING, f"this message is not for {recipient}")
    out = session.out
    if out.style in {Style.JSON, Style.JSONL}:
        out.document({**found, "recipients": recipients})
        return
    for number, one in enumerate(recipients):
        if out.is_human and len(recipients) > 1:
            out.line(f"{chr(10) if number else ''}{harmless(one['identifier'])}:")
        for sentence in one["explanation"]:
            if out.is_human:
                out.line(harmless(sentence["text"]))
            else:
                out.row([one["identifier"], sentence["key"], sentence["text"]])


COMMANDS: Final[Mapping[str, Callable[..., None] | Mapping[str, Callable[..., None]]]] = {
    "messages": {"list": list_, "show": show},
    "explain": explain,
}
