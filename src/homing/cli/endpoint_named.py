"""Which endpoint is meant: by its id, the end of it, or its description. An inbox is an endpoint of its kind."""

from typing import Annotated, Final, NamedTuple

import typer

from homing.cli.client import Doc, path
from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.render import harmless
from homing.cli.session import Session, whole

_SHOWN_OF_AN_ID: Final = 4

EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="Its id, the end of it, or its description.")
]


class Sort(NamedTuple):
    """What one verb is about: its plural, what one of them is called, and the API's kinds."""

    plural: str
    what: str
    kinds: tuple[str, ...]


ENDPOINTS: Final = Sort("endpoints", "endpoint", ("status", "operations"))
INBOXES: Final = Sort("inboxes", "inbox", ("inbox",))
BOTH: Final = Sort("endpoints", "endpoint or inbox", (*ENDPOINTS.kinds, *INBOXES.kinds))


def where(session: Session, app: int | None) -> str:
    """Return the path of an application's endpoints."""
    return path("1", "apps", session.app(app), "endpoints")


def all_of(session: Session, app: int | None, sort: Sort) -> list[Doc]:
    """Return an application's endpoints of one sort, the oldest first."""
    return [one for one in session.api.each(where(session, app)) if one["kind"] in sort.kinds]


def find(session: Session, app: int | None, given: str, sort: Sort) -> Doc:
    """Return the endpoint that is meant; several or none are a `CliError`."""
    items = {one["id"]: one for one in all_of(session, app, sort)}
    called = [one for one in items.values() if one.get("description") == given]
    if len(called) > 1:
        raise usage(f"{len(called)} {sort.plural} are called {given[:40]!r}: give the id of one")
    if called:
        return called[0]
    try:
        return items[whole(given, items, sort.what, "all")]
    except CliError as error:
        if error.code is not ExitCode.NO_SUCH_THING:
            raise
        line = f"no {sort.what} is called {given[:40]!r}, and no id of one ends so"
        raise CliError(ExitCode.NO_SUCH_THING, line) from error


def at(session: Session, app: int | None, endpoint: Doc, *more: str) -> str:
    """Return the path of one endpoint, or of what is below it."""
    return where(session, app) + path(endpoint["id"], *more)


def name(endpoint: Doc) -> str:
    """Return what people call it: its description, else the end of its id."""
    return harmless(endpoint.get("description") or f"…{endpoint['id'][-_SHOWN_OF_AN_ID:]}")
