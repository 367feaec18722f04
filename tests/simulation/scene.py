"""A whole customer side of Homing in virtual time: real store, engine, courier and replays; receivers that are a model.

Only the sender is replaced. A `Receiver` has a capacity, a time for each answer, and a will of its own; what it was
told is in `Scene.journal`, one line per try.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Container, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple

from tests.callbacks.office import SECRET, VAULT, Answer, Silent
from tests.simulation.virtual import LoopClock
from tests.store.fakes import add_app, new_endpoint

from homing.callbacks.courier import Courier
from homing.callbacks.directory import Directory, secret_context
from homing.callbacks.job import Done, Job, Phases
from homing.callbacks.replay import Replays
from homing.callbacks.schedule import DEFAULT_DELAYS_MS
from homing.callbacks.verdict import Outcome
from homing.engine import Engine
from homing.lifecycle.dispatch import PushAccepted, Read, Received
from homing.model import Body, DispatchKey, Endpoint, MessageId, dispatch_key
from homing.store.batch import Accept, Addressee, Occurrence
from homing.store.changes import CreateUser
from homing.store.sqlite import SqliteStore

MAX_IN_FLIGHT = 2_000
MAX_PER_ENDPOINT = 256
OK = Answer()
REFUSED = Answer(error=Outcome.CONNECT)
SILENT = Answer(error=Outcome.TIMEOUT)
PEOPLE = 20


class Try(NamedTuple):
    """One request as the receiver saw it, and how it ended."""

    endpoint: int
    key: bytes
    """The dispatch's."""
    n: int
    attempt: int
    webhook_id: str
    replay: str | None
    began_ms: int
    ended_ms: int
    answer: Answer

    @property
    def is_told(self) -> bool:
        return self.answer.error is None and 200 <= self.answer.status < 300

    @property
    def sent_ms(self) -> int:
        """When its message was sent."""
        return int.from_bytes(self.key[:6], "big")


class Request(NamedTuple):
    """What a receiver may look at when it answers."""

    endpoint: int
    key: bytes
    n: int
    attempt: int
    at_ms: int


class Receiver:
    """``workers`` requests at a time, ``work_ms`` each, give or take ``jitter``; the others queue inside."""

    def __init__(
        self,
        workers: int = 1_000,
        work_ms: float = 20.0,
        answer: Callable[[Request], Answer] = lambda _: OK,
        jitter: float = 0.2,
    ) -> None:
        self.work_ms = work_ms
        self.jitter = jitter
        self.answer = answer
        self._free_ms = [0.0] * workers

    def take(self, request: Request, timeout_ms: float, chance: float) -> tuple[float, Answer]:
        """Return when the try ends, and how."""
        answer, at_ms = self.answer(request), float(request.at_ms)
        if answer.error is Outcome.TIMEOUT:
            return at_ms + timeout_ms, answer
        if answer.error is not None:
            return at_ms + 1, answer
        done_ms = max(at_ms, heappop(self._free_ms)) + self.work_ms * (1 + self.jitter * (2 * chance - 1))
        heappush(self._free_ms, done_ms)
        return (done_ms, answer) if done_ms - at_ms < timeout_ms else (at_ms + timeout_ms, SILENT)


