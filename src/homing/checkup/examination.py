"""All checks by name, in the order in which they are told."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final

from homing.checkup import backup, clock, config, disk, endpoints, keys, server, store
from homing.checkup.case import Case
from homing.checkup.item import AS_USER, Finding, Item, State, item
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


def examine(case: Case, only: Collection[str] = tuple(CHECKS)) -> list[Item]:
    """Return the items of the checks named, in the order of `CHECKS`; what cannot be looked at is a FAIL, no error."""
    return [found for name, check in CHECKS.items() if name in only for found in _items(name, check, case)]


def _items(name: str, check: Callable[[Case], list[Item]], case: Case) -> list[Item]:
    try:
        return check(case)
    except HomingError as error:
        return [item(name, [Finding(error.detail, State.FAIL, "see the item store")])]
    except OSError as error:
        told = f"{error.filename}: {(error.strerror or str(error)).lower()}"
        return [item(name, [Finding(told, State.FAIL, AS_USER)])]
