"""How a simulated phone speaks to the gateway: over WebSocket as the apps do, or by long-poll as older ones did.

Both are the device client that anybody can use; what is said when is the phone's business.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

from homing.device import Device, Disconnected, Event

OnEvent: TypeAlias = Callable[[Event], None]
Kind: TypeAlias = Literal["ack", "read"]


class Link(Protocol):
    """A logged-in device's way to the gateway. Errors are `OSError`, `TimeoutError` or `DeviceError`."""

    @property
    def is_open(self) -> bool:
        """Whether anything can come just now."""
        ...

    async def open(self, on_event: OnEvent) -> None:
        """Connect; everything that comes is given to ``on_event``."""
        ...

    async def receipt(self, kind: Kind, message_ids: Sequence[str], at: str | None) -> None:
        """Say that these are stored, or read; ``at`` is the time by the device's own clock, if it tells one."""
        ...

    async def send(self, text: str, client_ref: str) -> None:
        """Send a message to the application."""
        ...

    async def close(self) -> None:
        """Disconnect; harmless when repeated."""
        ...


class SocketLink:
    """The WebSocket of `homing.v1`."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """See `Link.is_open`."""
        return self._reader is not None and not self._reader.done()

    async def open(self, on_event: OnEvent) -> None:
        """See `Link.open`; returns once the gateway has said welcome."""
        await self._device.connect()
        self._reader = asyncio.create_task(self._read(on_event), name="phone-reader")

    async def receipt(self, kind: Kind, message_ids: Sequence[str], at: str | None) -> None:
        """See `Link.receipt`."""
        say = self._device.ack if kind == "ack" else self._device.read
        await say(*message_ids, at=at)

    async def send(self, text: str, client_ref: str) -> None:
        """See `Link.send`."""
        await self._device.send(text, client_ref=client_ref)

    async def close(self) -> None:
        """See `Link.close`."""
        await self._device.go_offline()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None

    async def _read(self, on_event: OnEvent) -> None:
        try:
            async for event in self._device.events():
                on_event(event)
        except Disconnected:
            pass


class PollLink:
    """The same over plain HTTP: it asks once when it is opened, and is never open for longer."""

    def __init__(self, device: Device) -> None:
        self._device = device

    @property
    def is_open(self) -> bool:
        """See `Link.is_open`."""
        return False

    async def open(self, on_event: OnEvent) -> None:
        """See `Link.open`."""
        for event in await self._device.poll():
            on_event(event)

    async def receipt(self, kind: Kind, message_ids: Sequence[str], at: str | None) -> None:
        """See `Link.receipt`."""
        times = None if at is None else dict.fromkeys(message_ids, at)
        if kind == "ack":
            await self._device.receipts(received=message_ids, at=times)
        else:
            await self._device.receipts(read=message_ids, at=times)

    async def send(self, text: str, client_ref: str) -> None:
        """See `Link.send`."""
        await self._device.post(text, client_ref=client_ref)

    async def close(self) -> None:
        """See `Link.close`."""
