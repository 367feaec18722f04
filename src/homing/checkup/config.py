"""What the settings say, and which of them open more than most operators mean to. Wrong ones never get this far."""

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Final

from homing.checkup.case import Case
from homing.checkup.item import Finding, Item, State, item
from homing.config import Origin, Settings

_WIDEST: Final = {4: 16, 6: 48}
"""IP version → the shortest prefix that may be one site's network; anything wider is more than one network."""
_FROM: Final[Mapping[Origin, str]] = {"environment": "from the environment", "flag": "from flags"}


def check(case: Case) -> list[Item]:
    """Return the item ``config``."""
    counts = Counter(case.loaded.origins.values())
    told = [f"{case.file}, {_settings(counts['file'])}" if case.file is not None else "no file"]
    told += [f"{counts[origin]} {words}" for origin, words in _FROM.items() if counts[origin]]
    return [item("config", [*map(Finding, told), Finding("0 unknown"), *_dangerous(case.settings)])]


def _settings(count: int) -> str:
    return "1 setting" if count == 1 else f"{count} settings"


def _dangerous(settings: Settings) -> Iterator[Finding]:
    if settings.callbacks.dangerous_allow_private:
        yield Finding(
            "callbacks.dangerous_allow_private opens every private address to every application",
            State.WARN,
            "name hosts or small ranges in callbacks.allow instead",
        )
    for entry in settings.callbacks.allow:
        try:
            network = ip_network(entry)
        except ValueError:  # a host
            continue
        if network.prefixlen < _WIDEST[network.version]:
            yield Finding(
                f"callbacks.allow opens the wide range {entry}",
                State.WARN,
                "name hosts or small ranges in callbacks.allow",
            )
