"""The registry on SQLite: applications, users, devices, endpoints and tokens (`homing.store.port.Registry`)."""

import asyncio
from collections.abc import Callable
from typing import Final, assert_never

import apsw

from homing.model import App, Credentials, Device, Endpoint, Job, Listener, Token, User
from homing.store import changes
from homing.store.batch import Idempotency
from homing.store.changes import Change
from homing.store.port import Applied
from homing.store.sql import load
from homing.store.sqlite import registry_changes as of
from homing.store.sqlite import registry_devices as device
from homing.store.sqlite import registry_endpoints as endpoint
from homing.store.sqlite import registry_jobs as job
from homing.store.sqlite import registry_listeners as listener
from homing.store.sqlite.database import Database
from homing.store.sqlite.ledger import drop_old_answers, first_answer, keep_answer
from homing.store.sqlite.nouns import (
    Row,
    as_json,
    fetch,
    to_app,
    to_device,
    to_endpoint,
    to_job,
    to_listener,
    to_token,
    to_user,
)

_SQL: Final = load("sqlite", "registry")
_LAST_ID: Final = 2**63 - 1

Watcher = Callable[[Change, object], None]


class SqliteRegistry:
    """Configuration, one transaction per change and per question."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._watchers: list[Watcher] = []

    async def apply(
        self,
        change: Change,
        idempotency: Idempotency | None = None,
        render: Callable[[object], bytes] | None = None,
    ) -> Applied:
        """See `port.Registry.apply`."""

        def work(connection: apsw.Connection) -> Applied:
            now_ms = self._db.clock.now_ms()
            if idempotency is None:
                return Applied(_change(connection, change, now_ms))
            answer = first_answer(connection, idempotency, now_ms)
            if answer is not None:
                return Applied(None, answer, replayed=True)
            value = _change(connection, change, now_ms)
            answer = b"" if render is None else render(value)
            keep_answer(connection, idempotency, answer, now_ms)
            drop_old_answers(connection, now_ms, 20)
            return Applied(value, answer)

        def tell(done: "asyncio.Future[Applied]") -> None:
            if done.cancelled() or done.exception() is not None or done.result().replayed:
                return
            for changed in self._watchers:
                changed(change, done.result().value)

        written = asyncio.ensure_future(self._db.write(work))
        # The change is real even if its caller is cancelled meanwhile: whoever watches must hear of it.
        written.add_done_callback(tell)
        return await asyncio.shield(written)

    def watch(self, changed: Watcher) -> None:
        """See `port.Registry.watch`."""
        self._watchers.append(changed)

    async def recall_answer(self, idempotency: Idempotency) -> bytes | None:
        """See `port.Registry.recall_answer`."""
        return await self._db.read(lambda c: first_answer(c, idempotency, self._db.clock.now_ms()))

    async def keep_answer(self, idempotency: Idempotency, answer: bytes) -> None:
        """See `port.Registry.keep_answer`; the answer of the first one stays if two raced."""

        def work(connection: apsw.Connection) -> None:
            now_ms = self._db.clock.now_ms()
            if first_answer(connection, idempotency, now_ms) is None:
                keep_answer(connection, idempotency, answer, now_ms)
                drop_old_answers(connection, now_ms, 20)

        await self._db.write(work)

    async def apps(self, after: int, limit: int) -> list[App]:
        """See `port.Registry.apps`."""
        return [to_app(row) for row in await self._rows("apps", after, limit)]

    async def app(self, app: int) -> App | None:
        """See `port.Registry.app`."""
        return next((to_app(row) for row in await self._rows("app", app)), None)

    async def users(self, app: int, after: str, limit: int) -> list[User]:
        """See `port.Registry.users`."""
        return [to_user(row) for row in await self._rows("users", app, after, limit)]

    async def user(self, app: int, folded: str) -> User | None:
        """See `port.Registry.user`."""
        return next((to_user(row) for row in await self._rows("user", app, folded)), None)

    async def credentials(self, app_key: str, folded: str) -> Credentials | None:
        """See `port.Registry.credentials`."""
        return next((Credentials(*row) for row in await self._rows("credentials", app_key, folded)), None)

    async def endpoints(self, app: int | None) -> list[Endpoint]:
        """See `port.Registry.endpoints`."""
        rows = self._rows("endpoints") if app is None else self._rows("endpoints_of_app", app)
        return [to_endpoint(row) for row in await rows]

    async def endpoint(self, app: int, uid: str) -> Endpoint | None:
        """See `port.Registry.endpoint`."""
        return next((to_endpoint(row) for row in await self._rows("endpoint", app, uid)), None)

    async def jobs(self, app: int | None, before: int | None, limit: int) -> list[Job]:
        """See `port.Registry.jobs`."""
        last = _LAST_ID if before is None else before
        return [to_job(row) for row in await self._rows("jobs", app, last, limit)]

    async def job(self, uid: str) -> Job | None:
        """See `port.Registry.job`."""
        return next((to_job(row) for row in await self._rows("job", uid)), None)

    async def listeners(self, reach: tuple[int, ...] | None, after: str, limit: int) -> list[Listener]:
        """See `port.Registry.listeners`."""
        return [to_listener(row) for row in await self._rows("listeners", as_json(reach), after, limit)]

    async def listener(self, reach: tuple[int, ...] | None, name: str) -> Listener | None:
        """See `port.Registry.listener`."""
        return next((to_listener(row) for row in await self._rows("listener", as_json(reach), name)), None)

    async def tokens(self) -> list[Token]:
        """See `port.Registry.tokens`."""
        return [to_token(row) for row in await self._rows("tokens")]

    async def token(self, token: str) -> Token | None:
        """See `port.Registry.token`."""
        return next((to_token(row) for row in await self._rows("token", token)), None)

    async def device(self, digest: bytes) -> Device | None:
        """See `port.Registry.device`."""
        return next((to_device(row) for row in await self._rows("device", digest)), None)

    async def devices(self, recipient: int) -> list[Device]:
        """See `port.Registry.devices`."""
        return [to_device(row) for row in await self._rows("devices", recipient)]

    async def _rows(self, name: str, *values: object) -> list[Row]:
        return await self._db.read(lambda c: fetch(c, _SQL[name], values))


def _change(connection: apsw.Connection, change: Change, now_ms: int) -> object:
    match change:
        case changes.CreateApp():
            return of.create_app(connection, change, now_ms)
        case changes.UpdateApp():
            return of.update_app(connection, change)
        case changes.RotateAppSecret():
            return of.rotate_app_secret(connection, change)
        case changes.DeleteApp():
            of.delete_app(connection, change, now_ms)
        case changes.CreateUser():
            return of.create_user(connection, change, now_ms)
        case changes.UpdateUser():
            return of.update_user(connection, change)
        case changes.DeleteUser():
            return of.delete_user(connection, change)
        case changes.CreateEndpoint():
            return endpoint.create_endpoint(connection, change, now_ms)
        case changes.UpdateEndpoint():
            return endpoint.update_endpoint(connection, change)
        case changes.RotateEndpointSecret():
            return endpoint.rotate_secret(connection, change)
        case changes.EnableEndpoint():
            return endpoint.enable_endpoint(connection, change)
        case changes.SetEndpointHealth():
            return endpoint.set_health(connection, change, now_ms)
        case changes.DisableEndpoint():
            return endpoint.disable_endpoint(connection, change, now_ms)
        case changes.DeleteEndpoint():
            return endpoint.delete_endpoint(connection, change, now_ms)
        case changes.OpenNotify():
            return endpoint.open_notify(connection, change, now_ms)
        case changes.EndNotify():
            endpoint.end_notify(connection, change)
        case changes.TouchEndpoints():
            endpoint.touch_endpoints(connection, change)
        case changes.CreateJob():
            return job.create_job(connection, change, now_ms)
        case changes.UpdateJob():
            return job.update_job(connection, change, now_ms)
        case changes.OpenListener():
            return listener.open_listener(connection, change)
        case changes.MoveListener():
            return listener.move_listener(connection, change)
        case changes.DeleteListener():
            listener.delete_listener(connection, change)
        case changes.CreateToken():
            return of.create_token(connection, change, now_ms)
        case changes.DeleteToken():
            of.delete_token(connection, change)
        case changes.SaveDevice():
            return device.save_device(connection, change, now_ms)
        case changes.SetPushToken():
            return device.set_push_token(connection, change)
        case changes.RetirePushToken():
            device.retire_push_token(connection, change)
        case changes.RemoveDevice():
            device.remove_device(connection, change)
        case changes.TouchDevices():
            device.touch_devices(connection, change)
        case _:
            assert_never(change)
    return None
