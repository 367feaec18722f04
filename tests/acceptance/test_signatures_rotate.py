"""Whose signatures fit while a secret rotates: from the store's change to the bytes a receiver gets, with both libraries.

A store, a directory that follows it, requests built and sent for real; only the directory's clock is moved.
"""

import base64
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import pytest
from tests.acceptance.libraries import LIBRARIES, NO_MATCH, TOO_NEW, TOO_OLD, Case, Library
from tests.acceptance.wire import Raw, Wire, wire
from tests.callbacks.zoo import Outbox, outbox
from tests.store.fakes import StillClock, new_endpoint

from homing.callbacks.directory import Directory, app_context, secret_context
from homing.callbacks.guard import parse_url
from homing.callbacks.operations import OperationNotification
from homing.callbacks.request import build
from homing.contract.forms import Form
from homing.contract.notification import IncomingNotification, Notification, StatusNotification
from homing.contract.status import Status
from homing.model import Endpoint
from homing.store.changes import Change, CreateApp, OpenNotify, RotateAppSecret, RotateEndpointSecret
from homing.store.sqlite import SqliteStore
from homing.vault import Vault

Run = Callable[[Coroutine[Any, Any, None]], None]
both = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)

VAULT: Final = Vault(bytes(range(32)))
APP: Final = 1
HOUR_MS: Final = 3_600_000
SECRETS: Final = {
    name: "whsec_" + base64.b64encode(bytes([at] * 32)).decode()
    for at, name in enumerate(("A", "B", "C", "other"))
}
ODD: Final = 'Zoë + 1 & 2 = 100% 🎉 "\\/'
TOLD: Final[Mapping[str, Notification | OperationNotification]] = {
    "status": StatusNotification(0, "1", "m", ODD, Status.READ, ODD, ODD[::-1], "+39 333 1234567"),
    "inbox": IncomingNotification(ODD, f"{ODD}\n\t\x00", "1", 0, "m", ODD),
    "operations": OperationNotification("endpoint.resting", 0, "1", "e", ODD),
    "notify": StatusNotification(0, "1", "m", ODD, Status.ENQUEUED, ODD),
}
"""Kind of endpoint → what it is told here."""
TO: Final = [
    *((kind, form) for kind in ("status", "inbox", "notify") for form in Form),
    ("operations", Form.JSON),
]


class Rotate(NamedTuple):
    """Every secret becomes this one; the one before it is good for so long, None: not any more."""

    secret: str
    grace_ms: int | None


class Wait(NamedTuple):
    """Time passes."""

    ms: int


class Restart(NamedTuple):
    """The directory is read anew from the store."""