class ModelSender:
    """Keeps the sender's promise in virtual time: every job that is submitted comes back once."""

    def __init__(self, clock: LoopClock, rng: random.Random) -> None:
        self.on_done: Callable[[Sequence[Done]], None]
        self.receivers: dict[int, Receiver] = {}
        self.journal: list[Try] = []
        """In the order in which tries began."""
        self.in_flight: dict[int, int] = defaultdict(int)
        self.heard: Callable[[Try], None] = lambda _: None
        """Told of each try as it begins."""
        self._clock = clock
        self._rng = rng
        self._ends: dict[int, list[tuple[Job, Answer, int]]] = {}

    def submit(self, jobs: Sequence[Job]) -> None:
        now_ms = self._clock.now_ms()
        for job in jobs:
            said = dict(line.split(": ", 1) for line in job.headers)
            endpoint, timeout_ms = job.endpoint.id, job.endpoint.timeout_s * 1000
            key, n = bytes.fromhex(said["webhook-id"].split("_")[1]), int(said["homing-sequence"])
            attempt = int(said["homing-attempt"])
            request = Request(endpoint, key, n, attempt, now_ms)
            ends_ms, answer = self.receivers[endpoint].take(request, timeout_ms, self._rng.random())
            at_ms = max(now_ms + 1, round(ends_ms))
            one = Try(
                endpoint,
                key,
                n,
                attempt,
                said["webhook-id"],
                said.get("homing-replay"),
                now_ms,
                at_ms,
                answer,
            )
            self.in_flight[endpoint] += 1
            self.heard(one)
            self.journal.append(one)
            if at_ms not in self._ends:
                self._ends[at_ms] = []
                loop = asyncio.get_running_loop()
                loop.call_at(loop.time() + (at_ms - now_ms) / 1000, self._end, at_ms)
            self._ends[at_ms].append((job, answer, at_ms - now_ms))

    def _end(self, at_ms: int) -> None:
        dones = []
        for job, answer, took_ms in self._ends.pop(at_ms):
            self.in_flight[job.endpoint.id] -= 1
            status = answer.status if answer.error is None else 0
            phases = Phases(0, 0, 0, took_ms, took_ms)
            dones.append(Done(job, status, answer.error, "", answer.retry_after, b"", "127.0.0.1", phases))
        self.on_done(dones)


