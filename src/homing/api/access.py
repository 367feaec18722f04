"""The only doors to an application's objects: each checks that the asker's token reaches the application.

Whatever belongs to somebody else answers exactly as what does not exist, byte for byte.
"""

import re
from typing import Final

from homing.api.auth import Principal
from homing.errors import NotFound
from homing.identifiers import fold_identifier
from homing.model import App, Endpoint, Job, Token, User, uuid_bytes
from homing.store.archive.port import Archive
from homing.store.port import Registry
from homing.store.views import MessageView

_APP_ID: Final = re.compile(r"0*[1-9][0-9]{0,15}")
_MAX_APP_CHARS: Final = 32


def no_such_app() -> NotFound:
    """The one answer about applications that are not there for the asker."""
    return NotFound("there is no such application")


def app_number(given: int | str, principal: Principal) -> int:
    """Return the id of an application within the asker's reach; whether it exists is not looked at."""
    if isinstance(given, str):
        if len(given) > _MAX_APP_CHARS or _APP_ID.fullmatch(given) is None:
            raise no_such_app()
        given = int(given)
    if not 0 < given < 10**16 or not principal.may_touch(given):
        raise no_such_app()
    return given


class Doors:
    """Looks objects up for an asker, or raises `NotFound`."""

    def __init__(self, registry: Registry, archive: Archive) -> None:
        self._registry = registry
        self._archive = archive

    async def access_app(self, principal: Principal, app_id: int | str) -> App:
        """An application."""
        app = await self._registry.app(app_number(app_id, principal))
        if app is None:
            raise no_such_app()
        return app

    async def access_user(self, principal: Principal, app_id: str, identifier: str) -> User:
        """A user of an application, by an identifier in any spelling."""
        app = await self.access_app(principal, app_id)
        user = await self._registry.user(app.id, fold_identifier(identifier))
        if user is None:
            raise NotFound("there is no such user")
        return user

    async def access_endpoint(self, principal: Principal, app_id: str, endpoint_id: str) -> Endpoint:
        """An endpoint or inbox of an application."""
        app = await self.access_app(principal, app_id)
        raw = uuid_bytes(endpoint_id)
        endpoint = None if raw is None else await self._registry.endpoint(app.id, endpoint_id.lower())
        if endpoint is None:
            raise NotFound("there is no such endpoint")
        return endpoint

    async def access_job(self, principal: Principal, job_id: str) -> Job:
        """A job about an application's callbacks."""
        raw = uuid_bytes(job_id)
        job = None if raw is None else await self._registry.job(job_id.lower())
        if job is None or not principal.may_touch(job.app):
            raise NotFound("there is no such job")
        return job

    async def access_message(self, principal: Principal, message_id: str) -> MessageView:
        """A message with its whole story."""
        raw = uuid_bytes(message_id)
        message = None if raw is None else await self._archive.message(raw)
        if message is None or not principal.may_touch(message.app):
            raise NotFound("there is no such message")
        return message

    async def access_told(self, principal: Principal, message_id: str) -> tuple[int, bytes]:
        """The application and the id of a message with callbacks: one that was sent, or one that a person wrote."""
        raw = uuid_bytes(message_id)
        app = None if raw is None else await self._archive.app_of(raw)
        if raw is None or app is None or not principal.may_touch(app):
            raise NotFound("there is no such message")
        return app, raw

    async def access_token(self, principal: Principal, token_id: str) -> Token:
        """A token or client whose applications are all within the asker's reach."""
        raw = uuid_bytes(token_id)
        token = None if raw is None else await self._registry.token(token_id.lower())
        if token is None or token.kind == "access" or not covers(principal, token):
            raise NotFound("there is no such token")
        return token


def covers(principal: Principal, token: Token) -> bool:
    """Say whether everything a token reaches is within the asker's reach too."""
    if principal.apps is None:
        return True
    return token.apps is not None and principal.apps.issuperset(token.apps)
