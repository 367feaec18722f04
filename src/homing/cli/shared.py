"""What the verbs that work on a PostgreSQL beside its nodes have in common: their loop, and how its faults are told."""

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from homing.cli.exits import CliError, ExitCode, usage

T = TypeVar("T")
POSTGRESQL: Final = ("postgresql://", "postgres://")


def without_password(dsn: str) -> str:
    """Return the address of a database without who logs in, and how."""
    from homing.config.address import without_login

    return without_login(dsn)


def needs_asyncpg() -> None:
    """Say what is to be installed where the library is missing."""
    try:
        import asyncpg  # noqa: F401 - an extra
    except ModuleNotFoundError as error:
        raise usage("a PostgreSQL needs asyncpg: install homing[postgres]") from error


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a verb's work to its end."""
    import uvloop

    result: T = uvloop.run(work)
    return result


@contextmanager
def told() -> Iterator[None]:
    """Tell what stores raise beside a `StartError` in one line."""
    from homing.errors import Unavailable

    try:
        yield
    except Unavailable as error:
        raise CliError(ExitCode.UNREACHABLE, error.detail) from error
    except OSError as error:
        raise usage(f"{error.filename}: {(error.strerror or str(error)).lower()}") from error
