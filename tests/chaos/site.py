"""Who depends on the nodes in a run of faults: one application, its people and phones, its endpoints; and what all saw in the end.

Nothing here kills anything: that is each run's own.
"""

import os
import random
from collections.abc import Callable
from typing import Any

import httpx
from tests.acceptance.served import made
from tests.chaos.journal import Counts, Endpoint, Event, Journal
from tests.chaos.load import Phone, Senders, Switch
from tests.chaos.receiver import Receivers

from homing.contract.notification import parse_utc

IS_FULL = os.environ.get("HOMING_CHAOS") == "full"
READERS = ("ann", "bob", "Čeněk Dvořák")
SILENT = ("dora", "emil")
UNKNOWN = ("nobody", "no one")
PEOPLE = READERS + SILENT + UNKNOWN
FORMS: dict[str, tuple[str, str, tuple[str, ...] | None]] = {
    "all": ("json", "ms", None),
    "query": ("get", "s", None),
    "some": ("form", "ms", ("read", "IdentifierNotFound")),
}
SICK = ("sick",) if IS_FULL else ()
"""Down until the load is over, so that its endpoint rests over many deaths; then it gets everything. Its first probe
comes half a minute after the last start, which is too long for a short run."""
FORMS |= dict.fromkeys(SICK, ("json", "ms", None))
ENDPOINTS = {
    name: Endpoint(None if statuses is None else frozenset(statuses), 1 if unit == "ms" else 1000)
    for name, (_, unit, statuses) in FORMS.items()
}


class Site:
    """One application and everybody who has to do with it."""

    def __init__(self, seed: int, *, late: float = 0.04) -> None:
        """``late`` is the share of callbacks that are answered late."""
        self.rng = random.Random(seed)
        self.switch = Switch()
        self.receivers = Receivers(list(FORMS), seed, late=late, sick=SICK)
        self.phones: list[Phone] = []
        self.app: dict[str, Any] = {}
        self.contradictions: list[str] = []

    async def set_up(self, http: httpx.AsyncClient, url: Callable[[], str]) -> None:
        """Make everything through the API; phones connect to what ``url`` says each time."""
        self.app = await made(http, "/1/apps", {"name": "chaos"})
        path = f"/1/apps/{self.app['id']}"
        for name in READERS + SILENT:
            await made(http, f"{path}/users", {"identifier": name, "password": "secret"})
        for name, (form, unit, statuses) in FORMS.items():
            receiver = self.receivers.by_name[name]
            endpoint: dict[str, object] = {"url": receiver.url, "form": form, "timestampPrecision": unit}
            endpoint |= {} if statuses is None else {"statuses": list(statuses)}
            receiver.trust((await made(http, f"{path}/endpoints", endpoint))["secret"])
        # One reader has two devices: each status still comes once.
        for name in (*READERS, READERS[0]):
            login = {"appKey": self.app["appKey"], "identifier": name, "password": "secret"}
            told = await made(http, "/device/1/sessions", login)
            self.phones.append(Phone(url, told["token"], told["epoch"], self.switch, self.rng))

    async def until_all_told(self, senders: Senders, within_s: float) -> None:
        """Have everybody well, and wait until each endpoint took what it is owed; what is missing in the end, `check` finds."""
        for name in SICK:
            self.receivers.recover(name)
        await self.receivers.until_told(self._expected(senders), within_s)

    async def seen(self, http: httpx.AsyncClient, senders: Senders) -> Journal:
        """Return what the API tells of everything, without what the receivers got."""
        journal = Journal(
            app=str(self.app["id"]), endpoints=ENDPOINTS, accepts=senders.accepts, readers=frozenset(READERS)
        )
        cursor: dict[str, str] = {}
        while True:
            page = (await http.get("/1/messages", params={"limit": "200"} | cursor)).raise_for_status().json()
            for message in page["items"]:
                journal.events |= _events_of(message)
            if page["nextCursor"] is None:
                break
            cursor = {"cursor": page["nextCursor"]}
        for accept in self.rng.sample(senders.accepts, min(300, len(senders.accepts))):
            answer = await http.get(f"/1/messages/{accept.message_id}")
            shown = {} if answer.status_code == 404 else _events_of(answer.raise_for_status().json())
            dispatches = [(accept.message_id, recipient) for recipient in accept.told]
            if shown != {one: journal.events[one] for one in dispatches if one in journal.events}:
                self.contradictions.append(f"{accept.message_id} is not what the list shows")
        return journal

    def _expected(self, senders: Senders) -> set[tuple[str, tuple[str, str], str]]:
        lives: dict[str, tuple[str, ...]] = dict.fromkeys(READERS, ("enqueued", "delivered", "read"))
        lives |= dict.fromkeys(SILENT, ("enqueued",)) | dict.fromkeys(UNKNOWN, ("IdentifierNotFound",))
        return {
            (name, (accept.message_id, recipient), status)
            for accept in senders.accepts
            for recipient in accept.told
            for status in lives[recipient]
            for name, endpoint in ENDPOINTS.items()
            if endpoint.wants(status)
        }


def figures(counts: Counts) -> str:
    """The size of a run in words."""
    return (
        f"{counts.accepted} messages accepted, {counts.events} events, "
        f"{counts.callbacks} callbacks ({counts.retries} retries, {counts.duplicates} duplicates)"
    )


def _events_of(message: dict[str, Any]) -> dict[tuple[str, str], list[Event]]:
    return {
        (message["messageId"], one["identifier"]): [
            Event(event["seq"], event["status"], parse_utc(event["timestamp"])[0]) for event in one["events"]
        ]
        for one in message["recipients"]
    }
