"""All checks by name, in the order in which they are told."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from homing.checkup import backup, clock, config, database, disk, endpoints, keys, server, store
from homing.checkup.case import Case
from homing.checkup.item import AS_USER, Finding, Item, State, item
from homing.checkup.shared_case import SharedCase
from homing.config import Loaded, Settings
from homing.errors import HomingError

CHECKS: Final[Mapping[str, Callable[[Case], list[Item]]]] = MappingProxyType({
    "config": config.check,
    "store": store.check,
    "disk": disk.check,
    "clock": clock.check,
    "keys": keys.check,
    "backup": backup.check,
    "server": server.check,
    "endpoints": endpoints.check,
})  # fmt: skip


SHARED: Final[Mapping[str, Callable[[Case], list[Item]]]] = MappingProxyType({
    "config": config.check,
    "database": database.check,
    "clock": clock.check,
    "keys": keys.check,
    "server": server.check,
    "endpoints": endpoints.check,
})  # fmt: skip
"""Those of a node on a PostgreSQL: its disk cannot be seen from here, and it is backed up with tools of its own."""


def checks_of(settings: Settings) -> Mapping[str, Callable[[Case], list[Item]]]:
    """Return the checks there are for a node with these settings."""
    return SHARED if settings.store.is_shared else CHECKS


def case_of(loaded: Loaded, file: Path | None) -> Case:
    """Return what the checks of a node look at."""
    return (SharedCase if loaded.settings.store.is_shared else Case)(loaded, file)


def examine(case: Case, only: Collection[str] | None = None) -> list[Item]:
    """Return the items of the checks named, all without names, in their order; what cannot be looked at is a FAIL, no error."""
    return [
        found
        for name, check in checks_of(case.settings).items()
        if only is None or name in only
        for found in _items(name, check, case)
    ]


def _items(name: str, check: Callable[[Case], list[Item]], case: Case) -> list[Item]:
    try:
        return check(case)
    except HomingError as error:
        return [item(name, [Finding(error.detail, State.FAIL, f"see the item {case.root}")])]
    except OSError as error:
        told = f"{error.filename}: {(error.strerror or str(error)).lower()}"
        return [item(name, [Finding(told, State.FAIL, AS_USER)])]
