"""A whole node in this process and in memory, with a simulated world around it: for the demo, and for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from homing.config import Settings
from homing.config.settings import Callbacks, Server, Telemetry
from homing.node import Ends, Node
from homing.simulator import api
from homing.simulator.world import World

HOST = "127.0.0.1"


class MemoryHome(msgspec.Struct, frozen=True):
    """Where the node is, and its admin token; see `demo.Home`."""

    node: Node
    port: int
    host: str = HOST

    @property
    def token(self) -> str:
        """A token with all scopes."""
        return self.node.admin_token

    def is_quiet(self) -> bool:
        """Whether nothing is at work in it."""
        return self.node.is_quiet()


def ends_of(world: World) -> Ends:
    """The far ends of a node that lives in this world."""
    return Ends(
        channels_for=world.channels_for,
        carriers=world.carriers,
        doors={"/sim": api.application(world)},
    )


@asynccontextmanager
async def open_home(world: World) -> AsyncIterator[MemoryHome]:
    """Run a node with the world's clock and ends until the block ends; callbacks may go to loopback only."""
    settings = Settings(
        server=Server(listen=f"{HOST}:0"),
        callbacks=Callbacks(allow=(f"{HOST}/32",)),
        telemetry=Telemetry(log_format="text", log_level="error"),
    )
    node = await Node.open(settings, clock=world.clock, ends=ends_of(world), memory=True)
    try:
        yield MemoryHome(node, await node.listen())
    finally:
        await node.close()
