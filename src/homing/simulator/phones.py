"""A simulated phone: one device of one person, with a habit, that is woken by push and speaks to the gateway as apps do.

When it does something follows the clock; that it is done goes over real sockets. It must not know the engine.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from homing.channels.push import Platform, PushRequest
from homing.clock import Alarm, Clock
from homing.device import Device, Event, Gone, Message
from homing.device.errors import DeviceError
from homing.device.http import call
from homing.simulator.habits import Habit
from homing.simulator.links import Kind, Link, PollLink, SocketLink
from homing.simulator.push import Line, SimulatedPush
from homing.telemetry import LogEvent, logger

LINGERS_MS: Final = 20_000
"""How long a phone that was woken stays connected after the last thing it did."""
_AGAIN_MS: Final = 5_000
_is_plain: Final = re.compile(r"[A-Za-z0-9._-]{1,60}").fullmatch
_FAULTS: Final = (OSError, TimeoutError, DeviceError)


class Account(msgspec.Struct, frozen=True):
    """What a person types into the app once, and where the app connects to."""

    url: str
    app_key: str
    identifier: str
    password: str


class Phone:
    """One device. `start` logs it in; `do` makes it do something by hand."""

    def __init__(
        self,
        name: str,
        account: Account,
        habit: Habit,
        clock: Clock,
        *,
        platform: Platform = "ios",
        service: SimulatedPush,
    ) -> None:
        self.name = name
        self.account = account
        self.habit = habit
        self.platform: Platform = platform
        self.stored: dict[str, Message] = {}
        """By id, in the order in which they were stored."""
        self.read: list[str] = []
        self.told: list[Event] = []
        """What else came: read elsewhere, gone, sent."""
        self._clock = clock
        self._service = service
        self._device = Device(account.url, account.app_key, name=name, platform=platform)
        self._link: Link = (PollLink if habit.is_polling else SocketLink)(self._device)
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarms: set[Alarm] = set()
        self._linger: Alarm | None = None
        self._opening: asyncio.Lock = asyncio.Lock()
        self._prefix = f"{clock.now_ms():x}"  # a store may remember what an earlier process sent
        self._sent = 0
        self._is_closed = False

    async def start(self) -> None:
        """Log in, register for push, and connect where the habit is to be connected. Again: as if installed anew."""
        self._device.device_id = _device_id(self.name)
        await self._device.login(self.account.identifier, self.account.password)
        token = await self._register()
        self._service.register(token, Line(self._woken, self.habit.push))
        if self.habit.is_linked:
            await self._online()

    def is_quiet(self) -> bool:
        """Say whether it is not just doing something; what it will do later does not count."""
        return not self._tasks

    async def close(self) -> None:
        """Switch it off for good."""
        self._is_closed = True
        for alarm in list(self._alarms):
            alarm.cancel()
        if self._linger is not None:
            self._linger.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._link.close()

    async def do(self, what: str, text: str = "") -> None:
        """Do by hand: online, offline, ack, read (everything stored and unread) or send; `ValueError` for anything else."""
        match what:
            case "online":
                await self._online()
            case "offline":
                await self._offline()
            case "ack":
                await self._say("ack", list(self.stored))
            case "read":
                await self._online()
                await self._say("read", [one for one in self.stored if one not in self.read])
            case "send":
                await self._online()
                await self._link.send(text, self._next_ref())
            case _:
                raise ValueError(f"{what!r} is nothing a phone can do: online, offline, ack, read, send")

    async def write(self, text: str, channel: str | None = None) -> str:
        """Send a message to the application without a live link; return its id once it is on the server's disk."""
        return await self._device.post(text, channel=channel, client_ref=self._next_ref())

    def _next_ref(self) -> str:
        self._sent += 1
        return f"{self._prefix}-{self._sent}"

    def _woken(self, _push: PushRequest) -> None:
        wakes_in_ms = self.habit.wakes_in_ms
        if wakes_in_ms is not None:
            self._later(wakes_in_ms, self._online)

    async def _online(self) -> None:
        async with self._opening:
            if not self._is_closed and not self._link.is_open:
                await self._link.open(self._hear)
                self._stay()

    async def _offline(self) -> None:
        async with self._opening:
            await self._link.close()

    def _stay(self) -> None:
        """Disconnect a while after the last thing done, unless the app is open."""
        if self._linger is not None:
            self._linger.cancel()
        if not self.habit.is_linked and not self._is_closed:
            self._linger = self._clock.at(
                self._clock.now_ms() + LINGERS_MS, lambda: self._spawn(self._offline())
            )

    def _hear(self, event: Event) -> None:
        if not isinstance(event, Message):
            self.told.append(event)
            if isinstance(event, Gone) and self.habit.is_repeating and event.id in self.stored:
                self._later(0, lambda: self._say("read", [event.id]))
            return
        is_new = event.id not in self.stored
        self.stored.setdefault(event.id, event)
        self._stay()
        if self.habit.acks_in_ms is not None:
            # A repeat is dropped but acknowledged again: the first acknowledgement may have been lost.
            self._later(self.habit.acks_in_ms, lambda: self._ack(event.id, is_new=is_new))

    async def _ack(self, message_id: str, *, is_new: bool) -> None:
        await self._online()
        await self._say("ack", [message_id])
        if is_new and self.habit.reads_in_ms is not None:
            self._later(self.habit.reads_in_ms, lambda: self._read(message_id))

    async def _read(self, message_id: str) -> None:
        await self._online()
        await self._say("read", [message_id])

    async def _say(self, kind: Kind, message_ids: list[str]) -> None:
        if not message_ids:
            return
        times = 2 if self.habit.is_repeating else 1
        for _ in range(times):
            await self._link.receipt(kind, message_ids, self._own_time(kind))
        if kind == "read":
            self.read += [one for one in message_ids if one not in self.read]
        self._stay()

    def _own_time(self, kind: Kind) -> str | None:
        if self.habit.clock_error_ms is None:
            return None
        wrong_ms = self._clock.now_ms() + self.habit.clock_error_ms[kind == "read"]
        return datetime.fromtimestamp(wrong_ms / 1000, UTC).isoformat()

    async def _register(self) -> str:
        """Hand over this phone's push token; return it as push services will be told it."""
        token = f"simulated-{self.name}"
        if self.platform != "web":
            await self._device.set_push_token(self.platform, token)
            return token
        subscription = {"endpoint": f"https://push.simulated/{token}", "keys": {"auth": "", "p256dh": ""}}
        wish = {"platform": "web", "subscription": subscription}
        await call(self.account.url, "PUT", "/device/1/push-token", token=self._device.token, body=wish)
        return msgspec.json.encode(subscription).decode()

    def _later(self, after_ms: int, doing: Callable[[], Coroutine[Any, Any, None]]) -> None:
        alarms: list[Alarm] = []

        def ring() -> None:
            self._alarms.discard(alarms[0])
            if not self._is_closed:
                self._spawn(self._persist(doing))

        alarms.append(self._clock.at(self._clock.now_ms() + after_ms, ring))
        self._alarms.add(alarms[0])

    async def _persist(self, doing: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it, and try again a little later when the server is not to be reached, as apps do."""
        try:
            await doing()
        except _FAULTS as error:
            if not self._is_closed:
                logger().debug(LogEvent.DEVICE_DISCONNECTED, phone=self.name, error=repr(error))
                await self._offline()
                self._later(_AGAIN_MS, doing)

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _device_id(name: str) -> str:
    """Return the id that this phone asks for at each log-in: its name, as far as an id may be one."""
    return f"sim-{name if _is_plain(name) else sha256(name.encode()).hexdigest()[:32]}"
