"""`homing apps`: applications."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from homing.cli.client import Doc, path
from homing.cli.exits import usage
from homing.cli.render import Column, field, moment
from homing.cli.secrets import GraceOption, give_once, grace_s, old_one, place_for
from homing.cli.session import LimitOption, NoInputOption, SecretFileOption, Session, YesOption, talks
from homing.cli.times import seconds

AppArgument = Annotated[int, typer.Argument(metavar="APP", help="The application's id.")]
ModeOption = Annotated[
    str | None, typer.Option("--mode", metavar="test|guests|live", help="Whom it reaches.")
]
ExpireOption = Annotated[str | None, typer.Option("--expire", metavar="2h", help="Messages expire after.")]
FallbackOption = Annotated[
    str | None, typer.Option("--fallback", metavar="off|notify|sms", help="Who falls back, if anybody.")
]
UndeliveredOption = Annotated[
    str | None, typer.Option("--undelivered-after", metavar="15m", help="Fall back if not delivered by then.")
]
UnreadOption = Annotated[
    str | None,
    typer.Option("--unread-after", metavar="1h", help="Fall back if delivered, and not read by then."),
]
SenderOption = Annotated[str | None, typer.Option("--sender", help="Whom an SMS names as its sender.")]
RegionOption = Annotated[
    str | None, typer.Option("--region", metavar="IT", help="Country of numbers without a country code.")
]

LIST: Final = (field("id"), field("name"), field("mode"), moment("createdAt"))
SHOW: Final = (
    field("id"),
    field("name"),
    field("mode"),
    field("appKey"),
    field("ttlSeconds"),
    Column("fallback", lambda app: app["fallback"]["mode"]),
    *(
        Column(name, lambda app, name=name: app["fallback"].get(name))  # type: ignore[misc]
        for name in ("onUndeliveredSeconds", "onUnreadSeconds", "sender", "defaultRegion")
    ),
    field("createdAt"),
)


@talks
def list_(session: Session, limit: LimitOption = 50) -> None:
    """List applications."""
    session.out.items(session.api.items(path("1", "apps"), limit=limit), LIST, "applications")


@talks
def show(session: Session, app: AppArgument) -> None:
    """Show one application."""
    session.out.thing(session.api.call("GET", path("1", "apps", app)), SHOW)


@talks
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    number: Annotated[int | None, typer.Option("--id", help="Its id; without it the next free one.")] = None,
    mode: ModeOption = None,
    expire: ExpireOption = None,
    fallback: FallbackOption = None,
    undelivered_after: UndeliveredOption = None,
    unread_after: UnreadOption = None,
    sender: SenderOption = None,
    region: RegionOption = None,
) -> None:
    """Create an application."""
    body = _body(name, mode, expire, fallback, undelivered_after, unread_after, sender, region)
    if number is not None:
        body["id"] = number
    session.out.thing(session.api.call("POST", path("1", "apps"), body), SHOW)


@talks
def update(
    session: Session,
    app: AppArgument,
    name: Annotated[str | None, typer.Option("--name", help="Call it this.")] = None,
    mode: ModeOption = None,
    expire: ExpireOption = None,
    fallback: FallbackOption = None,
    undelivered_after: UndeliveredOption = None,
    unread_after: UnreadOption = None,
    sender: SenderOption = None,
    region: RegionOption = None,
) -> None:
    """Change what is given, and nothing else."""
    body = _body(name, mode, expire, fallback, undelivered_after, unread_after, sender, region)
    if not body:
        raise usage("nothing to change was given")
    session.out.thing(session.api.call("PATCH", path("1", "apps", app), body), SHOW)


@talks
def delete(
    session: Session, app: AppArgument, yes: YesOption = False, no_input: NoInputOption = False
) -> None:
    """Delete an application and all that belongs to it."""
    found = session.api.call("GET", path("1", "apps", app))
    session.agree(
        f"Delete application {app} “{found['name']}” with all its users?", yes=yes, no_input=no_input
    )
    session.api.call("DELETE", path("1", "apps", app))


@talks
def rotate(
    session: Session,
    app: AppArgument,
    grace: GraceOption = "24h",
    secret_file: SecretFileOption = None,
) -> None:
    """Make a new secret for messages with a callback of their own; it goes to stdout, once."""
    wish = {"graceSeconds": grace_s(grace)}
    with place_for(secret_file):
        made = session.api.call("POST", path("1", "apps", app, "rotate-callback-secret"), wish)
        told = f"application {app}: {old_one(made)}; the new secret is shown once"
        give_once(session.out, made, ("secret",), secret_file, told, of=app)


def _body(
    name: str | None,
    mode: str | None,
    expire: str | None,
    fallback: str | None,
    undelivered_after: str | None,
    unread_after: str | None,
    sender: str | None,
    region: str | None,
) -> Doc:
    """Return the properties that were given."""
    rules: Doc = {
        "mode": fallback,
        "onUndeliveredSeconds": _seconds(undelivered_after, "--undelivered-after"),
        "onUnreadSeconds": _seconds(unread_after, "--unread-after"),
        "sender": sender,
        "defaultRegion": region,
    }
    rules = {key: value for key, value in rules.items() if value is not None}
    body: Doc = {
        "name": name,
        "mode": mode,
        "ttlSeconds": _seconds(expire, "--expire"),
        "fallback": rules or None,
    }
    return {key: value for key, value in body.items() if value is not None}


def _seconds(text: str | None, flag: str) -> int | None:
    return None if text is None else seconds(text, flag)


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., None]]]] = {
    "apps": {
        "list": list_,
        "show": show,
        "create": create,
        "update": update,
        "delete": delete,
        "rotate": rotate,
    }
}
