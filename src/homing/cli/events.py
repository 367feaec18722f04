"""`homing events`: what happened, oldest first, and what happens from now on."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from homing.cli.client import PAGE, Doc
from homing.cli.event_words import COLUMNS, INCOMING, app_ids, line_of, wanted
from homing.cli.exits import ExitCode
from homing.cli.pulling import BEGINNING, END, Feed
from homing.cli.render import Style
from homing.cli.session import Session, talks
from homing.cli.signals import ends_well
from homing.cli.times import instant

_SHOWN: Final = 50

AppsOption = Annotated[
    str | None,
    typer.Option(
        "--app", metavar="ID[,ID]|*", help="Of these applications; without it all the token reaches."
    ),
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="ID", help="Only to (or from) this user.")]


@talks
def events(
    session: Session,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens; Ctrl-C ends it.")
    ] = False,
    app: AppsOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="10m|today|TIME|beginning", help="From when on; --follow alone: from now on."
        ),
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="S[,S…]", help="Only these statuses.")
    ] = None,
    to: ToOption = None,
    incoming: Annotated[bool, typer.Option("--incoming", help="Messages from devices too.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="How many at most (50; --follow: no end).")
    ] = None,
) -> int:
    """Show what happened to all messages, oldest first, and with --follow what happens from now on."""
    wants = wanted(status, to)
    query = {
        "mobileAppId": named(app),
        "since": moment_of(since, session) or (END if follow else None),
        "incoming": "true" if incoming or INCOMING in (status or "") else None,
    }
    feed = Feed(session.api, query)
    if not follow:
        session.out.items(_found(feed, wants, limit or _SHOWN), COLUMNS, "events")
        return ExitCode.DONE
    with ends_well():
        return _followed(session, feed, wants, limit)


def _followed(session: Session, feed: Feed, wants: Callable[[Doc], bool], limit: int | None) -> int:
    shown = 0
    try:
        for event in feed.follow():
            if wants(event):
                _show(session, event)
                shown += 1
                if shown == limit:
                    break
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


def _found(feed: Feed, wants: Callable[[Doc], bool], limit: int) -> Doc:
    """Return up to ``limit`` events in the list's own shape."""
    found: list[Doc] = []
    while True:
        page = feed.look(limit=PAGE)
        for event in page.items:
            if len(found) == limit:
                cursor = found[-1]["cursor"]
                return {"items": found, "nextCursor": cursor, "cursor": cursor}
            if wants(event):
                found.append(event)
        if page.is_end:
            return {"items": found, "nextCursor": None, "cursor": feed.cursor}


def _show(session: Session, event: Doc) -> None:
    out = session.out
    match out.style:
        case Style.JSON | Style.JSONL:
            out.compact(event)
        case Style.PLAIN:
            out.row([column.value(event) for column in COLUMNS])
        case Style.HUMAN:
            out.line(line_of(event))


def named(text: str | None) -> str | None:
    """Return the applications of ``--app`` as a query names them."""
    apps = app_ids(text)
    return None if apps is None else ",".join(map(str, apps))


def moment_of(text: str | None, session: Session) -> str | None:
    """Return a moment as ``since`` has it; ``beginning`` is the feed's."""
    if text is None:
        return None
    return BEGINNING if text == "beginning" else instant(text, "--since", session.now())


COMMANDS: Final[Mapping[str, Callable[..., int]]] = {"events": events}
