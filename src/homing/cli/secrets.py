"""Secrets that a server tells once: on stdout alone, so that they can be piped, or into a file of one's own."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from homing.cli.exits import usage
from homing.cli.render import Item, Out, Style, say
from homing.cli.target import find_dev
from homing.cli.times import exact_seconds

GraceOption = Annotated[
    str, typer.Option("--grace", metavar="24h|none", help="So long the old secret signs as well.")
]

SecretOption = Annotated[
    str | None,
    typer.Option("--secret", metavar="whsec_…", help="The endpoint's; without it that of `homing dev`."),
]
SecretFileInOption = Annotated[
    Path | None, typer.Option("--secret-file", metavar="FILE", help="Read the secret from there.")
]


@contextmanager
def place_for(file: Path | None) -> Iterator[None]:
    """Make the file (0600) before the secret exists, so that none is made that cannot be kept; a fault takes it away.

    A file that is there already is never overwritten.
    """
    if file is None:
        yield
        return
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise usage(f"{file} cannot be made: {(error.strerror or str(error)).lower()}") from error
    try:
        yield
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def give_once(
    out: Out, made: Item, names: Sequence[str], file: Path | None, told: str, *, of: object = None
) -> None:
    """Print what was made: as JSON whole, else only its secrets; with a file they go there and stdout gets the id.

    ``of`` is that id where what was made has none.
    """
    secrets = [str(made[name]) for name in names if name in made]
    if file is not None:
        file.write_text("\n".join(secrets) + "\n", "utf-8")
        say(f"{told}, and is in {file}")
        rest = {key: value for key, value in made.items() if key not in names}
        if out.style in {Style.JSON, Style.JSONL}:
            out.document(rest)
        else:
            out.line(str(made["id"] if of is None else of))
        return
    if out.style in {Style.JSON, Style.JSONL}:
        out.document(made)
        return
    say(told)
    out.row(secrets)


def read_secret(file: Path) -> str:
    """Return the secret in a file, without the line's end."""
    return read_text(str(file)).strip()


def read_text(file: str) -> str:
    """Return what is in a file, or on stdin where ``-`` was given: what stands there is in no list of processes."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        named = "stdin" if file == "-" else file
        why = getattr(error, "strerror", None) or "it is no text"
        raise usage(f"{named} cannot be read: {why.lower()}") from error


def grace_s(given: str) -> int:
    """Return how many seconds an old secret signs as well; ``none`` is 0."""
    return 0 if given == "none" else int(exact_seconds(given, "--grace"))


def old_one(rotated: Item) -> str:
    """Say what becomes of the secret before."""
    until = rotated["previousValidUntil"]
    return "the old secret signs no more" if until is None else f"the old secret signs too until {until}"


def callback_secrets(secret: str | None, file: Path | None) -> list[str]:
    """Return what callbacks are signed with: what was given, else the secrets of `homing dev`, the endpoint's first."""
    if secret is not None and file is not None:
        raise usage("give --secret or --secret-file, not both")
    if file is not None:
        return [read_secret(file)]
    if secret is not None:
        return [secret]
    dev = find_dev(Path.cwd())
    if dev is None:
        raise usage("which secret? give --secret-file FILE")
    return [dev.secret] if dev.inbox_secret is None else [dev.secret, dev.inbox_secret]