class Scene:
    """One process: store, engine, directory, courier and replays, plugged as `homing.node` does it."""

    def __init__(self, store: SqliteStore, clock: LoopClock, seed: int, **given: Any) -> None:
        self.store, self.clock = store, clock
        self.rng = random.Random(seed)
        self.sender = ModelSender(clock, self.rng)
        self.engine = Engine(store, clock)
        self.directory = Directory(store, VAULT, "Catapush", 15.0)
        settings: dict[str, Any] = {
            "delays_ms": DEFAULT_DELAYS_MS, "max_per_endpoint": MAX_PER_ENDPOINT, "max_in_flight": MAX_IN_FLIGHT,
            "chance": self.rng.random, **given,
        }  # fmt: skip
        self.courier = Courier(
            recorder=self.engine, ledger=store, changes=store, directory=self.directory, sender=self.sender,
            clock=clock, counts=Silent(), **settings,
        )  # fmt: skip
        self.replays = Replays(store, store, store, self.courier, clock)
        self.sender.on_done = self.courier.on_done
        self.engine.born_free = self.courier.crowded
        self.engine.on_unknown.append(self.courier.on_unknown)
        self.engine.on_refused.append(self.courier.on_refused)
        self.engine.on_committed += [
            lambda _batch, committed: self.courier.on_committed(committed),
            lambda _batch, committed: self.replays.on_committed(committed),
        ]
        self.chores: set[asyncio.Task[Any]] = set()
        self._serial = count(1)
        self._is_over = False

    @property
    def journal(self) -> list[Try]:
        return self.sender.journal

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    async def start(self) -> None:
        for hear in (self.directory.changed, self.courier.changed, self.replays.changed):
            self.store.watch(hear)
        await self.directory.load()
        await self.engine.start()
        await self.courier.start()
        await self.replays.start()

    async def close(self, grace_s: float = 15.0) -> None:
        """Stop as a node does."""
        if self._is_over:
            return
        for chore in self.chores:
            chore.cancel()
        await self.replays.close()
        await self.courier.close(grace_s)
        await self.engine.close()

    async def crash(self, survivors: Container[asyncio.Task[Any]] = ()) -> None:
        """End as a process that is killed: nothing more is heard, told or given back. ``survivors`` are no part of it."""
        self._is_over = True
        self.sender.on_done = lambda _: None
        self.courier._is_stopping = self.courier._doctor._is_stopping = True
        self.courier._leftovers.stop()
        mine = [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and t not in survivors]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    async def found(self, people: int = PEOPLE) -> int:
        """Found an application with so many people and return its id."""
        app = (await add_app(self.store)).id
        for i in range(people):
            await self.store.apply(CreateUser(app, f"u{i}", f"u{i}", "hash"))
        return app

    async def open(self, app: int, receiver: Receiver, **given: Any) -> Endpoint:
        """Open an endpoint; ``given`` are fields of `CreateEndpoint`."""
        uid = f"e{app}-{next(self._serial)}"
        sealed = VAULT.seal(SECRET.encode(), secret_context(uid))
        endpoint = (await self.store.apply(new_endpoint(app, uid=uid, secret=sealed, **given))).value
        assert isinstance(endpoint, Endpoint)
        self.sender.receivers[endpoint.id] = receiver
        return endpoint

    async def send(self, app: int, people: int = 1) -> list[DispatchKey]:
        """Send one message to so many people, and return the dispatches once it is on disk."""
        message = MessageId(
            self.now_ms.to_bytes(6, "big") + b"\x70\x00\x80\x00" + next(self._serial).to_bytes(6, "big")
        )
        to = tuple(Addressee(f"u{i}", f"u{i}") for i in range(people))
        await self.engine.accept(Accept(message, app, None, Body("hello"), to))
        return [dispatch_key(message, i) for i in range(people)]

    async def live(self, app: int, people: int = 1) -> list[DispatchKey]:
        """Send one message and let it live: pushed after 0.2 s, delivered after 2 s, read after 10 s."""
        keys = await self.send(app, people)
        for what, wait_s in ((PushAccepted, 0.2), (Received, 1.8), (Read, 8.0)):
            await asyncio.sleep(wait_s)
            now = () if what is PushAccepted else (self.now_ms,)
            await self.engine.record([Occurrence(key, what(*now)) for key in keys])
        return keys

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have something done while the story goes on."""
        task = asyncio.get_running_loop().create_task(work)
        self.chores.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.chores.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def offer(self, app: int, per_s: float, seconds: float, people: int = 1) -> None:
        """Send so many a second, evenly; ``people`` of them as one message."""
        every_s = people / per_s
        began_s = asyncio.get_running_loop().time()
        for i in range(round(seconds / every_s)):
            await asyncio.sleep(max(0.0, began_s + i * every_s - asyncio.get_running_loop().time()))
            self.spawn(self.send(app, people))

    async def quiet(self, most_s: float = 86_400.0) -> None:
        """Let time pass until nothing is left to do that needs no alarm."""
        until_s = asyncio.get_running_loop().time() + most_s
        while not (self.courier.is_quiet() and self.engine.is_quiet()) or self.chores:
            assert asyncio.get_running_loop().time() < until_s, "it never became quiet"
            await asyncio.sleep(0.25)

    async def state(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint as the store has it."""
        found = await self.store.endpoint(endpoint.app, endpoint.uid)
        assert found is not None
        return found


@asynccontextmanager
async def scene(
    clock: LoopClock,
    seed: int,
    path: str = ":memory:",
    before: Scene | None = None,
    synchronous: str = "FULL",
    **given: Any,
) -> AsyncIterator[Scene]:
    """Open a scene, with the receivers of the one ``before``; ``given`` are settings of the courier."""
    store = await SqliteStore.open(path, clock=clock, synchronous=synchronous)
    place = Scene(store, clock, seed, **given)
    if before is not None:
        place.sender.receivers = before.sender.receivers
    await place.start()
    try:
        yield place
        await place.close()
    finally:
        await store.close()


def out_of_order(journal: Iterable[Try]) -> list[Try]:
    """Return the tries of live events that came before the one before was told (repeats of the last are none)."""
    told: dict[tuple[int, bytes], int] = defaultdict(int)
    wrong = []
    for one in journal:
        lane = one.endpoint, one.key
        if one.n not in {told[lane], told[lane] + 1}:
            wrong.append(one)
        if one.is_told:
            told[lane] = max(told[lane], one.n)
    return wrong


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which this share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
