"""A whole API over a real store in memory and a real engine, and a client that speaks ASGI to it, for the tests here."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from homing.api import Api, SavedUrls, Settings
from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.directory import Directory
from homing.callbacks.job import Done
from homing.callbacks.limits import Limits
from homing.callbacks.sender import Sender
from homing.callbacks.tester import Tester
from homing.clock import RealClock
from homing.engine import Engine
from homing.store.postgres import PostgresStore
from homing.store.sqlite import SqliteStore
from homing.vault import Vault

ADMIN = "test-admin-token-of-more-than-32-characters"
JSON = {"content-type": "application/json"}


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The problem's code."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        problem = self.json
        assert problem["status"] == self.status
        return str(problem["code"])


class Client:
    """Speaks ASGI to an API as one token; no sockets."""

    def __init__(self, api: Api, token: str | None = ADMIN) -> None:
        self.api = api
        self.token = token
        self.unread: list[int] = []

    def as_(self, token: str | None) -> "Client":
        """The same API, asked by somebody else."""
        return Client(self.api, token)

    async def ask(
        self,
        method: str,
        target: str,
        value: object = None,
        *,
        body: bytes | Sequence[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; ``value`` is sent as JSON, ``body`` as it is (in several parts if it is a list)."""
        if value is not None:
            body = msgspec.json.encode(value)
        parts = [body] if isinstance(body, bytes) else list(body or [b""])
        sent = {"host": "homing.test", **({} if value is None else JSON), **(headers or {})}
        if self.token is not None and "authorization" not in sent:
            sent["authorization"] = f"Bearer {self.token}"
        if len(parts) == 1 and parts[0]:
            sent.setdefault("content-length", str(len(parts[0])))
        split = urlsplit(target)
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(split.path),
            "raw_path": split.path.encode(),
            "query_string": split.query.encode(),
            "headers": [(name.lower().encode(), text.encode("latin-1")) for name, text in sent.items()],
        }
        waiting = [
            {"type": "http.request", "body": part, "more_body": n < len(parts) - 1}
            for n, part in enumerate(parts)
        ]
        got: list[dict[str, Any]] = []

        async def receive() -> Any:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            got.append(message)

        await self.api(scope, receive, send)
        self.unread.append(len(waiting))
        start, answer = got
        found = {name.decode(): text.decode("latin-1") for name, text in start["headers"]}
        if method != "HEAD" and start["status"] != 204:
            assert found["content-length"] == str(len(answer["body"]))
        return Answer(start["status"], found, answer["body"])

    async def get(self, target: str, **more: Any) -> Answer:
        return await self.ask("GET", target, **more)

    async def post(self, target: str, value: object = None, **more: Any) -> Answer:
        return await self.ask("POST", target, value, **more)

    async def made(self, target: str, value: object) -> Any:
        """POST something that must be made, and return it."""
        answer = await self.post(target, value)
        assert answer.status == 201, answer.body
        return answer.json


class World(msgspec.Struct):
    """Everything behind the API."""

    api: Api
    client: Client
    vault: Vault
    store: SqliteStore | PostgresStore
    directory: Directory
    engine: Engine
    clock: Any
    reasons: list[str]


class HandClock(RealClock):
    """The real clock, which a test may push forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


def _all_taken(tester: Tester, dones: list[Done]) -> None:
    assert tester.take(dones) == []


@contextlib.asynccontextmanager
async def world(base_url: str = "", *, dsn: str | None = None) -> AsyncIterator[World]:
    """Open an API for as long as the block lasts; its store is the PostgreSQL that ``dsn`` names, or in memory."""
    clock = HandClock()
    store: SqliteStore | PostgresStore
    if dsn is None:
        store = await SqliteStore.open(":memory:", clock=clock)
    else:
        store = await PostgresStore.open(dsn, clock=clock, beats=False)
    engine = Engine(store, clock)
    await engine.start()
    reasons: list[str] = []
    vault = Vault(bytes(32))
    policy = AddressPolicy(["127.0.0.1/32"])
    directory = Directory(store, vault, "Catapush", 15.0)
    store.watch(directory.changed)
    loop = asyncio.get_running_loop()
    sender = Sender(loop, policy, Limits(), lambda dones: _all_taken(tester, dones))
    tester = Tester(directory, sender, clock.now_ms)
    try:
        api = Api(
            engine=engine,
            registry=store,
            archive=store,
            vault=vault,
            check_url=SavedUrls(policy),
            ready=lambda: list(reasons),
            admin_digest=hashlib.sha256(ADMIN.encode()).digest(),
            metrics_render=lambda: b"homing_up 1\n",
            clock=clock,
            tests=tester,
            settings=Settings(base_url=base_url),
        )
        store.watch(api.changed)
        engine.on_committed.append(api.on_committed)
        yield World(api, Client(api), vault, store, directory, engine, clock, reasons)
    finally:
        sender.close()
        await engine.close()
        await store.close()


async def app_with_users(client: Client, *identifiers: str, name: str = "app") -> int:
    """Make an application with these users and return its id."""
    app = (await client.made("/1/apps", {"name": name}))["id"]
    for identifier in identifiers:
        await client.made(f"/1/apps/{app}/users", {"identifier": identifier, "password": "pw"})
    return int(app)


def message_to(app: int | str, *identifiers: str, **more: object) -> dict[str, object]:
    """A message, as a back end writes it."""
    recipients = [{"identifier": identifier} for identifier in identifiers]
    return {"mobileAppId": app, "text": "hello", "recipients": recipients, **more}
