"""The entry point: finds the verb, imports only what it needs, and turns every end into an exit code and one line.

It must stay light: ``homing serve`` starts through here.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from homing.cli.exits import CliError, ExitCode
from homing.cli.render import harmless, say
from homing.cli.verbs import GROUPS, LATER, VERBS, Verb

if TYPE_CHECKING:
    from typer import Typer

_HELP: Final = frozenset({"--help", "-h"})
_MOVABLE: Final = {"--url": 1, "--token": 1, "--json": 0, "--jsonl": 0, "--no-color": 0}
"""Flags that may also stand before the verb, with how many values each takes."""

_WAY_OUT: Final = {
    "address_in_use": ": end what runs there, or choose another with --listen",
    "store_locked": ": end it, or choose another with --data",
}
"""Code of an error at the start → what its line ends with, where a flag is the way out."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one verb and leave with its exit code."""
    code = run(sys.argv[1:] if argv is None else argv)
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # the reader of a pipe went away
        sys.stderr.close()
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run one verb and return its exit code; every error is one line on stderr, never a traceback."""
    name = "homing"
    try:
        flags, rest = _split(list(argv))
        if not rest or rest[0] in _HELP:
            print(overview())
            return ExitCode.DONE
        verb = _verb("version" if rest[0] == "--version" else rest[0])
        name = f"homing {verb.name}"
        return _invoke(verb, _joined(rest[1:], flags))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the border: what is not expected becomes a report
        return _failed(name, error, argv)


def overview() -> str:
    """Return what ``homing --help`` says."""
    lines = [
        "Usage: homing VERB …",
        "",
        "Durable messages, and a callback for every step. Each verb has --help.",
    ]
    for title, verbs in GROUPS:
        lines += ["", title]
        lines += [f"  {verb.name:<10} {verb.summary}" for verb in verbs]
    return "\n".join(lines)


def application(verb: Verb) -> "Typer":
    """Return the verb's commands as a Typer application."""
    from importlib import import_module

    import typer

    found: Callable[..., Any] | Mapping[str, Callable[..., Any]] = import_module(
        f"homing.cli.{verb.module}"
    ).COMMANDS[verb.name]
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    if callable(found):
        app.command(verb.name)(found)
        return app
    for name, command in found.items():
        app.command(name)(command)
    app.callback(help=f"{verb.summary[0].upper()}{verb.summary[1:]}.")(lambda: None)
    return app


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return (shared flags that stand before the verb, the rest)."""
    taken = 0
    while taken < len(argv):
        flag, has_value, _ = argv[taken].partition("=")
        if flag not in _MOVABLE:
            break
        taken += 1 if has_value else 1 + _MOVABLE[flag]
    return argv[:taken], argv[taken:]


def _joined(words: list[str], flags: list[str]) -> list[str]:
    """Put the flags behind the verb's own words, where they would stand otherwise."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end] + flags + words[end:]


def _verb(word: str) -> Verb:
    verb = VERBS.get(word)
    if verb is not None:
        return verb
    if word in LATER:
        raise CliError(ExitCode.USAGE, f"{word}: not yet; a later release brings it")
    if word.startswith("-"):
        raise CliError(ExitCode.USAGE, f"no such flag: {word} (homing --help)")
    from difflib import get_close_matches

    near = get_close_matches(word, VERBS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise CliError(ExitCode.USAGE, f"there is no verb {word[:40]!r}{hint} (homing --help)")


def _invoke(verb: Verb, words: list[str]) -> int:
    from typer.main import get_command

    command = get_command(application(verb))
    code = command.main(words, prog_name=f"homing {verb.name}", standalone_mode=False)
    return int(code or 0)


def _failed(name: str, error: Exception, argv: Sequence[str]) -> int:
    """Tell one line about an error and return its exit code."""
    from homing.errors import StartError

    if isinstance(error, CliError):
        code, line = int(error.code), str(error)
    elif isinstance(error, StartError):
        code, line = error.exit_code, error.detail + _WAY_OUT.get(error.code, "")
    else:
        code, line = _other(name, error, argv)
    say(f"{name}: {harmless(line)}")
    return code


def _other(name: str, error: Exception, argv: Sequence[str]) -> tuple[int, str]:
    from typer import Abort, TyperException

    if isinstance(error, TyperException):
        line = error.format_message().strip().rstrip(".")
        return int(ExitCode.USAGE), f"{line[:1].lower()}{line[1:]} ({name} --help)"
    if isinstance(error, Abort):
        return int(ExitCode.INTERRUPTED), "interrupted"
    from homing.cli.report import write_report

    path = write_report(error, argv)
    where = f"a report is in {path}" if path is not None else "and no report could be written"
    return int(ExitCode.OURS), f"a fault of ours, {where} ({type(error).__name__})"