Step: TypeAlias = Rotate | Wait | Restart
STORIES: Final[Mapping[str, Sequence[tuple[Step, str]]]] = {
    "with a grace": [
        (Wait(0), "A"),
        (Rotate("B", HOUR_MS), "AB"),
        (Restart(), "AB"),
        (Wait(HOUR_MS - 1), "AB"),
        (Wait(1), "B"),
        (Restart(), "B"),
        (Wait(24 * HOUR_MS), "B"),
    ],
    "at once": [(Rotate("B", None), "B"), (Restart(), "B")],
    "again within the grace": [
        (Rotate("B", HOUR_MS), "AB"),
        (Wait(HOUR_MS // 2), "AB"),
        (Rotate("C", HOUR_MS), "BC"),
        (Wait(HOUR_MS // 2), "BC"),
        (Wait(HOUR_MS // 2), "C"),
    ],
    "at once within the grace": [(Rotate("B", HOUR_MS), "AB"), (Rotate("C", None), "C")],
}
"""What happens → whose holders can verify from then on."""


class Office:
    """An application with an endpoint of each kind and form, and what is needed to tell them something."""

    def __init__(self, store: SqliteStore, receiver: Wire, box: Outbox) -> None:
        self._store = store
        self._receiver = receiver
        self._box = box
        self._now_ms = int(time.time() * 1000)
        self._endpoints: dict[tuple[str, Form], Endpoint] = {}
        self._sent = 0
        self._directory = self._new_directory()

    async def open(self) -> None:
        """Make the application and its endpoints; all secrets are A."""
        store, first = self._store, SECRETS["A"].encode()
        store.watch(self._changed)
        sealed = VAULT.seal(first, app_context(APP))
        await store.apply(CreateApp("bank", "key", id=APP, callback_secret=sealed))
        for kind, form in TO:
            if kind == "notify":
                made = (await store.apply(OpenNotify(APP, self._receiver.url("")[:-1]))).value
            else:
                uid = f"{kind}-{form}"
                fields = {"kind": kind, "form": form.value, "url": self._receiver.url(f"{uid}?a=1&b=%20")}
                secret = VAULT.seal(first, secret_context(uid))
                made = (await store.apply(new_endpoint(APP, uid=uid, secret=secret, **fields))).value
            assert isinstance(made, Endpoint)
            self._endpoints[kind, form] = made

    async def take(self, step: Step) -> None:
        """Let it happen."""
        match step:
            case Wait(ms):
                self._now_ms += ms
            case Restart():
                self._directory = self._new_directory()
                await self._directory.load()
            case Rotate(secret, grace_ms):
                until_ms = None if grace_ms is None else self._now_ms + grace_ms
                plain = SECRETS[secret].encode()
                await self._store.apply(RotateAppSecret(APP, VAULT.seal(plain, app_context(APP)), until_ms))
                for (kind, _), endpoint in self._endpoints.items():
                    if kind != "notify":
                        sealed = VAULT.seal(plain, secret_context(endpoint.uid))
                        await self._store.apply(RotateEndpointSecret(APP, endpoint.uid, sealed, until_ms))

    async def tell(self, timestamp_s: int | None = None) -> list[Raw]:
        """Tell every endpoint something, and return the requests as they came."""
        second = int(time.time()) if timestamp_s is None else timestamp_s
        jobs = []
        for (kind, form), endpoint in self._endpoints.items():
            view = self._directory.view(endpoint.id)
            assert view is not None
            is_own = kind == "notify"  # its URL and form are the message's
            self._sent += 1
            jobs.append(
                build(
                    view,
                    TOLD[kind],
                    f"msg_{self._sent}",
                    second,
                    1,
                    1,
                    url=parse_url(self._receiver.url("own?a=1")) if is_own else None,
                    form=form if is_own else None,
                )
            )
        assert {done.status for done in await self._box.send(*jobs)} == {200}
        return (await self._receiver.heard(self._sent))[-len(jobs) :]

    def _changed(self, change: Change, value: object) -> None:
        self._directory.changed(change, value)

    def _new_directory(self) -> Directory:
        return Directory(self._store, VAULT, "Catapush", 15.0, lambda: self._now_ms)


async def in_an_office(story: Callable[[Office], Coroutine[Any, Any, None]]) -> None:
    """Run a story on a store of its own, with a real sender and a real receiver."""
    store = await SqliteStore.open(":memory:", clock=StillClock())
    try:
        async with wire() as receiver, outbox() as box:
            office = Office(store, receiver, box)
            await office.open()
            await story(office)
    finally:
        await store.close()


def asked(requests: Sequence[Raw], secret: str) -> list[Case]:
    return [Case(raw.payload, dict(raw.headers), SECRETS[secret]) for raw in requests]


@pytest.mark.parametrize("name", STORIES)
@both
def test_old_and_new_verify_until_the_grace_is_over(run: Run, library: Library, name: str) -> None:
    """In every form, of every kind, after each step: exactly the holders of the named secrets can verify."""
    cases: list[Case] = []
    expected: list[tuple[str, str | None]] = []

    async def story(office: Office) -> None:
        for step, holders in STORIES[name]:
            await office.take(step)
            requests = await office.tell()
            for raw in requests:
                assert len(raw.header("webhook-signature").split(" ")) == len(holders)
            for secret in SECRETS:
                cases.extend(asked(requests, secret))
                verdict = None if secret in holders else NO_MATCH
                expected.extend((f"{raw.path} after {step} with {secret}", verdict) for raw in requests)

    run(in_an_office(story))
    found = zip((what for what, _ in expected), library(cases), strict=True)
    assert list(found) == expected


@pytest.mark.parametrize(
    "off_s,verdict", [(0, None), (-200, None), (200, None), (-1_000, TOO_OLD), (1_000, TOO_NEW)]
)
@both
def test_a_request_is_good_for_five_minutes(
    run: Run, library: Library, off_s: int, verdict: str | None
) -> None:
    """However genuine: what is replayed later, or was dated ahead, fails with both libraries."""

    async def story(office: Office) -> None:
        requests = await office.tell(int(time.time()) + off_s)
        assert library(asked(requests, "A")) == [verdict] * len(TO)

    run(in_an_office(story))
