"""Secrets that a server tells once: on stdout alone, so that they can be piped, or into a file of one's own."""

import os
from collections.abc import Sequence
from pathlib import Path

from homing.cli.exits import usage
from homing.cli.render import Item, Out, Style, say


def give_once(out: Out, made: Item, names: Sequence[str], file: Path | None, told: str) -> None:
    """Print what was made: as JSON whole, else only its secrets; with a file they go there and stdout gets the id."""
    secrets = [str(made[name]) for name in names if name in made]
    if file is not None:
        write_secret(file, "\n".join(secrets) + "\n")
        say(f"{told}, and is in {file}")
        rest = {key: value for key, value in made.items() if key not in names}
        if out.style in {Style.JSON, Style.JSONL}:
            out.document(rest)
        else:
            out.line(str(made["id"]))
        return
    if out.style in {Style.JSON, Style.JSONL}:
        out.document(made)
        return
    say(told)
    out.row(secrets)


def write_secret(file: Path, text: str) -> None:
    """Write a new file that only its owner may read; one that exists is never overwritten."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise usage(f"{file} cannot be written: {error.strerror}") from error


def read_secret(file: Path) -> str:
    """Return the secret in a file, without the line's end."""
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise usage(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        ) from error
