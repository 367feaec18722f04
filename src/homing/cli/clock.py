"""`homing clock`: push the clock of `homing dev` forward; returns when everything has happened that happens until then."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from homing.cli.client import Doc, Refused, path
from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.render import Style, say
from homing.cli.session import Session, talks
from homing.cli.times import instant

_PATIENCE_S: Final = 600.0


@talks
def clock(
    session: Session,
    how: Annotated[
        list[str], typer.Argument(metavar="+15m | to TIME | until quiet", help="How far, or until what.")
    ],
) -> None:
    """Push the clock forward: `+15m`, `to 2026-11-23T10:00Z`, `until quiet` (no deadline is left)."""
    wish = advance(how)
    try:
        answer = session.api.call("POST", path("sim", "1", "clock", "advance"), wish, timeout_s=_PATIENCE_S)
    except Refused as refused:
        if refused.status != 404:
            raise
        line = "this server's clock cannot be pushed: only that of `homing dev` can"
        raise CliError(ExitCode.NO_SUCH_THING, line) from refused
    if session.out.style in {Style.JSON, Style.JSONL}:
        session.out.document(answer)
    else:
        session.out.line(str(answer["now"]))
    if wish.get("to", answer["now"]) < answer["now"]:
        say("that time has passed: a clock is never put back")


def advance(how: list[str]) -> Doc:
    """Return the request that the words stand for."""
    match how:
        case [by] if by not in {"to", "until"}:
            return {"by": by}
        case ["to", moment]:
            return {"to": instant(moment, "to")}
        case ["until", what]:
            return {"until": what}
        case _:
            raise usage("say +15m, to TIME, or until quiet")


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {"clock": clock}
