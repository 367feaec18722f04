"""uvicorn's protocol as it fails for devices: what comes too late is a disconnection, and other faults stay faults."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState

from homing.gateway.protocol import DeviceSocketProtocol

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Do nothing."""


def protocol() -> DeviceSocketProtocol:
    """Return a protocol whose opening handshake is done."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, interface="asgi3")
    config.load()
    made = DeviceSocketProtocol(config, ServerState(), {})
    made.handshake_complete = True
    return made


def test_what_comes_after_the_close_is_a_disconnection(run: Run) -> None:
    """Between the end of a connection and the news of it a frame may still be sent: that is nobody's fault."""

    async def story() -> None:
        late = protocol()
        late.close_sent = True
        with pytest.raises(ClientDisconnected):
            await late.send({"type": "websocket.send", "text": "x"})

    run(story())


def test_a_wrong_event_is_still_a_fault(run: Run) -> None:
    """What is our own mistake does not look like a device that left."""

    async def story() -> None:
        with pytest.raises(RuntimeError):
            await protocol().send({"type": "http.response.body", "body": b"", "more_body": False})

    run(story())
