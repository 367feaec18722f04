"""What every verb that talks to a server shares: the flags that find it, the styles of output, and short ids."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Concatenate, ParamSpec, TypeVar, cast

import typer

from homing.cli.client import Client, Refused, path
from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.render import Out, say, style_for
from homing.cli.target import Target, find

P = ParamSpec("P")
R = TypeVar("R")

FULL_ID = 36
"""The length of an id's text."""
RECENT = 200
"""Among how many of the newest messages a shortened id is looked up."""

AppOption = Annotated[
    int | None, typer.Option("--app", help="Application; without it the one of `homing dev`.", metavar="ID")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoInputOption = Annotated[bool, typer.Option("--no-input", help="Never ask; what needs an answer fails.")]
SecretFileOption = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="PATH", help="Write the secret there (0600), not to stdout."),
]


class Session:
    """One run of a verb: its output, and its server once it is needed."""

    def __init__(self, url: str | None, token: str | None, out: Out) -> None:
        self.out = out
        out.now = self.now
        self._url = url
        self._token = token
        self._target: Target | None = None
        self._client: Client | None = None
        self._now: datetime | None = None

    @property
    def target(self) -> Target:
        """The server that flags, environment or ``.homing/dev.json`` name."""
        if self._target is None:
            self._target = find(self._url, self._token)
        return self._target

    @property
    def api(self) -> Client:
        """The connection to it."""
        if self._client is None:
            self._client = Client(self.target)
        return self._client

    def app(self, given: int | None) -> int:
        """Return the application that is meant; `CliError` when nothing says which."""
        app = given if given is not None else self.target.app_id
        if app is None:
            raise usage("which application? give --app ID (`homing apps list` shows them)")
        return app

    def message_id(self, given: str) -> str:
        """Return the whole id of a message of which an end was given."""
        if len(given) >= FULL_ID:
            return given
        recent = self.api.items(path("1", "messages"), limit=RECENT)["items"]
        return whole(given, (item["messageId"] for item in recent), "message", f"the last {RECENT}")

    def whole_id(self, given: str, where: str, what: str) -> str:
        """Return the whole id of something in the list at ``where``."""
        if len(given) >= FULL_ID:
            return given
        return whole(given, (item["id"] for item in self.api.each(where)), what, "all")

    def agree(self, question: str, *, yes: bool, no_input: bool) -> None:
        """Return if a person agrees or ``--yes`` was given; without a terminal it must be."""
        if yes:
            return
        if no_input or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise usage(f"{question} Give --yes.")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise CliError(ExitCode.NO, "nothing was done")

    def now(self) -> datetime:
        """Return what time it is at the server: the clock of `homing dev` may have been pushed, any other's is right."""
        if self._now is None:
            try:
                told = self.api.call("GET", path("sim", "1", "clock"))
                self._now = datetime.fromisoformat(told["now"])
            except Refused:
                self._now = datetime.now(UTC)
        return self._now

    def close(self) -> None:
        """Close the connection, and tell what the server did not know."""
        if self._client is not None:
            for ignored in self._client.ignored:
                say(f"the server does not know {ignored} and ignored it")
            self._client.close()


def whole(given: str, ids: Iterable[str], what: str, among: str) -> str:
    """Return the one id that ends in ``given``; several or none are a `CliError`."""
    end = given.lstrip("…").lower()
    found = [one for one in ids if end and one.endswith(end)]
    if not found:
        raise CliError(ExitCode.NO_SUCH_THING, f"no {what} among {among} ends in {given!r}")
    if len(found) > 1:
        raise usage(f"{len(found)} of {among} end in {given!r}: give more of the {what}'s id")
    return found[0]


_FLAGS: Sequence[tuple[str, object, object]] = (
    ("url", Annotated[str | None, typer.Option("--url", metavar="URL", help="The server's address.")], None),
    ("token", Annotated[str | None, typer.Option("--token", metavar="TOKEN", help="A token for it.")], None),
    (
        "as_json",
        Annotated[bool, typer.Option("--json", help="One JSON document, shaped as the API's.")],
        False,
    ),
    ("as_jsonl", Annotated[bool, typer.Option("--jsonl", help="One JSON document a line.")], False),
    ("no_color", Annotated[bool, typer.Option("--no-color", help="No colour (as NO_COLOR does).")], False),
)
FLAGS_WITH_VALUE = ("--url", "--token")
FLAGS = (*FLAGS_WITH_VALUE, "--json", "--jsonl", "--no-color")
"""What every verb that talks to a server takes, wherever it stands."""


def talks(verb: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """Give a verb the shared flags, and a `Session` made from them."""

    @functools.wraps(verb)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        given = {name: kwargs.pop(name, default) for name, _, default in _FLAGS}
        style = style_for(as_json=bool(given["as_json"]), as_jsonl=bool(given["as_jsonl"]))
        session = Session(
            cast("str | None", given["url"]),
            cast("str | None", given["token"]),
            Out(style, no_colour=bool(given["no_color"])),
        )
        try:
            return verb(session, *args, **kwargs)
        finally:
            session.close()

    signature = inspect.signature(verb)
    own = [one.replace(kind=one.KEYWORD_ONLY) for one in list(signature.parameters.values())[1:]]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in _FLAGS
    ]
    command.__signature__ = signature.replace(parameters=own + shared)  # type: ignore[attr-defined]
    return cast("Callable[P, R]", command)
