"""A courier in a house without a disk, on virtual time."""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.channels.fakes import House

from homing.channels.courier import ChannelCourier
from homing.channels.ports import Channels, Counts
from homing.channels.push import Platform, PushService
from homing.channels.sms import Carrier
from homing.channels.texting import WhenUnknown
from homing.simulator.clock import Conductor, VirtualClock


class Town:
    """The house, its courier, and the hand on the clock."""

    def __init__(self, house: House, courier: ChannelCourier, clock: VirtualClock) -> None:
        self.house, self.courier, self.clock = house, courier, clock
        self.conductor = Conductor(clock, {"courier": courier.is_quiet, "house": house.is_quiet}, stall_s=5.0)

    async def after(self, seconds: float = 0) -> None:
        """Let virtual time pass and everything in it happen."""
        await self.conductor.advance(by_ms=int(seconds * 1000))


@asynccontextmanager
async def town(
    push: Mapping[Platform, PushService] | None = None,
    carrier: Carrier | None = None,
    *,
    when_unknown: WhenUnknown = WhenUnknown.RESEND,
    house: House | None = None,
    counts: Counts | None = None,
) -> AsyncIterator[Town]:
    """Start a courier with these channels; stops it in the end."""
    clock = house.clock if house else VirtualClock()
    house = house or House(clock)
    channels = Channels(push or {}, carrier)
    courier = ChannelCourier(
        house,
        house,
        house,
        house,
        clock,
        lambda _mode: channels,
        [carrier] if carrier else [],
        when_unknown=when_unknown,
        rng=random.Random(1),
        counts=counts,
    )
    house.sink = courier.committed
    await courier.start()
    try:
        yield Town(house, courier, clock)
    finally:
        await courier.close()
