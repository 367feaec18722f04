"""The questions about applications, users, devices, endpoints, jobs, listeners and tokens, put to whichever store."""

from collections.abc import Callable
from typing import Final

from homing.model import App, Credentials, Device, Endpoint, Job, Listener, Token, User
from homing.store.changes import Change
from homing.store.dialogue import Asked, Row
from homing.store.nouns import (
    as_json,
    to_app,
    to_device,
    to_endpoint,
    to_job,
    to_listener,
    to_token,
    to_user,
)

_LAST_ID: Final = 2**63 - 1

Watcher = Callable[[Change, object], None]


class RegistryQuestions(Asked):
    """What of `homing.store.port.Registry` changes nothing, one question each; and who is told of changes."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []

    def watch(self, changed: Watcher) -> None:
        """See `port.Registry.watch`."""
        self._watchers.append(changed)

    def _tell(self, change: Change, value: object) -> None:
        for changed in self._watchers:
            changed(change, value)

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
        return await self._fetch("registry", name, *values)
