"""`homing users`: the people of an application, and what their devices log in with."""

import getpass
import json
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from homing.cli.client import Doc, path
from homing.cli.exits import usage
from homing.cli.render import field, moment
from homing.cli.session import AppOption, LimitOption, NoInputOption, Session, YesOption, talks

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The user's identifier.")]
NumberOption = Annotated[str | None, typer.Option("--number", metavar="+39…", help="Where an SMS goes.")]
AttributesOption = Annotated[
    str | None, typer.Option("--attributes", metavar="JSON", help="A JSON object of your own.")
]
PasswordOption = Annotated[
    str | None,
    typer.Option(
        "--password", metavar="PASSWORD|-", help="- reads it from stdin, where no history keeps it."
    ),
]

LIST: Final = (field("identifier"), field("mobileNumber"), moment("createdAt"))
SHOW: Final = (field("identifier"), field("mobileNumber"), field("attributes"), field("createdAt"))


@talks
def list_(session: Session, app: AppOption = None, limit: LimitOption = 50) -> None:
    """List users by identifier."""
    where = path("1", "apps", session.app(app), "users")
    session.out.items(session.api.items(where, limit=limit), LIST, "users")


@talks
def show(session: Session, user: UserArgument, app: AppOption = None) -> None:
    """Show one user."""
    session.out.thing(session.api.call("GET", path("1", "apps", session.app(app), "users", user)), SHOW)


@talks
def create(
    session: Session,
    user: UserArgument,
    password: PasswordOption = None,
    number: NumberOption = None,
    attributes: AttributesOption = None,
    app: AppOption = None,
    no_input: NoInputOption = False,
) -> None:
    """Create a user; the password is asked for where it is not given."""
    where = path("1", "apps", session.app(app), "users")
    body = _body(_password(password) or _asked(no_input=no_input), number, attributes)
    session.out.thing(session.api.call("POST", where, {"identifier": user, **body}), SHOW)


@talks
def update(
    session: Session,
    user: UserArgument,
    password: PasswordOption = None,
    number: NumberOption = None,
    attributes: AttributesOption = None,
    app: AppOption = None,
) -> None:
    """Change what is given, and nothing else."""
    body = _body(_password(password), number, attributes)
    if not body:
        raise usage("nothing to change was given")
    where = path("1", "apps", session.app(app), "users", user)
    session.out.thing(session.api.call("PATCH", where, body), SHOW)


@talks
def delete(
    session: Session,
    user: UserArgument,
    app: AppOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Delete a user; messages under way to them go their way."""
    number = session.app(app)
    session.agree(f"Delete user “{user}” of application {number}?", yes=yes, no_input=no_input)
    session.api.call("DELETE", path("1", "apps", number, "users", user))


def _body(password: str | None, number: str | None, attributes: str | None) -> Doc:
    body = {"password": password, "mobileNumber": number, "attributes": _object(attributes)}
    return {key: value for key, value in body.items() if value is not None}


def _password(given: str | None) -> str | None:
    return sys.stdin.readline().rstrip("\r\n") if given == "-" else given


def _asked(*, no_input: bool) -> str:
    if no_input or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise usage("a user needs a password: --password - reads it from stdin")
    return getpass.getpass("Password: ", stream=sys.stderr)


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise usage(f"--attributes: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise usage("--attributes: must be a JSON object")
    return found


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., None]]]] = {
    "users": {"list": list_, "show": show, "create": create, "update": update, "delete": delete}
}
