"""`homing tokens`: credentials of back ends, told once when they are made."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from homing.cli.client import Doc, path
from homing.cli.exits import usage
from homing.cli.render import field, moment
from homing.cli.secrets import give_once, place_for
from homing.cli.session import (
    LimitOption,
    NoInputOption,
    SecretFileOption,
    Session,
    YesOption,
    talks,
    whole,
)
from homing.cli.times import seconds

WHERE: Final = path("1", "tokens")
LIST: Final = (
    field("id"),
    field("name"),
    field("kind"),
    field("scopes"),
    field("apps"),
    moment("expiresAt"),
)
SHOW: Final = tuple(
    field(name) for name in ("id", "name", "kind", "scopes", "apps", "createdAt", "expiresAt")
)

TokenArgument = Annotated[str, typer.Argument(metavar="TOKEN-ID", help="Its id, or the end of it.")]


@talks
def list_(session: Session, limit: LimitOption = 50) -> None:
    """List tokens and OAuth2 clients, the oldest first."""
    session.out.items(session.api.items(WHERE, limit=limit), LIST, "tokens")


@talks
def show(session: Session, token_id: TokenArgument) -> None:
    """Show one; what is secret in it never comes back."""
    session.out.thing(_found(session, token_id), SHOW)


@talks
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it.")],
    scopes: Annotated[
        str, typer.Option("--scopes", metavar="send,read,manage", help="What it may do.")
    ] = "send,read",
    apps: Annotated[
        str, typer.Option("--apps", metavar="all|ID[,ID…]", help="For which applications.")
    ] = "all",
    expires: Annotated[str | None, typer.Option("--expires", metavar="30d", help="Ends after.")] = None,
    client: Annotated[
        bool, typer.Option("--client", help="An OAuth2 client: clientId and clientSecret.")
    ] = False,
    secret_file: SecretFileOption = None,
) -> None:
    """Create one; the token goes to stdout, once (of a client: clientId and clientSecret)."""
    body: Doc = {
        "name": name,
        "scopes": [one.strip() for one in scopes.split(",")],
        "apps": "all" if apps == "all" else _ids(apps),
        "kind": "client" if client else "token",
    }
    if expires is not None:
        body["expiresInSeconds"] = seconds(expires, "--expires")
    with place_for(secret_file):
        made = session.api.call("POST", WHERE, body)
        told = f"{made['kind']} {made['id']} “{name}” may {', '.join(made['scopes'])}; it is shown once"
        give_once(
            session.out, made, ("clientId", "clientSecret") if client else ("token",), secret_file, told
        )


@talks
def delete(
    session: Session, token_id: TokenArgument, yes: YesOption = False, no_input: NoInputOption = False
) -> None:
    """Revoke one; it ends at once."""
    found = _found(session, token_id)
    session.agree(f"Revoke {found['kind']} “{found['name']}”?", yes=yes, no_input=no_input)
    session.api.call("DELETE", f"{WHERE}{path(found['id'])}")


def _found(session: Session, given: str) -> Mapping[str, Any]:
    items = {one["id"]: one for one in session.api.each(WHERE)}
    found: Mapping[str, Any] = items[whole(given, items, "token", "all")]
    return found


def _ids(apps: str) -> list[int]:
    try:
        return [int(one) for one in apps.split(",")]
    except ValueError:
        raise usage(f"--apps: {apps[:40]!r} is neither `all` nor ids such as 1,2") from None


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., None]]]] = {
    "tokens": {"list": list_, "show": show, "create": create, "delete": delete}
}
