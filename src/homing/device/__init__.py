"""A device in Python: logs in, holds the live link, stores, acknowledges, reads, sends (``homing.v1``, API.md §2).

For kiosks, bots and tests; the simulator's phones are made of it. It knows the protocol, nothing of the server's insides.
"""

from homing.device.client import Device
from homing.device.errors import Disconnected, LoginNeeded, NotConnected, Refused, Replaced
from homing.device.events import Event, Gone, Message, ReadElsewhere, Sent

__all__ = [
    "Device",
    "Disconnected",
    "Event",
    "Gone",
    "LoginNeeded",
    "Message",
    "NotConnected",
    "ReadElsewhere",
    "Refused",
    "Replaced",
    "Sent",
]
