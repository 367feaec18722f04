"""The report of a fault of ours: where it happened, in which Homing, without the values that were typed."""

import os
import platform
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from homing import __version__
from homing.cli.verbs import VERBS


def write_report(error: BaseException, argv: Sequence[str]) -> Path | None:
    """Write a report (0600) into the temporary directory and return where; None when even that fails."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="homing-report-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(report(error, argv))
    except OSError:
        return None
    return Path(name)


def report(error: BaseException, argv: Sequence[str]) -> str:
    """Return the report's text. Of the command line only verbs' and flags' names: values may be secrets or people."""
    told = " ".join(["homing", *map(_name, argv)])
    head = f"Homing {__version__}, Python {platform.python_version()}, {platform.platform()}\n{told}\n\n"
    return head + "".join(traceback.format_exception(error))


def _name(word: str) -> str:
    if word.startswith("-"):
        return word.partition("=")[0]
    return word if word in VERBS else "…"
