"""`homing endpoints` and `homing inboxes`: where callbacks and incoming messages go. An inbox is an endpoint of its kind."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from homing.cli import endpoint_actions
from homing.cli.client import Doc
from homing.cli.endpoint_flags import KIND, OPTIONS, STATUSES, for_create, for_update, takes
from homing.cli.endpoint_named import ENDPOINTS, INBOXES, EndpointArgument, Sort, all_of, at, find, where
from homing.cli.endpoint_shown import LIST, SHOW
from homing.cli.exits import usage
from homing.cli.render import harmless, say
from homing.cli.secrets import give_once, place_for
from homing.cli.session import (
    AppOption,
    LimitOption,
    NoInputOption,
    SecretFileOption,
    Session,
    YesOption,
    talks,
)

UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="Where callbacks go.")]
ToOption = Annotated[str | None, typer.Option("--to", metavar="URL", help="Where callbacks go.")]

_CHANGES: Final = {ENDPOINTS: (STATUSES, *OPTIONS), INBOXES: OPTIONS}
_MAKES: Final = {ENDPOINTS: (KIND, STATUSES, *OPTIONS), INBOXES: OPTIONS}


def _commands(sort: Sort) -> Mapping[str, Callable[..., int | None]]:
    """Return the verbs for one sort of endpoint."""

    @talks
    def list_(session: Session, app: AppOption = None, limit: LimitOption = 50) -> None:
        items = all_of(session, app, sort)
        session.out.items({"items": items[:limit], "nextCursor": None}, LIST, sort.plural)
        if len(items) > limit:
            say(f"{len(items) - limit} more: --limit {len(items)}")

    @talks
    def show(session: Session, endpoint: EndpointArgument, app: AppOption = None) -> None:
        session.out.thing(find(session, app, endpoint, sort), SHOW)

    @talks
    @takes(_MAKES[sort])
    def create(
        session: Session,
        options: Doc,
        address: UrlArgument,
        app: AppOption = None,
        secret_file: SecretFileOption = None,
    ) -> None:
        body = {"url": address, "form": "json", "kind": sort.kinds[0], **for_create(options)}
        with place_for(secret_file):
            made = session.api.call("POST", where(session, app), body)
            _warn(made)
            told = f"{sort.what} {made['id']}: {made['form']} to {harmless(made['url'])}; its secret is shown once"
            give_once(session.out, made, ("secret",), secret_file, told)

    @talks
    @takes(_CHANGES[sort])
    def update(
        session: Session,
        options: Doc,
        endpoint: EndpointArgument,
        address: ToOption = None,
        app: AppOption = None,
    ) -> None:
        if address is not None:
            options = {"url": address, **options}
        if not options:
            raise usage("nothing to change was given")
        found = find(session, app, endpoint, sort)
        changed = session.api.call("PATCH", at(session, app, found), for_update(options, found))
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
        found = find(session, app, endpoint, sort)
        question = (
            f"Delete {sort.what} {found['id']} to {harmless(found['url'])}, with what it must still be told?"
        )
        session.agree(question, yes=yes, no_input=no_input)
        session.api.call("DELETE", at(session, app, found))

    commands: dict[str, Callable[..., int | None]] = {
        "list": list_,
        "show": show,
        "create": create,
        "update": update,
        "delete": delete,
    }
    promises = {
        "list": f"List {sort.plural}, the oldest first.",
        "show": f"Show one {sort.what}; what is secret in it never comes back.",
        "create": f"Create an {sort.what}; its secret goes to stdout, once.",
        "update": "Change what is given, and nothing else; `none` takes an option back.",
        "delete": f"Delete an {sort.what} and what it must still be told.",
    }
    for name, command in commands.items():
        command.__doc__ = promises[name]
    return {**commands, **endpoint_actions.commands(sort)}


def _warn(endpoint: Doc) -> None:
    for warning in endpoint.get("warnings", ()):
        say(f"warning: {harmless(warning)}")


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., int | None]]]] = {
    sort.plural: _commands(sort) for sort in (ENDPOINTS, INBOXES)
}
