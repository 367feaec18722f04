"""Following a server's feed from here: page by page, over its restarts; nothing is missed, nothing comes twice.

It knows the API and how to wait, not what becomes of an event.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from homing.cli.client import PAGE, Client, Doc, path
from homing.cli.exits import CliError, ExitCode
from homing.cli.render import say

T = TypeVar("T")
Pause = Callable[[float], None]

WAIT_S: Final = 10
"""How long the server is asked to wait for something new: a listener says that often that it is alive."""
LATE_S: Final = 20.0
"""How much later than it was to wait its answer may come."""
SOON_S: Final = 0.2
"""A server that answers "nothing" at once although it was to wait is not asked more often than this."""
BACK_S: Final = (0.1, 5.0)
"""The first and the longest pause before a server that went away is tried again."""
BEGINNING: Final = "1970-01-01T00:00:00.000Z"
END: Final = "9999-12-31T00:00:00.000Z"
"""As ``since``: what has not happened yet, whatever the server's clock says."""


class Page(NamedTuple):
    """A part of the feed; ``is_end``: nothing was behind it."""

    items: list[Doc]
    is_end: bool


class Feed:
    """A place in the feed, which moves on with each page that came whole."""

    def __init__(self, api: Client, query: Mapping[str, object], cursor: str | None = None) -> None:
        self._api = api
        self._query = dict(query)
        self.cursor = cursor

    def look(self, wait_s: int = 0, limit: int = PAGE) -> Page:
        """Return the next page, which may be empty; with ``wait_s`` what comes within so many seconds."""
        query = {**self._query, "limit": limit, "cursor": self.cursor, "wait": wait_s or None}
        if self.cursor is not None:
            query.pop("since", None)
        found = self._api.call("GET", path("1", "events"), query=query, timeout_s=wait_s + LATE_S)
        self.cursor = found["cursor"]
        return Page(found["items"], found["nextCursor"] is None)

    def follow(self, pause: Pause = time.sleep) -> Iterator[Doc]:
        """Yield every event from here on, for ever; a server that goes away is waited for."""
        while True:
            began_s = time.monotonic()
            try:
                page = self.look(WAIT_S)
            except CliError as error:
                lost(self._api, error)
                page = until_back(self._api, self.look, pause)
                say("the server is back; going on where it stopped")
            yield from page.items
            rest_if_idle(page, began_s, pause)


def rest_if_idle(page: Page, began_s: float, pause: Pause) -> None:
    """Wait a moment after an empty page that came at once: the server is stopping and waits for nobody."""
    if not page.items and page.is_end and time.monotonic() - began_s < SOON_S:
        pause(SOON_S)


def lost(api: Client, error: CliError) -> None:
    """Say that the server went away; any other error is raised on."""
    api.close()
    if error.code is not ExitCode.UNREACHABLE:
        raise error
    say(f"{error}; trying again until it is back")


def until_back(api: Client, ask: Callable[[], T], pause: Pause) -> T:
    """Ask until there is an answer, with longer and longer pauses; any other error is raised on."""
    delay_s, longest_s = BACK_S
    while True:
        pause(delay_s)
        delay_s = min(2 * delay_s, longest_s)
        try:
            return ask()
        except CliError as error:
            api.close()
            if error.code is not ExitCode.UNREACHABLE:
                raise
