"""`version` and `help`: what can be told without a server."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from homing import __version__, errors
from homing.cli.exits import MEANING as EXITS
from homing.cli.exits import CliError, ExitCode
from homing.cli.main import application, overview
from homing.cli.verbs import VERBS
from homing.contract.status import FAMILY, MEANING, STATUSES

WHAT_TO_DO: Final[dict[str, str]] = {
    "invalid_request": "Mend what `errors` and `detail` name. 400: it could not be understood; 422: a value is not allowed.",
    "unauthorized": "Send `Authorization: Bearer TOKEN` with a token that is neither expired nor revoked.",
    "forbidden": "Use a token with the scope that `detail` names (`homing tokens create`).",
    "not_found": "Check the id and the application: what belongs to others answers as if it did not exist.",
    "method_not_allowed": "Use one of the methods in the header Allow.",
    "conflict": "Look at the present state first (GET), then decide whether the change still makes sense.",
    "idempotency_conflict": "Use a new key for a new request; the same key is only for sending the same bytes again.",
    "payload_too_large": "Send less at once: a body may have 2 MiB.",
    "unsupported_media_type": "Send application/json.",
    "rate_limited": "Wait as long as Retry-After says, then send again.",
    "url_refused": "Use a public http or https address without the contract's own keys in its query, or open it in callbacks.allow.",
    "unavailable": "Wait as long as Retry-After says, then send again with the same Idempotency-Key; nothing is done twice.",
    "internal": "A fault of Homing's: look into its log, and tell us.",
    "config": "Mend the setting that the line names; `homing config show` lists all of them.",
    "address_in_use": "Another process has the address: end it, or choose another with --listen.",
    "wrong_master_key": "Give security.master_key_file the key file that this store was made with.",
    "schema_too_new": "The store was written by a newer Homing: run that one, or go back to a backup.",
    "store_locked": "Another Homing has this data directory: end it, or choose another with --data.",
    "store_moved": "Serve the place that the line names, or let `homing migrate --to` finish; `homing migrate --reopen` is the way back.",
    "no_such_store": "Name the data directory (--data) or the directory that `homing backup` made.",
    "place_taken": "Choose a place that does not exist yet; nothing is ever overwritten.",
    "backup_damaged": "Do not trust it: take an older backup, and look at the disk that holds this one.",
}
"""Error code → what the one who meets it should do."""


def version() -> None:
    """Print which Homing this is."""
    print(f"homing {__version__}")


def help_(
    what: Annotated[
        str | None, typer.Argument(metavar="[CODE | statuses | exits | VERB]", help="What to explain.")
    ] = None,
) -> None:
    """Explain an error code, the 18 statuses, the exit codes or a verb."""
    if what is None:
        print(overview())
        codes = ", ".join(sorted(_errors()))
        print(f"\nhoming help statuses · homing help exits · homing help CODE, of:\n{codes}")
    elif what == "statuses":
        width = max(map(len, STATUSES))
        for status in STATUSES:
            print(f"{status.value:<{width}}  {FAMILY[status].value:<8}  {MEANING[status]}")
    elif what == "exits":
        for code, meaning in EXITS.items():
            print(f"{code.value:>3}  {meaning}")
    elif what in _errors():
        print(explained(what))
    elif what in VERBS:
        from typer.main import get_command

        get_command(application(VERBS[what])).main(
            ["--help"], prog_name=f"homing {what}", standalone_mode=False
        )
    else:
        raise CliError(ExitCode.NO_SUCH_THING, f"nothing is known about {what[:60]!r}")


def explained(code: str) -> str:
    """Return what an error code means, where it shows, and what to do."""
    kind = _errors()[code]
    meaning = (kind.__doc__ or "").split("\n", 1)[0]
    if issubclass(kind, errors.StartError):
        where = f"exit {kind.exit_code}"
    else:
        where = f"HTTP {kind.http_status}"
    return f"{code} ({where})\n{meaning}\n{WHAT_TO_DO[code]}"


def _errors() -> dict[str, type[errors.HomingError]]:
    """Return each code with the class nearest to the root that has it."""
    found: dict[str, type[errors.HomingError]] = {}
    todo: list[type[errors.HomingError]] = [errors.HomingError]
    while todo:
        kind = todo.pop(0)
        found.setdefault(kind.code, kind)
        todo += kind.__subclasses__()
    return found


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {"version": version, "help": help_}
