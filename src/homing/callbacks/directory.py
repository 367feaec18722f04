"""Every endpoint as the sender needs it, kept in step with the store's changes; secrets are opened here only."""

from collections.abc import Mapping
from typing import Final, Protocol

from homing.callbacks.guard import UrlRefused, parse_url
from homing.callbacks.job import EndpointView
from homing.contract.forms import Form
from homing.contract.signature import Signer
from homing.model import Endpoint, EndpointState
from homing.store.changes import (
    Change,
    CreateEndpoint,
    DeleteApp,
    DeleteEndpoint,
    DisableEndpoint,
    UpdateEndpoint,
)
from homing.telemetry import LogEvent, logger
from homing.vault import Vault


class Endpoints(Protocol):
    """The part of the registry this needs."""

    async def endpoints(self, app: int | None) -> list[Endpoint]:
        """All endpoints, for None."""
        ...


def secret_context(uid: str) -> str:
    """What an endpoint's secret is sealed with, so that it cannot be moved to another endpoint's row."""
    return f"endpoint:{uid}"


class Directory:
    """Endpoint id → how to send to it, or None when nothing may be sent there any more."""

    def __init__(self, registry: Endpoints, vault: Vault, user_agent: str, timeout_s: float) -> None:
        self._registry: Final = registry
        self._vault = vault
        self._user_agent = user_agent
        self._timeout_s = timeout_s
        self._views: dict[int, EndpointView] = {}
        self._apps: dict[int, int] = {}
        self._refused: set[int] = set()

    async def load(self) -> None:
        """Read all endpoints; needed once, `changed` does the rest."""
        for endpoint in await self._registry.endpoints(None):
            self._put(endpoint)

    def changed(self, change: Change, value: object) -> None:
        """Follow a change of the registry (plug this into `Registry.watch`)."""
        match change:
            case CreateEndpoint() | UpdateEndpoint() | DisableEndpoint():
                if isinstance(value, Endpoint):
                    self._put(value)
            case DeleteEndpoint():
                if isinstance(value, Endpoint):
                    self._drop(value.id)
            case DeleteApp():
                for endpoint in [e for e, app in self._apps.items() if app == change.id]:
                    self._drop(endpoint)
            case _:
                pass

    def view(self, endpoint: int) -> EndpointView | None:
        """How to send to an endpoint now; None when it is disabled, deleted or unknown."""
        return self._views.get(endpoint)

    def is_refused(self, endpoint: int) -> bool:
        """Say whether the endpoint takes callbacks, but at a URL that today's rules refuse."""
        return endpoint in self._refused

    def views(self) -> Mapping[int, EndpointView]:
        """All endpoints that take callbacks."""
        return self._views

    def _put(self, endpoint: Endpoint) -> None:
        if endpoint.state == EndpointState.DISABLED:
            self._drop(endpoint.id)
            return
        try:
            url = parse_url(endpoint.url)
        except UrlRefused as error:
            # Saved under older rules: its callbacks fail as they would at the dial, and are tried again.
            logger().error(LogEvent.GUARD_REFUSED, endpoint=endpoint.uid, reason=str(error))
            self._drop(endpoint.id)
            self._apps[endpoint.id] = endpoint.app
            self._refused.add(endpoint.id)
            return
        secret = self._vault.open(endpoint.secret, secret_context(endpoint.uid)).decode("ascii")
        self._refused.discard(endpoint.id)
        self._apps[endpoint.id] = endpoint.app
        self._views[endpoint.id] = EndpointView(
            id=endpoint.id,
            url=url,
            form=Form(endpoint.form),
            signers=(Signer(secret),),
            user_agent=self._user_agent,
            precision="ms" if endpoint.precision == "ms" else "s",
            timeout_s=self._timeout_s,
        )

    def _drop(self, endpoint: int) -> None:
        self._views.pop(endpoint, None)
        self._apps.pop(endpoint, None)
        self._refused.discard(endpoint)
