"""Every endpoint as the sender needs it, kept in step with the store's changes; secrets are opened here only."""

import base64
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from homing.callbacks.guard import UrlRefused, parse_url
from homing.callbacks.job import EndpointView
from homing.contract.forms import Form
from homing.contract.signature import Signer
from homing.model import App, Endpoint, EndpointCredentials, EndpointKind, EndpointState
from homing.store.changes import Change, DeleteApp, DeleteEndpoint
from homing.telemetry import LogEvent, logger
from homing.vault import Vault

_PAGE: Final = 200
_credentials: Final = msgspec.json.Decoder(EndpointCredentials).decode


class Endpoints(Protocol):
    """The part of the registry this needs."""

    async def endpoints(self, app: int | None) -> list[Endpoint]:
        """All endpoints, for None."""
        ...

    async def apps(self, after: int, limit: int) -> list[App]:
        """Applications by id, after the given one."""
        ...


def secret_context(uid: str) -> str:
    """What an endpoint's secret is sealed with, so that it cannot be moved to another endpoint's row."""
    return f"endpoint:{uid}"


def credentials_context(uid: str) -> str:
    """The same for what is sent along: headers, passwords, bearer tokens."""
    return f"endpoint-credentials:{uid}"


def app_context(app: int) -> str:
    """The same for an application's callback secret."""
    return f"app-callback:{app}"


def real_ms() -> int:
    """Real time: how long an old secret signs is the receivers' matter, who know no other clock."""
    return int(time.time() * 1000)


