"""A courier at work on a real store and engine, with a pushed clock and a sender that does what a test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import NamedTuple

from tests.engine.fakes import PushedClock, until
from tests.store.fakes import add_app, add_user, message_id, new_endpoint
from tests.store.ledger import told

from homing.callbacks.courier import Courier
from homing.callbacks.directory import Directory, secret_context
from homing.callbacks.job import Done, Job, Phases
from homing.callbacks.ports import Counts
from homing.callbacks.verdict import Outcome
from homing.engine import Engine
from homing.lifecycle.dispatch import Input
from homing.model import Body, DispatchKey, Endpoint, dispatch_key
from homing.store.batch import Accept, Addressee, Batch, Committed, Occurrence
from homing.store.port import Ledger
from homing.store.sqlite import SqliteStore
from homing.store.views import CallbackView
from homing.vault import Vault

SECRET = "whsec_" + "A" * 43 + "="
VAULT = Vault(bytes(32))
_serial = count(1)


class Answer(NamedTuple):
    """What a receiver says to one request."""

    status: int = 204
    retry_after: str | None = None
    error: Outcome | None = None
    error_text: str = ""


class Try(NamedTuple):
    """One request as the receiver saw it."""

    endpoint: int
    webhook_id: str
    attempt: int
    body: Mapping[str, str]


class FakeSender:
    """Keeps the sender's promise: every job that is submitted comes back once. ``answer`` says how."""

    def __init__(self) -> None:
        self.on_done: Callable[[Sequence[Done]], None]
        self.answer: Callable[[Try], Answer | None] = lambda _: Answer()
        """None keeps the request open until `let_go`."""
        self.tries: list[Try] = []
        self.open: list[Job] = []
        self.most_open = 0
        self.submits = 0

    def submit(self, jobs: Sequence[Job]) -> None:
        self.submits += 1
        for job in jobs:
            headers = dict(line.split(": ", 1) for line in job.headers)
            seen = Try(
                job.endpoint.id,
                headers["webhook-id"],
                int(headers["homing-attempt"]),
                json.loads(job.body or b"{}"),
            )
            assert seen.webhook_id not in {
                dict(h.split(": ", 1) for h in j.headers)["webhook-id"] for j in self.open
            }
            self.tries.append(seen)
            self.open.append(job)
            self.most_open = max(self.most_open, len(self.open))
            answer = self.answer(seen)
            if answer is not None:
                asyncio.get_running_loop().call_soon(self._end, job, answer)

    def let_go(self, answer: Answer | None = None) -> None:
        """Answer the request that has been open longest."""
        self._end(self.open[0], answer or Answer())

    def _end(self, job: Job, answer: Answer) -> None:
        self.open.remove(job)
        phases = Phases(0, 0, 0, 1, 1)
        self.on_done([
            Done(job, answer.status if answer.error is None else 0, answer.error, answer.error_text,
                 answer.retry_after, b"", "127.0.0.1", phases)
        ])  # fmt: skip

    def statuses(self, endpoint: int | None = None) -> list[str]:
        """Return the statuses that were told, in the order of their tries."""
        return [t.body["status"] for t in self.tries if endpoint in {None, t.endpoint}]


class Silent:
    """Counts nothing."""

    def attempt(self, endpoint: int, ended: Outcome, took_s: float) -> None:
        pass

    def connected(self, dns_ms: int, connect_ms: int, tls_ms: int) -> None:
        pass


class Office:
    """One process: store, engine, directory, courier."""

    def __init__(self, store: SqliteStore, clock: PushedClock, ledger: Ledger, **given: object) -> None:
        self.store, self.clock, self.sender = store, clock, FakeSender()
        self.engine = Engine(ledger, clock)
        self.directory = Directory(store, VAULT, "Catapush", 15.0)
        settings: dict[str, object] = {
            "delays_ms": (5_000, 30_000), "max_per_endpoint": 256, "max_in_flight": 1_000, "chance": lambda: 0.5,
            **given,
        }  # fmt: skip
        counts: Counts = Silent()
        self.courier = Courier(
            recorder=self.engine, ledger=ledger, changes=store, directory=self.directory, sender=self.sender,
            clock=clock, counts=counts, **settings,  # type: ignore[arg-type]
        )  # fmt: skip
        self.sender.on_done = self.courier.on_done
        self.engine.born_free = self.courier.crowded
        self.engine.on_committed.append(self._committed)
        self.engine.on_unknown.append(self.courier.on_unknown)
        self.engine.on_refused.append(self.courier.on_refused)
        self.app = 0

    def _committed(self, _batch: Batch, committed: Committed) -> None:
        self.courier.on_committed(committed)

    async def start(self) -> None:
        """Begin to work; the first start of a store builds an application with the user Ann."""
        self.store.watch(self.directory.changed)
        self.store.watch(self.courier.changed)
        await self.directory.load()
        apps = await self.store.apps(0, 1)
        self.app = apps[0].id if apps else (await add_app(self.store)).id
        if not apps:
            await add_user(self.store, self.app, "Ann")
        await self.engine.start()
        await self.courier.start()

    async def add_endpoint(self, **given: object) -> Endpoint:
        """Create an endpoint that takes JSON; ``given`` are fields of `CreateEndpoint`."""
        uid = f"e{next(_serial)}"
        sealed = VAULT.seal(SECRET.encode(), secret_context(uid))
        endpoint = (await self.store.apply(new_endpoint(self.app, uid=uid, secret=sealed, **given))).value
        assert isinstance(endpoint, Endpoint)
        return endpoint

    async def send(self, *names: str) -> DispatchKey:
        """Accept a message (to Ann) and return the key of its first dispatch."""
        message = message_id(self.clock.ms)
        to = tuple(Addressee(name, name.casefold()) for name in names or ("Ann",))
        await self.engine.accept(Accept(message, self.app, None, Body("hello"), to))
        return dispatch_key(message, 0)

    async def happen(self, key: DispatchKey, what: Input) -> None:
        """Record something."""
        await self.engine.record([Occurrence(key, what)])

    async def quiet(self) -> None:
        """Wait until nothing can be done before time passes."""
        await until(lambda: self.courier.is_quiet() and self.engine.is_quiet())

    async def push(self, ms: int) -> None:
        """Let time pass and wait until what it brought is done."""
        self.clock.push(ms)
        await self.quiet()

    async def told(self, key: DispatchKey, endpoint: Endpoint) -> CallbackView:
        """Return what the endpoint was told, and must be."""
        return (await told(self.store, key))[endpoint.uid]


@asynccontextmanager
async def office(
    path: str = ":memory:", wrap: Callable[[Ledger], Ledger] = lambda ledger: ledger, **given: object
) -> AsyncIterator[Office]:
    """Open an office; ``wrap`` may stand between its parts and the ledger."""
    clock = PushedClock()
    store = await SqliteStore.open(path, clock=clock)
    place = Office(store, clock, wrap(store), **given)
    await place.start()
    try:
        yield place
    finally:
        await place.courier.close(0.5)
        await place.engine.close(0.5)
        await store.close()


def script(*answers: Answer) -> Callable[[Try], Answer]:
    """Return what answers so one after the other, and 204 from then on."""
    left = list(answers)
    return lambda _: left.pop(0) if left else Answer()
