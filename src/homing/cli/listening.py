"""A listener seen from its holder: opened by name, held by saying so now and then, moved on behind what was dealt with.

Nothing counts as dealt with before it was: killed at any instant and started again, it goes on with the first event that
may not have been (so an event may come twice, under the same ``webhook-id``).
"""

import getpass
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from homing.cli.client import Client, Doc, Refused, ServerFault, path
from homing.cli.exits import CliError, ExitCode
from homing.cli.pulling import WAIT_S, Feed, Pause, lost, rest_if_idle, until_back
from homing.cli.render import say

SAVE_S: Final = 1.0
"""How long what was dealt with waits to be saved: so much is done twice, at the most, after a kill."""
ALIVE_S: Final = 8.0
"""How often the server hears that this listener is alive; it believes so for 30 s."""
CATCH_UP: Final = 1_000
"""How much of what waits is fetched before the first of it is dealt with."""
FAREWELL_S: Final = 2.0
_HOLDER: Final = re.compile(r".*@(?P<host>.*) \(process (?P<pid>[0-9]{1,10})\)", re.DOTALL)


def holder() -> str:
    """Return who this is, for people: user, machine and process."""
    return f"{_user()}@{socket.gethostname()} (process {os.getpid()})"[:255]


def usual_name() -> str:
    """Return the name of a listener that was given none: the same for the same user on the same machine."""
    return re.sub(r"[^A-Za-z0-9@_-]", "-", f"{_user()}@{socket.gethostname()}")[:100]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in containers
        return str(os.getuid())


def is_gone(held_by: str) -> bool:
    """Say whether a holder is known to be no more: a process of this machine that does not run."""
    found = _HOLDER.fullmatch(held_by)
    if found is None or found["host"] != socket.gethostname():
        return False
    pid = int(found["pid"])
    if pid == os.getpid():
        return True  # somebody had this number before, in a container's earlier life
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


class Listening:
    """One listener, held from here. Give `rest` to whoever must wait, so that it stays held meanwhile."""

    def __init__(self, api: Client, name: str, apps: Sequence[int] | None, pause: Pause = time.sleep) -> None:
        self._api = api
        self._name = name
        self._apps = apps
        self._pause = pause
        self._lease = str(uuid.uuid4())
        query = {"incoming": "true", "mobileAppId": None if apps is None else ",".join(map(str, apps))}
        self._feed = Feed(api, query)
        self._done: str | None = None
        self._saved: str | None = None
        self._saved_s = 0.0
        self.taken = 0
        self.filtered = 0
        self.passed_over = 0

    def open(self, *, since: str | None = None, takeover: bool = False) -> Doc:
        """Hold it and return what the server says; a holder that lives is a conflict, one that died here is succeeded."""
        wanted: Doc = {
            "name": self._name,
            "holder": holder(),
            "mobileAppIds": None if self._apps is None else [*self._apps],
            "since": since,
            "takeover": takeover,
            "lease": self._lease,
        }
        try:
            opened: Doc = self._api.call("POST", path("1", "listeners"), wanted)
        except Refused as refused:
            if refused.status != 409:
                raise
            if not self._is_orphan():
                line = f"{refused.problem.get('detail')}; --takeover takes it over, --name NAME listens beside it"
                raise CliError(ExitCode.CONFLICT, line) from refused
            opened = self._api.call("POST", path("1", "listeners"), {**wanted, "takeover": True})
        self._feed.cursor = self._done = self._saved = opened["cursor"]
        self._saved_s = time.monotonic()
        return opened

    def catch_up(self, opened: Doc) -> list[Doc]:
        """Fetch what waits, say how much it was, and return it."""
        items: list[Doc] = []
        while True:
            page = self._feed.look()
            items += page.items
            if page.is_end or len(items) >= CATCH_UP:
                break
        missing = max(0, opened["behind"] - len(items))
        more = "" if page.is_end else ", and there is more"
        say(f"resumed: {_events(len(items))} caught up, {missing} lost{more}")
        return items

    def run(
        self,
        items: list[Doc],
        wants: Callable[[Doc], bool],
        handle: Callable[[Doc], bool],
        once: int | None = None,
    ) -> None:
        """Deal with these events and all that follow, for ever, or until ``once`` were; a server that goes is waited for.

        ``handle`` returns whether an event was taken; one that was not is passed over.
        """
        while True:
            for item in items:
                self._keep(ALIVE_S)
                if wants(item):
                    is_taken = handle(item)
                    self.taken += is_taken
                    self.passed_over += not is_taken
                else:
                    self.filtered += 1
                self._done = item["cursor"]
                self._keep(SAVE_S)
                if once is not None and self.taken + self.passed_over >= once:
                    return
            self._done = self._feed.cursor
            items = self._next()

    def rest(self, seconds: float) -> None:
        """Wait so long; the listener stays held."""
        self._keep(ALIVE_S)
        self._pause(seconds)

    def close(self) -> None:
        """Save and let go, so that the next one need not wait; a server that does not answer is left alone."""
        self._api.close()  # an answer may still be on its way
        if self._done is None:
            return
        try:
            self._save(release=True, timeout_s=FAREWELL_S)
        except (CliError, ServerFault):
            self._api.close()

    def _next(self) -> list[Doc]:
        """Return what comes next, however long that takes."""
        began_s = time.monotonic()
        try:
            self._save_if_moved()
            page = self._feed.look(WAIT_S)
            if page.items and time.monotonic() - self._saved_s >= SAVE_S:
                self._save()  # whoever was taken over meanwhile must not deal with these
        except CliError as error:
            lost(self._api, error)
            return until_back(self._api, self._resume, self._pause)
        rest_if_idle(page, began_s, self._pause)
        return page.items

    def _resume(self) -> list[Doc]:
        """Go on at a server that was away: hold the listener again, unless somebody else does by now."""
        self._save()
        return self.catch_up(self.open())

    def _keep(self, age_s: float) -> None:
        """Save, or only say that this listener is alive, where the last time is so long ago."""
        if time.monotonic() - self._saved_s < age_s or (age_s < ALIVE_S and self._done == self._saved):
            return
        try:
            self._save()
        except CliError as error:
            self._api.close()
            if error.code is not ExitCode.UNREACHABLE:
                raise
            self._saved_s = time.monotonic()  # what comes next finds out that the server is away

    def _save_if_moved(self) -> None:
        if self._done != self._saved or time.monotonic() - self._saved_s >= ALIVE_S:
            self._save()

    def _save(self, *, release: bool = False, timeout_s: float | None = None) -> None:
        where = path("1", "listeners", self._name, "progress")
        said: Doc = {"lease": self._lease, "cursor": self._done}
        try:
            self._api.call("POST", where, said | ({"release": True} if release else {}), timeout_s=timeout_s)
        except Refused as refused:
            if refused.status == 409:
                line = f"taken over: {refused.problem.get('detail')}"
                raise CliError(ExitCode.CONFLICT, line) from refused
            raise
        self._saved = said["cursor"]
        self._saved_s = time.monotonic()

    def _is_orphan(self) -> bool:
        """Say whether whoever holds this name is known to be no more."""
        found = self._api.each(path("1", "listeners"))
        return any(one["name"] == self._name and is_gone(one["holder"]) for one in found)


def _events(count: int) -> str:
    return f"{count} event" if count == 1 else f"{count} events"