class Directory:
    """Endpoint id → how to send to it, or None when nothing may be sent there any more."""

    def __init__(
        self,
        registry: Endpoints,
        vault: Vault,
        user_agent: str,
        timeout_s: float,
        now_ms: Callable[[], int] = real_ms,
    ) -> None:
        self._registry: Final = registry
        self._vault = vault
        self._user_agent = user_agent
        self._timeout_s = timeout_s
        self._now_ms = now_ms
        self._views: dict[int, EndpointView] = {}
        self._endpoints: dict[int, Endpoint] = {}
        self._apps: dict[int, App] = {}
        self._refused: set[int] = set()
        self._disabled: dict[int, int] = {}
        self._old_until: dict[int, int] = {}
        self._next_end_ms = 2**62
        self._heard = 0
        self._is_empty = False
        """All there is is being read for the first time: a change cannot be followed yet, and is read with the rest."""

    async def load(self) -> None:
        """Read all endpoints; needed once, and again when changes were missed. Otherwise `changed` does the rest.

        Plug `changed` in before: of what changes meanwhile nothing is missed.
        """
        self._is_empty = not self._apps
        while True:
            heard, after = self._heard, 0
            found: dict[int, App] = {}
            while apps := await self._registry.apps(after, _PAGE):
                after = apps[-1].id
                found.update({app.id: app for app in apps})
            endpoints = await self._registry.endpoints(None)
            if heard == self._heard:
                break  # nothing changed meanwhile: what was read is all there is
        self._apps, self._is_empty = found, False
        for gone in {*self._endpoints, *self._disabled} - {endpoint.id for endpoint in endpoints}:
            self._drop(gone)
        for endpoint in endpoints:
            self._put(endpoint)

    def changed(self, change: Change, value: object) -> None:
        """Follow a change of the registry (plug this into `Registry.watch`)."""
        self._heard += 1
        if self._is_empty:
            return
        if isinstance(value, App):
            self._apps[value.id] = value
            self._renew(value.id)
        elif isinstance(change, DeleteApp):
            self._apps.pop(change.id, None)
            for endpoint in [e.id for e in self._endpoints.values() if e.app == change.id]:
                self._drop(endpoint)
            for endpoint in [e for e, app in self._disabled.items() if app == change.id]:
                self._drop(endpoint)
        elif isinstance(value, Endpoint):
            if isinstance(change, DeleteEndpoint):
                self._drop(value.id)
            else:
                self._put(value)

    def view(self, endpoint: int) -> EndpointView | None:
        """How to send to an endpoint now; None when it is disabled, deleted or unknown."""
        if self._old_until and self._now_ms() >= self._next_end_ms:
            self._forget_old_secrets()
        return self._views.get(endpoint)

    def is_refused(self, endpoint: int) -> bool:
        """Say whether the endpoint takes callbacks, but at a URL that today's rules refuse."""
        return endpoint in self._refused

    def views(self) -> Mapping[int, EndpointView]:
        """All endpoints that take callbacks."""
        return self._views

    @property
    def disabled(self) -> int:
        """How many endpoints take no callbacks any more."""
        return len(self._disabled)

    def hearers(self, endpoint: int) -> list[int]:
        """Those of an endpoint's application that are told about its endpoints themselves."""
        told_of = self._endpoints.get(endpoint)
        if told_of is None:
            return []
        return [
            view.id for view in self._views.values()
            if view.kind == EndpointKind.OPERATIONS and view.app == told_of.app
        ]  # fmt: skip

    def look(self, endpoint: Endpoint) -> EndpointView:
        """How to send to an endpoint, whatever its state; raises `UrlRefused`."""
        options, credentials = endpoint.options, self._open_credentials(endpoint)
        delays_s, timeout_s = options.retry_delays_seconds, options.timeout_seconds
        return EndpointView(
            id=endpoint.id,
            url=parse_url(endpoint.url),
            form=Form(endpoint.form),
            signers=self._signers(endpoint),
            user_agent=self._user_agent,
            precision="ms" if endpoint.precision == "ms" else "s",
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            app=endpoint.app,
            kind=endpoint.kind,
            headers=_lines(credentials),
            ca=None if options.ca is None else options.ca.encode("ascii"),
            dangerous_skip_verify=options.dangerous_skip_verify,
            max_in_flight=options.max_in_flight,
            rate_per_second=options.rate_per_second,
            delays_ms=None if delays_s is None else tuple(round(delay_s * 1000) for delay_s in delays_s),
            is_paused=endpoint.paused,
            is_resting=endpoint.state == EndpointState.RESTING,
            failing_since_ms=endpoint.failing_since_ms,
        )

    def _put(self, endpoint: Endpoint) -> None:
        self._drop(endpoint.id)
        if endpoint.state == EndpointState.DISABLED:
            self._disabled[endpoint.id] = endpoint.app
            return
        self._endpoints[endpoint.id] = endpoint
        try:
            view = self._views[endpoint.id] = self.look(endpoint)
        except UrlRefused as error:
            # Saved under older rules: its callbacks fail as they would at the dial, and are tried again.
            logger().error(LogEvent.GUARD_REFUSED, endpoint=endpoint.uid, reason=str(error))
            self._refused.add(endpoint.id)
            return
        _, _, until_ms = self._secrets(endpoint)
        if until_ms is not None and len(view.signers) > 1:
            self._old_until[endpoint.id] = until_ms
            self._next_end_ms = min(self._next_end_ms, until_ms)

    def _drop(self, endpoint: int) -> None:
        self._views.pop(endpoint, None)
        self._endpoints.pop(endpoint, None)
        self._refused.discard(endpoint)
        self._disabled.pop(endpoint, None)
        self._old_until.pop(endpoint, None)

    def _renew(self, app: int) -> None:
        for endpoint in [
            e for e in self._endpoints.values() if e.app == app and e.kind == EndpointKind.NOTIFY
        ]:
            self._put(endpoint)

    def _signers(self, endpoint: Endpoint) -> tuple[Signer, ...]:
        """The secret's, and for as long as it is valid the one's before it."""
        context, sealed, until_ms = self._secrets(endpoint)
        if until_ms is None or until_ms <= self._now_ms():
            sealed = sealed[:1]
        return tuple(
            Signer(self._vault.open(one, context).decode("ascii")) for one in sealed if one is not None
        )

    def _secrets(self, endpoint: Endpoint) -> tuple[str, tuple[bytes | None, ...], int | None]:
        """What they are sealed with; the secret and the one before it; until when that one signs as well."""
        if endpoint.kind == EndpointKind.NOTIFY:
            app = self._apps[endpoint.app]
            return app_context(app.id), (app.callback_secret, app.previous_secret), app.previous_until_ms
        context = secret_context(endpoint.uid)
        return context, (endpoint.secret, endpoint.previous_secret), endpoint.previous_until_ms

    def _forget_old_secrets(self) -> None:
        now_ms = self._now_ms()
        ended = [endpoint for endpoint, until_ms in self._old_until.items() if until_ms <= now_ms]
        for endpoint in ended:
            self._put(self._endpoints[endpoint])
        self._next_end_ms = min(self._old_until.values(), default=2**62)

    def _open_credentials(self, endpoint: Endpoint) -> EndpointCredentials:
        if endpoint.credentials is None:
            return EndpointCredentials()
        return _credentials(self._vault.open(endpoint.credentials, credentials_context(endpoint.uid)))


def _lines(credentials: EndpointCredentials) -> tuple[str, ...]:
    lines = [f"{name}: {value}" for name, value in credentials.headers.items()]
    if credentials.bearer is not None:
        lines.append(f"authorization: Bearer {credentials.bearer}")
    elif credentials.username is not None:
        pair = f"{credentials.username}:{credentials.password or ''}".encode()
        lines.append(f"authorization: Basic {base64.b64encode(pair).decode('ascii')}")
    return tuple(lines)
