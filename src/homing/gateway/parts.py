"""The parts of the house that every connection works with, handed round as one."""

from collections.abc import Callable
from typing import NamedTuple

from homing.clock import Clock
from homing.gateway.hub import Hub
from homing.gateway.ports import Devices, Inbox, Recorder


class Parts(NamedTuple):
    """``epoch()`` is the store's identity now: by it a device knows whether its cursor means anything here."""

    hub: Hub
    recorder: Recorder
    devices: Devices
    inbox: Inbox
    clock: Clock
    epoch: Callable[[], str]
