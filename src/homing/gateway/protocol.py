"""uvicorn's WebSocket protocol with the close codes of ``homing.v1``, and no patience with peers that are gone.

It changes how a connection fails, nothing else. The server is given this class where it would take its own.
"""

from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.server import ServerProtocol

from homing.gateway.connection import BAD_FRAME

_BAD_FRAMES: Final = {CloseCode.MESSAGE_TOO_BIG, CloseCode.INVALID_DATA}


class _Connection(ServerProtocol):
    """Too large a frame, or one that is no UTF-8, is a bad frame."""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        super().fail(BAD_FRAME if code in _BAD_FRAMES else code, reason)

    def send_close(self, code: CloseCode | int | None = None, reason: str = "") -> None:
        super().send_close(BAD_FRAME if code in _BAD_FRAMES else code, reason)


class DeviceSocketProtocol(WebSocketsSansIOProtocol):
    """See the module. Compression stays off: it would cost each socket more memory than all the rest."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.conn = _Connection(max_size=self.config.ws_max_size, logger=self.logger)

    def keepalive_timeout(self) -> None:
        """Drop a peer that answers no ping, with whatever it did not read: a polite close would wait for it."""
        super().keepalive_timeout()
        self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        """See uvicorn's; what comes too late for this connection is told as a disconnect."""
        try:
            await super().send(message)
        except RuntimeError:
            if self.close_sent:
                raise ClientDisconnected from None
            raise
        if message["type"] == "websocket.close" and self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
