"""The API as one ASGI callable: all operations there are, behind one `Door`; and the few that every node answers."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from homing.api import routes_later
from homing.api.access import Doors
from homing.api.auth import Gatekeeper
from homing.api.door import Door
from homing.api.feed import Arrivals
from homing.api.messages import Sending
from homing.api.openapi import document
from homing.api.ports import CheckUrl, Engine, Ready, Settings, Tests, Vault
from homing.api.routes_apps import Apps
from homing.api.routes_endpoint_actions import EndpointActions
from homing.api.routes_endpoints import Endpoints
from homing.api.routes_events import Events
from homing.api.routes_jobs import Jobs
from homing.api.routes_listeners import Listeners
from homing.api.routes_messages import Messages
from homing.api.routes_public import Public
from homing.api.routes_tokens import Tokens
from homing.api.routes_users import Users
from homing.api.routing import NOTHING_HERE
from homing.clock import Clock
from homing.store.archive.port import Archive
from homing.store.changes import Change
from homing.store.port import Registry


class Api(Door):
    """The door for back ends. Call it as ASGI; all else is handed in (`ports`)."""

    def __init__(
        self,
        *,
        engine: Engine,
        registry: Registry,
        archive: Archive,
        vault: Vault,
        check_url: CheckUrl,
        ready: Ready,
        admin_digest: bytes,
        metrics_render: Callable[[], bytes],
        clock: Clock,
        tests: Tests,
        settings: Settings | None = None,
    ) -> None:
        """``admin_digest`` is the SHA-256 of the admin token's text; ``metrics_render`` gives the text exposition."""
        settings = settings or Settings()
        gate = Gatekeeper(registry, clock, admin_digest)
        self._arrivals = Arrivals()
        self.on_committed = self._arrivals.on_committed
        """Hears of each commit (plug it into `Engine.on_committed`): it answers those who wait for events."""
        doors = Doors(registry, archive)
        public = Public(ready, metrics_render, lambda: self.openapi)
        self._sending = Sending(engine, registry, clock, vault, check_url)
        operations = (
            *self._sending.operations(),
            *Messages(engine, registry, archive, doors, clock).operations(),
            *Apps(registry, doors, vault).operations(),
            *Users(registry, doors).operations(),
            *Endpoints(registry, archive, doors, vault, check_url).operations(),
            *EndpointActions(registry, archive, doors, vault, tests, clock).operations(),
            *Jobs(registry, archive, doors, clock).operations(),
            *Events(archive, doors, gate, self._arrivals, settings.feed_looks_s).operations(),
            *Listeners(registry, archive, doors, vault).operations(),
            *Tokens(registry, doors, gate, settings, clock).operations(),
            *public.operations(),
            *routes_later.operations(),
        )
        self._base_url = settings.base_url
        super().__init__(operations, registry, gate)

    def changed(self, change: Change, value: object) -> None:
        """Hear of a change of the registry (plug this into `Registry.watch`)."""
        self._sending.changed(change, value)

    def forget(self) -> None:
        """Hear that changes may have been missed (after `Ownership.on_lost`): what was remembered of them is asked for anew."""
        self._sending.forget()

    def close(self) -> None:
        """Answer those who wait for events now; nobody waits from then on (the last step before the server stops)."""
        self._arrivals.close()

    @cached_property
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, as data."""
        return document(self.operations, self._base_url)


class Health(Door):
    """What every node answers, whatever it does: that it is alive, whether it is ready, its metrics."""

    def __init__(
        self,
        registry: Registry,
        ready: Ready,
        metrics_render: Callable[[], bytes],
        nothing_here: str = NOTHING_HERE,
    ) -> None:
        """``nothing_here`` says to those who ask for more where they are."""
        operations = Public(ready, metrics_render, dict).health_operations()
        super().__init__(operations, registry, None, nothing_here)
