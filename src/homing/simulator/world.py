"""The simulated world around one node: its push services, carrier, phones and receivers, and the hand on the clock.

It exists before the node, because the node is given its far ends; `attach` tells it where the node is. What it wants of
the node it asks over HTTP, as anybody would.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from homing.channels.ports import Channels
from homing.channels.push import Platform
from homing.clock import Clock
from homing.simulator.backend import Backend, Refused
from homing.simulator.carriers import SimulatedCarrier
from homing.simulator.clock import Conductor, SkipClock, VirtualClock
from homing.simulator.habits import HABITS
from homing.simulator.phones import Account, Phone
from homing.simulator.push import all_platforms
from homing.simulator.receivers import Receiver

PEOPLE: Final[tuple[tuple[str, str, Platform, str], ...]] = (
    ("ann", "reader", "ios", "+447700900000"),
    ("bob", "tunnel", "android", "+447700900000"),
    ("carol", "uninstalled", "ios", "+447700900000"),
)
"""Who lives in `homing dev`: identifier, habit, platform, mobile number."""


class Application(msgspec.Struct, frozen=True):
    """An application as the world needs to know it."""

    id: int
    app_key: str


class EndpointMade(msgspec.Struct, frozen=True):
    """A callback endpoint with what is told once: its secret."""

    id: str
    secret: str


class World:
    """Everything beyond the wires. Make it, open a node with its ends, `attach`, populate, in the end `close`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.push = all_platforms(clock)
        self.carrier = SimulatedCarrier(clock)
        self.carriers = (self.carrier,)
        self.phones: dict[str, Phone] = {}
        self.receivers: dict[str, Receiver] = {}
        self.conductor: Conductor | None = None
        """None: the clock is real, and nobody can push it."""
        self._backend: Backend | None = None
        if isinstance(clock, SkipClock | VirtualClock):
            self.conductor = Conductor(clock, self._quiet())

    def channels_for(self, _app_mode: str) -> Channels:
        """The simulated channels, whatever the application's mode: from here nobody real is ever reached."""
        return Channels(dict(self.push), self.carrier)

    def attach(
        self, host: str, port: int, token: str, quiet: Mapping[str, Callable[[], bool]] | None = None
    ) -> None:
        """Know the node: where it listens, a token with all scopes, and what of it may be at work."""
        self._backend = Backend(host, port, token)
        if self.conductor is not None:
            for name, is_quiet in (quiet or {}).items():
                self.conductor.watch(name, is_quiet)

    @property
    def backend(self) -> Backend:
        """The customer's back end; after `attach`."""
        assert self._backend is not None, "attach comes first"
        return self._backend

    async def application(self, app_id: int, name: str, **more: object) -> Application:
        """Find the application, or create it in test mode."""
        try:
            found = await self.backend.ask("GET", f"/1/apps/{app_id}")
        except Refused as refused:
            if refused.status != 404:
                raise
            wish = {"id": app_id, "name": name, "mode": "test", **more}
            found = await self.backend.ask("POST", "/1/apps", wish)
        return Application(found["id"], found["appKey"])

    async def person(
        self,
        app: Application,
        name: str,
        habit: str,
        *,
        platform: Platform = "ios",
        number: str | None = None,
    ) -> list[Phone]:
        """Find or register a user and switch on the phones that the habit has; they are named after the user."""
        password = f"{name}-simulated"
        wish: dict[str, object] = {"identifier": name, "password": password}
        if number is not None:
            wish["mobileNumber"] = number
        try:
            await self.backend.ask("POST", f"/1/apps/{app.id}/users", wish)
        except Refused as refused:
            if refused.status != 409:
                raise
        url = f"http://{self.backend.host}:{self.backend.port}"
        account = Account(url, app.app_key, name, password)
        phones = []
        for number_of_device in range(HABITS[habit].devices):
            device, does = name, HABITS[habit]
            if number_of_device > 0:  # only one of them is looked at
                device, does = f"{name}-tablet", msgspec.structs.replace(does, reads_in_ms=None)
            phone = Phone(
                device,
                account,
                does,
                self.clock,
                platform=platform,
                service=self.push[platform],
            )
            await phone.start()
            self.phones[device] = phone
            phones.append(phone)
        return phones

    async def people(self, app: Application) -> None:
        """Switch on those who live in `homing dev`."""
        for name, habit, platform, number in PEOPLE:
            await self.person(app, name, habit, platform=platform, number=number)

    async def receiver(self, name: str, *, is_told: str = "ok", port: int = 0) -> Receiver:
        """Start a receiver of callbacks on loopback."""
        receiver = Receiver(name, is_told=is_told)
        await receiver.start(port)
        self.receivers[name] = receiver
        return receiver

    async def endpoint(
        self,
        app: Application,
        url: str,
        form: str,
        *,
        description: str,
        secret: str | None = None,
        kind: str = "status",
    ) -> EndpointMade:
        """Point an endpoint of this description to ``url``: the one there is if its ``secret`` is known, else a new one."""
        path = f"/1/apps/{app.id}/endpoints"
        for one in (await self.backend.ask("GET", path))["items"]:
            if one.get("description") != description:
                continue
            if secret is not None:
                await self.backend.ask("PATCH", f"{path}/{one['id']}", {"url": url, "form": form})
                return EndpointMade(one["id"], secret)
            await self.backend.ask("DELETE", f"{path}/{one['id']}")
        wish = {"url": url, "form": form, "description": description, "kind": kind}
        made = await self.backend.ask("POST", path, wish)
        return EndpointMade(made["id"], made["secret"])

    async def connect_receiver(self, app: Application, receiver: Receiver, form: str) -> EndpointMade:
        """Have an application's callbacks sent to a receiver, which checks their signatures."""
        made = await self.endpoint(app, receiver.url, form, description=f"simulated {receiver.name}")
        receiver.trust(made.secret)
        return made

    async def close(self) -> None:
        """Switch everything off; harmless when repeated."""
        for phone in self.phones.values():
            await phone.close()
        for receiver in self.receivers.values():
            await receiver.close()

    def _quiet(self) -> dict[str, Callable[[], bool]]:
        return {
            "phones": lambda: all(phone.is_quiet() for phone in self.phones.values()),
            "receivers": lambda: all(receiver.is_quiet() for receiver in self.receivers.values()),
            "carrier": self.carrier.is_quiet,
        }
