"""`homing endpoints` and `homing inboxes`: where callbacks and incoming messages go. An inbox is an endpoint of its kind."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from homing.cli.client import Doc, path
from homing.cli.exits import usage
from homing.cli.render import field, harmless, moment, say
from homing.cli.secrets import give_once, place_for
from homing.cli.session import (
    AppOption,
    LimitOption,
    NoInputOption,
    SecretFileOption,
    Session,
    YesOption,
    talks,
    whole,
)

EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, or the end of it.")]
UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="Where callbacks go.")]
FormOption = Annotated[str, typer.Option("--form", metavar="json|form|get", help="How they travel.")]
StatusesOption = Annotated[
    str | None, typer.Option("--statuses", metavar="S[,S…]", help="Only these; `all` takes the filter away.")
]
DescriptionOption = Annotated[str | None, typer.Option("--description", help="What it is for.")]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--timestamp-precision", metavar="s|ms", help="How finely callbacks tell the time."),
]

LIST: Final = (
    field("id"),
    field("form"),
    field("state"),
    moment("lastSuccessAt"),
    field("url"),
    field("description"),
)
SHOW: Final = (
    *(field(name) for name in ("id", "kind", "form", "url", "statuses", "description", "timestampPrecision")),
    *(field(name) for name in ("state", "stateReason", "createdAt", "lastSuccessAt")),
)


def _commands(kind: str, plural: str) -> Mapping[str, Callable[..., None]]:
    """Return the verbs for one kind of endpoint."""
    what = "endpoint" if kind == "status" else "inbox"

    @talks
    def list_(session: Session, app: AppOption = None, limit: LimitOption = 50) -> None:
        items = [one for one in session.api.each(_where(session, app)) if one["kind"] == kind]
        page = {"items": items[:limit], "nextCursor": None}
        session.out.items(page, LIST, plural)
        if len(items) > limit:
            say(f"{len(items) - limit} more: --limit {len(items)}")

    @talks
    def show(session: Session, endpoint: EndpointArgument, app: AppOption = None) -> None:
        session.out.thing(_found(session, app, endpoint, kind, what), SHOW)

    @talks
    def create(
        session: Session,
        address: UrlArgument,
        form: FormOption = "json",
        statuses: StatusesOption = None,
        description: DescriptionOption = None,
        timestamp_precision: PrecisionOption = None,
        app: AppOption = None,
        secret_file: SecretFileOption = None,
    ) -> None:
        body = _body(address, form, statuses, description, timestamp_precision)
        if body.get("statuses") is None:
            body.pop("statuses", None)
        with place_for(secret_file):
            made = session.api.call("POST", _where(session, app), {**body, "kind": kind})
            _warn(made)
            told = f"{what} {made['id']}: {made['form']} to {harmless(made['url'])}; its secret is shown once"
            give_once(session.out, made, ("secret",), secret_file, told)

    @talks
    def update(
        session: Session,
        endpoint: EndpointArgument,
        address: Annotated[
            str | None, typer.Option("--to", metavar="URL", help="Where callbacks go.")
        ] = None,
        form: Annotated[str | None, typer.Option("--form", metavar="json|form|get", help="How.")] = None,
        statuses: StatusesOption = None,
        description: DescriptionOption = None,
        timestamp_precision: PrecisionOption = None,
        app: AppOption = None,
    ) -> None:
        body = _body(address, form, statuses, description, timestamp_precision)
        if not body:
            raise usage("nothing to change was given")
        found = _found(session, app, endpoint, kind, what)
        changed = session.api.call("PATCH", f"{_where(session, app)}{path(found['id'])}", body)
        _warn(changed)
        session.out.thing(changed, SHOW)

    @talks
    def delete(
        session: Session,
        endpoint: EndpointArgument,
        app: AppOption = None,
        yes: YesOption = False,
        no_input: NoInputOption = False,
    ) -> None:
        found = _found(session, app, endpoint, kind, what)
        question = (
            f"Delete {what} {found['id']} to {harmless(found['url'])}, with what it must still be told?"
        )
        session.agree(question, yes=yes, no_input=no_input)
        session.api.call("DELETE", f"{_where(session, app)}{path(found['id'])}")

    commands: dict[str, Callable[..., None]] = {
        "list": list_,
        "show": show,
        "create": create,
        "update": update,
        "delete": delete,
    }
    promises = {
        "list": f"List {plural}, the oldest first.",
        "show": f"Show one {what}.",
        "create": f"Create an {what}; its secret goes to stdout, once.",
        "update": "Change what is given, and nothing else.",
        "delete": f"Delete an {what} and what it must still be told.",
    }
    for name, command in commands.items():
        command.__doc__ = promises[name]
    return commands


def _where(session: Session, app: int | None) -> str:
    return path("1", "apps", session.app(app), "endpoints")


def _found(session: Session, app: int | None, given: str, kind: str, what: str) -> Mapping[str, Any]:
    items = {one["id"]: one for one in session.api.each(_where(session, app)) if one["kind"] == kind}
    found: Mapping[str, Any] = items[whole(given, items, what, "all")]
    return found


def _body(
    url: str | None, form: str | None, statuses: str | None, description: str | None, precision: str | None
) -> Doc:
    body: Doc = {"url": url, "form": form, "description": description, "timestampPrecision": precision}
    body = {key: value for key, value in body.items() if value is not None}
    if statuses is not None:
        body["statuses"] = None if statuses == "all" else [one.strip() for one in statuses.split(",")]
    return body


def _warn(endpoint: Mapping[str, Any]) -> None:
    for warning in endpoint.get("warnings", ()):
        say(f"warning: {harmless(warning)}")


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., None]]]] = {
    "endpoints": _commands("status", "endpoints"),
    "inboxes": _commands("inbox", "inboxes"),
}
