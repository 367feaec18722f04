"""How a verb ends: the table of exit codes, and the error that carries one with its line for people."""

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What the process tells the one who called it (API.md §3)."""

    DONE = 0
    NO = 1
    USAGE = 2
    NO_SUCH_THING = 3
    NOT_ALLOWED = 4
    UNREACHABLE = 5
    CONFLICT = 6
    PARTLY = 7
    OURS = 70
    INTERRUPTED = 130


MEANING: Final[dict[ExitCode, str]] = {
    ExitCode.DONE: "done",
    ExitCode.NO: "done, and the answer is no",
    ExitCode.USAGE: "wrong usage or configuration",
    ExitCode.NO_SUCH_THING: "no such thing",
    ExitCode.NOT_ALLOWED: "not allowed: the token is missing, expired or lacks the scope",
    ExitCode.UNREACHABLE: "cannot reach the server or the store",
    ExitCode.CONFLICT: "conflict: idempotency key reused, schema newer than the program, directory locked",
    ExitCode.PARTLY: "partly done: the rest is listed",
    ExitCode.OURS: "our fault: a bug; a report file is written and named",
    ExitCode.INTERRUPTED: "interrupted",
}

OF_STATUS: Final[dict[int, ExitCode]] = {
    400: ExitCode.USAGE,
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NO_SUCH_THING,
    405: ExitCode.USAGE,
    409: ExitCode.CONFLICT,
    413: ExitCode.USAGE,
    415: ExitCode.USAGE,
    422: ExitCode.USAGE,
    429: ExitCode.UNREACHABLE,
    502: ExitCode.UNREACHABLE,
    503: ExitCode.UNREACHABLE,
    504: ExitCode.UNREACHABLE,
}
"""HTTP status of an answer → exit code; any other 4xx is `USAGE`, any other 5xx `OURS`."""


def of_status(status: int) -> ExitCode:
    """Return how a verb ends whose request was answered with this status."""
    if status in OF_STATUS:
        return OF_STATUS[status]
    return ExitCode.OURS if status >= 500 else ExitCode.USAGE


class CliError(Exception):
    """A verb cannot go on; its text is the one line that people see."""

    def __init__(self, code: ExitCode, line: str) -> None:
        super().__init__(line)
        self.code = code


def usage(line: str) -> CliError:
    """Return the error for wrong usage or configuration."""
    return CliError(ExitCode.USAGE, line)
