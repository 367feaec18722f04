"""Secrets that a server tells once: on stdout alone, so that they can be piped, or into a file of one's own."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from homing.cli.exits import usage
from homing.cli.render import Item, Out, Style, say


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


def give_once(out: Out, made: Item, names: Sequence[str], file: Path | None, told: str) -> None:
    """Print what was made: as JSON whole, else only its secrets; with a file they go there and stdout gets the id."""
    secrets = [str(made[name]) for name in names if name in made]
    if file is not None:
        file.write_text("\n".join(secrets) + "\n", "utf-8")
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


def read_secret(file: Path) -> str:
    """Return the secret in a file, without the line's end."""
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise usage(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        ) from error
