"""What lies at the far ends of a node's wires, as whoever opens it hands it in."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from homing.callbacks.job import Done
from homing.channels.ports import Channels, ChannelsFor
from homing.channels.sms import Carrier
from homing.server import Asgi


def _no_channels(_app_mode: str) -> Channels:
    return Channels()


class Ends(msgspec.Struct, frozen=True):
    """What lies at the far ends of the wires. ``watch`` hears each finished try of a callback."""

    channels_for: ChannelsFor = _no_channels
    carriers: Sequence[Carrier] = ()
    doors: Mapping[str, Asgi] = {}
    watch: Callable[[Done], None] | None = None
