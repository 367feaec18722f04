"""A message's own ``notifyCallback``: judged, and given the endpoint of its application and origin.

Those endpoints are nobody's to see: they hold the health and the bounds that all messages to one origin share. Their
callbacks are signed with the application's callback secret, which is made when the first one is wanted.
"""

import asyncio
from typing import Final

from homing.api.access import no_such_app
from homing.api.ports import CheckUrl, Vault
from homing.api.schema import NotifyCallback
from homing.api.secrets import draw_secret
from homing.callbacks.directory import app_context
from homing.errors import UrlNotAllowed
from homing.model import Endpoint, EndpointKind
from homing.store.batch import Notify
from homing.store.changes import Change, OpenNotify, RotateAppSecret
from homing.store.port import Registry

_FORMS: Final = {"GET": "get", "POST": "form", "JSON": "json"}
_KNOWN: Final = 10_000
"""Origins remembered; beyond that they are asked for again."""


class Notifying:
    """Knows the endpoints of origins that were named before."""

    def __init__(self, registry: Registry, vault: Vault, check_url: CheckUrl) -> None:
        self._registry = registry
        self._vault = vault
        self._check_url = check_url
        self._known: dict[tuple[int, str], int] = {}
        self._opening = asyncio.Lock()  # of two first messages at once, one makes the secret

    def changed(self, _change: Change, value: object) -> None:
        """Hear of a change of the registry: an endpoint that was disabled is opened anew by the next message."""
        if isinstance(value, Endpoint) and value.kind == EndpointKind.NOTIFY and value.state == "disabled":
            self._known.pop((value.app, value.url), None)

    def forget(self) -> None:
        """Take nothing for known: changes may have been missed, and what is told to an endpoint that was disabled is given up."""
        self._known = {}  # a new one: what is being asked for just now is not kept either

    async def of(self, app: int, it: NotifyCallback) -> Notify:
        """Return where the callbacks go.

        Raises `UrlNotAllowed` for what the guard refuses, `NotFound` for an application that is gone.
        """
        try:
            origin = self._check_url.origin(it.url)
        except UrlNotAllowed as refused:
            path = "$.notifyCallback.url"
            raise UrlNotAllowed(f"{path}: {refused.detail}", errors=((path, refused.detail),)) from None
        endpoint = self._known.get((app, origin))
        if endpoint is None:
            async with self._opening:
                endpoint = await self._open(app, origin)
        return Notify(endpoint, _FORMS[it.method], it.url)

    async def _open(self, app: int, origin: str) -> int:
        found = await self._registry.app(app)
        if found is None:
            raise no_such_app()
        if found.callback_secret is None:
            sealed = self._vault.seal(draw_secret().encode("ascii"), app_context(app))
            await self._registry.apply(RotateAppSecret(app, sealed, None))
        known = self._known
        endpoint = (await self._registry.apply(OpenNotify(app, origin))).value
        assert isinstance(endpoint, Endpoint)
        if len(known) >= _KNOWN:
            known.clear()
        known[app, origin] = endpoint.id
        return endpoint.id
