"""Runs the demo's stories and prints what is told of them: the answer is the exit code."""

import os
import sys
from typing import Final

import uvloop

from homing.cli.exits import ExitCode
from homing.cli.render import harmless, say
from homing.simulator.demo import Line, run_demo
from homing.simulator.home import open_home
from homing.telemetry import configure

_COLOURS: Final = {"title": "1", "story": "1", "ok": "32", "bad": "31;1"}


def run(*, break_law: str | None, colour: bool) -> int:
    """Play everything; 0 only if every story said what it must, in every form, and every law held."""
    configure("text", "error")

    def tell(line: Line) -> None:
        text = harmless(line.text)
        code = _COLOURS.get(line.kind) if colour else None
        print(text if code is None else f"\x1b[{code}m{text}\x1b[0m", flush=True)

    report = uvloop.run(run_demo(open_home, tell, break_law=break_law))
    if not report.holds:
        say("homing demo: not everything holds; what is broken stands above")
    return ExitCode.DONE if report.holds else ExitCode.NO


def wants_colour(*, no_color: bool) -> bool:
    """Say whether stdout is a terminal that shows colours and nobody objects."""
    refused = no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not refused
