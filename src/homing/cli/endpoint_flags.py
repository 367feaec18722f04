"""An endpoint's options as flags of the command line: one table for what makes an endpoint and what changes one.

Each flag becomes a property of the API's request; ``none`` takes an option back. What is secret comes from files or stdin.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import typer

from homing.cli.client import Doc
from homing.cli.exits import usage
from homing.cli.secrets import read_text
from homing.cli.session import Session
from homing.cli.times import exact_seconds, per_second

P = ParamSpec("P")
R = TypeVar("R")

NONE: Final = "none"
STDIN: Final = "-"


class Flag(NamedTuple):
    """One flag: the verb's parameter, how Typer declares it, the request's property, and how a text becomes its value.

    ``read`` None: it is one of several that make up a property.
    """

    name: str
    annotation: object
    property: str = ""
    read: Callable[[Any], object] | None = None


def _option(flag: str, metavar: str, text: str) -> object:
    return Annotated[str | None, typer.Option(flag, metavar=metavar, help=text)]


def _either(flags: str, text: str) -> object:
    return Annotated[bool | None, typer.Option(flags, help=text)]


def _text(given: str) -> str | None:
    return None if given == NONE else given


def _as_given(given: object) -> object:
    return given


def _statuses(given: str) -> list[str] | None:
    return None if given in {"all", NONE} else [one.strip() for one in given.split(",")]


def _number(given: str) -> int | None:
    if given == NONE:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise usage(f"--max-in-flight: {given[:40]!r} is no whole number")
    return int(given)


def _rate(given: str) -> float | None:
    return None if given == NONE else per_second(given, "--rate")


def _delays(given: str) -> list[float] | None:
    if given == NONE:
        return None
    return [exact_seconds(one.strip(), "--retry-delays") for one in given.split(",")]


def _timeout(given: str) -> float | None:
    return None if given == NONE else exact_seconds(given, "--timeout")


STATUSES: Final = Flag(
    "statuses", _option("--statuses", "S[,S…]", "Only these; `all` takes the filter away."), "statuses", _statuses,
)  # fmt: skip
KIND: Final = Flag(
    "kind",
    _option("--kind", "status|operations", "Callbacks about messages, or facts about endpoints (JSON only)."),
    "kind",
    _as_given,
)
OPTIONS: Final[tuple[Flag, ...]] = (
    Flag("form", _option("--form", "json|form|get", "How they travel (json)."), "form", _as_given),
    Flag("description", _option("--description", "TEXT", "What it is for; names it."), "description", _text),
    Flag(
        "timestamp_precision",
        _option("--timestamp-precision", "s|ms", "How finely callbacks tell the time."),
        "timestampPrecision",
        _text,
    ),
    Flag(
        "header",
        Annotated[
            list[str] | None,
            typer.Option(
                "--header",
                metavar="'Name: value'",
                help="Sent along; may be repeated. An empty value drops one, `none` all.",
            ),
        ],
    ),
    Flag("header_file", _option("--header-file", "FILE|-", "Headers from there, one a line.")),
    Flag("bearer_file", _option("--bearer-file", "FILE|-", "Log in with the token in there.")),
    Flag("basic_file", _option("--basic-file", "FILE|-", "Log in with the user:password in there.")),
    Flag(
        "ordered",
        _either("--ordered/--unordered", "Whether an event waits for the one before it."),
        "ordered",
        _as_given,
    ),
    Flag(
        "max_in_flight",
        _option("--max-in-flight", "N", "At most so many under way at a time."),
        "maxInFlight",
        _number,
    ),
    Flag(
        "rate",
        _option("--rate", "50/s", "At most so many a second, a minute or an hour."),
        "ratePerSecond",
        _rate,
    ),
    Flag(
        "retry_delays",
        _option("--retry-delays", "5s,30s,2m", "How long to wait before each further try."),
        "retryDelaysSeconds",
        _delays,
    ),
    Flag("timeout", _option("--timeout", "5s", "For a whole exchange."), "timeoutSeconds", _timeout),
    Flag("ca", _option("--ca", "FILE|-", "Trust the certificates in there (PEM), and no others.")),
    Flag(
        "skip_verify",
        _either("--dangerous-skip-verify/--verify", "Whether to believe any certificate."),
    ),
    Flag("paused", _either("--paused/--not-paused", "Whether callbacks wait for now."), "paused", _as_given),
)
"""What every endpoint and inbox has."""


def takes(
    flags: Sequence[Flag],
) -> Callable[[Callable[Concatenate[Session, Doc, P], R]], Callable[Concatenate[Session, P], R]]:
    """Give a verb these flags, and the properties that they stand for as its second argument; None takes one back."""

    def decorate(verb: Callable[Concatenate[Session, Doc, P], R]) -> Callable[Concatenate[Session, P], R]:
        @functools.wraps(verb)
        def command(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> R:
            given = {flag.name: kwargs.pop(flag.name, None) for flag in flags}
            return verb(session, properties(flags, given), *args, **kwargs)

        signature = inspect.signature(verb)
        session, _, *own = signature.parameters.values()
        added = [
            inspect.Parameter(
                flag.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=flag.annotation
            )
            for flag in flags
        ]
        own = [one.replace(kind=one.KEYWORD_ONLY) for one in own]
        command.__signature__ = signature.replace(parameters=[session, *own, *added])  # type: ignore[attr-defined]
        return command

    return decorate


def properties(flags: Sequence[Flag], given: Mapping[str, Any]) -> Doc:
    """Return the properties of what was given; ``headers`` with "" for one to drop, None what is to be taken back."""
    files = ("header_file", "bearer_file", "basic_file", "ca")
    if [given.get(name) for name in files].count(STDIN) > 1:
        raise usage("only one of --header-file, --bearer-file, --basic-file, --ca can be read from stdin")
    made = {
        flag.property: flag.read(given[flag.name])
        for flag in flags
        if flag.read is not None and given.get(flag.name) is not None
    }
    several = {"headers": _headers(given), "auth": _auth(given), "tls": _tls(given)}
    return made | {name: value for name, value in several.items() if value is not _UNSAID}


def for_create(options: Doc) -> Doc:
    """Return the body that makes an endpoint: where there is nothing yet, nothing is taken back."""
    tls = {name: value for name, value in (options.get("tls") or {}).items() if value is not None}
    made = {**options, "tls": tls or None}
    return {name: value for name, value in made.items() if value is not None}


def for_update(options: Doc, now: Doc) -> Doc:
    """Return the merge patch that changes an endpoint; the API replaces ``tls`` whole, so what stays is put in."""
    patch = dict(options)
    if patch.get("headers"):
        patch["headers"] = {name: value or None for name, value in patch["headers"].items()}
    if "tls" in patch:
        tls = {**now.get("tls", {}), **patch["tls"]}
        tls = {name: value for name, value in tls.items() if value}
        patch["tls"] = tls or None
    return patch


_UNSAID: Final = object()
"""Said by no flag, which is something else than None."""


def _headers(given: Mapping[str, Any]) -> object:
    lines = list(given.get("header") or [])
    file = given.get("header_file")
    if lines == [NONE] and file is None:
        return None
    if file is not None:
        lines += [line for line in read_text(file).splitlines() if line.strip() and line[0] != "#"]
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise usage("a header is written 'Name: value'; `none` stands alone")
        if name.strip().lower() in map(str.lower, headers):
            raise usage(f"the header {name.strip()[:40]!r} is given twice")
        headers[name.strip()] = value.strip()
    return headers or _UNSAID


def _auth(given: Mapping[str, Any]) -> object:
    bearer, basic = given.get("bearer_file"), given.get("basic_file")
    if bearer is None and basic is None:
        return _UNSAID
    auth: Doc = {}
    if bearer not in {None, NONE}:
        auth["bearer"] = read_text(bearer).strip()
    if basic not in {None, NONE}:
        user, colon, password = read_text(basic).rstrip("\r\n").partition(":")
        if not colon:
            raise usage("--basic-file: user:password must stand there")
        auth["basic"] = {"username": user, "password": password}
    if len(auth) > 1:
        raise usage("either --bearer-file or --basic-file: there is one log-in")
    return auth or None


def _tls(given: Mapping[str, Any]) -> object:
    tls: Doc = {}
    if (ca := given.get("ca")) is not None:
        tls["ca"] = None if ca == NONE else read_text(ca)
    if (skip := given.get("skip_verify")) is not None:
        tls["dangerousSkipVerify"] = skip
    return tls or _UNSAID
