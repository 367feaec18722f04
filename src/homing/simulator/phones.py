"""A simulated phone: one device of one person, with a habit, that is woken by push and speaks to the gateway as apps do.

When it does something follows the clock; that it is done goes over real sockets. It must not know the engine.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from homing.channels.push import Platform, PushRequest
from homing.clock import Alarm, Clock
from homing.simulator.backend import Refused
from homing.simulator.habits import Habit
from homing.simulator.links import Account, Frame, Kind, Link, PollLink, Session, SocketLink, log_in
from homing.simulator.push import Line, SimulatedPush
from homing.telemetry import LogEvent, logger

LINGERS_MS: Final = 20_000
"""How long a phone that was woken stays connected after the last thing it did."""
_AGAIN_MS: Final = 5_000
_FAULTS: Final = (OSError, TimeoutError, Refused)


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
        self.habit = habit
        self.stored: dict[str, Frame] = {}
        """Message id → its frame, in the order in which they were stored."""
        self.read: list[str] = []
        self.told: list[Frame] = []
        """Frames of other kinds: read elsewhere, gone, sent, bye."""
        self._account = account
        self._clock = clock
        self._platform = platform
        self._service = service
        self._session: Session | None = None
        self._link: Link | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarms: set[Alarm] = set()
        self._linger: Alarm | None = None
        self._opening: asyncio.Lock = asyncio.Lock()
        self._sent = 0
        self._is_closed = False

    async def start(self) -> None:
        """Log in, register for push, and connect where the habit is to be connected."""
        session = await log_in(self._account, f"sim-{self.name}", self._platform, self.name)
        self._session = session
        self._link = PollLink(session) if self.habit.is_polling else SocketLink(session)
        token = await session.register(self._platform, f"simulated-{self.name}")
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
        if self._link is not None:
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
                self._sent += 1
                if self._link is not None:
                    await self._link.send(text, f"{self.name}-{self._sent}")
            case _:
                raise ValueError(f"{what!r} is nothing a phone can do: online, offline, ack, read, send")

    def _woken(self, _push: PushRequest) -> None:
        wakes_in_ms = self.habit.wakes_in_ms
        if wakes_in_ms is not None:
            self._later(wakes_in_ms, self._online)

    async def _online(self) -> None:
        async with self._opening:
            link = self._link
            if link is None or self._is_closed or link.is_open:
                return
            await link.open(self._frame)
            self._stay()

    async def _offline(self) -> None:
        async with self._opening:
            if self._link is not None:
                await self._link.close()

    def _stay(self) -> None:
        """Disconnect a while after the last thing done, unless the app is open."""
        if self._linger is not None:
            self._linger.cancel()
        if not self.habit.is_linked and not self._is_closed:
            self._linger = self._clock.at(
                self._clock.now_ms() + LINGERS_MS, lambda: self._spawn(self._offline())
            )

    def _frame(self, frame: Frame) -> None:
        if frame["type"] != "msg":
            self.told.append(frame)
            if frame["type"] == "gone" and self.habit.is_repeating and frame["messageId"] in self.stored:
                self._later(0, lambda: self._say("read", [frame["messageId"]]))
            return
        message_id: str = frame["messageId"]
        is_new = message_id not in self.stored
        self.stored.setdefault(message_id, frame)
        self._stay()
        if self.habit.acks_in_ms is not None:
            # A repeat is dropped but acknowledged again: the first acknowledgement may have been lost.
            self._later(self.habit.acks_in_ms, lambda: self._ack(message_id, is_new=is_new))

    async def _ack(self, message_id: str, *, is_new: bool) -> None:
        await self._online()
        await self._say("ack", [message_id])
        if is_new and self.habit.reads_in_ms is not None:
            self._later(self.habit.reads_in_ms, lambda: self._read(message_id))

    async def _read(self, message_id: str) -> None:
        await self._online()
        await self._say("read", [message_id])

    async def _say(self, kind: Kind, message_ids: list[str]) -> None:
        if self._link is None or not message_ids:
            return
        times = 2 if self.habit.is_repeating else 1
        for _ in range(times):
            await self._link.receipt(kind, message_ids, self._own_times(kind, message_ids))
        if kind == "read":
            self.read += [one for one in message_ids if one not in self.read]
        self._stay()

    def _own_times(self, kind: Kind, message_ids: list[str]) -> dict[str, str]:
        if self.habit.clock_error_ms is None:
            return {}
        wrong_ms = self._clock.now_ms() + self.habit.clock_error_ms[kind == "read"]
        wrong = datetime.fromtimestamp(wrong_ms / 1000, UTC).isoformat()
        return dict.fromkeys(message_ids, wrong)

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
