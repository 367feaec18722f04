"""One device's WebSocket: the shell around `session`. It waits, reads and writes; what is sent is not its to decide.

Two tasks for each socket: the server's own, which reads, and one that writes. A frame is made when the socket takes it,
so a device that does not read holds its session's windows and the transport's buffer, nothing more. Close codes: API.md §2.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from homing.errors import HomingError, Unavailable
from homing.gateway import frames
from homing.gateway.frames import Ack, BadFrame, FromDevice, Hello, ReadReceipt, SendMessage
from homing.gateway.hub import BAD_TOKEN
from homing.gateway.incoming import take_in
from homing.gateway.limits import Bucket
from homing.gateway.parts import Parts
from homing.gateway.ports import Receive, Send
from homing.gateway.receipts import ids, look_up, occurrences
from homing.gateway.session import Level, Session
from homing.gateway.tokens import digest, looks_right
from homing.model import Device, uuid_text
from homing.telemetry import LogEvent, logger

T = TypeVar("T")

BAD_FRAME: Final = 4400
TOO_FAST: Final = 4429
GOING_AWAY: Final = 4503
FRAME_BURST: Final = 1_000
FRAMES_PER_S: Final = 100
"""Frames that bring no news; receipts for what was sent here cost nothing, the window bounds them already."""
IDS_PER_FRAME: Final = 8
"""So many ids that the session does not know count like a frame: each is looked up, and leaves a line in a history."""
STORE_AGAIN_S: Final = 1.0
"""How long to wait when the store does not answer."""
_GONE_AWAY: Final = (OSError, asyncio.IncompleteReadError)
"""How a server says that the peer has left while something was written to it."""


class Closing(Exception):
    """The connection is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """A connection from its acceptance to its end; a `hub.Link` once its hello was taken."""

    __slots__ = (
        "_ending", "_farewell", "_idle", "_is_handling", "_is_resting", "_is_rung", "_loop",
        "_pace", "_parts", "_receive", "_send", "_who", "app", "device", "is_closed", "recipient", "session",
        "token_digest",
    )  # fmt: skip

    def __init__(self, receive: Receive, send: Send, parts: Parts) -> None:
        self._receive = receive
        self._send = send
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._pace = Bucket(FRAME_BURST, FRAMES_PER_S, self._loop.time())
        self._who: Device | None = None
        self._is_handling = False
        self._is_resting = True
        self._is_rung = False
        self._idle: asyncio.Future[None] | None = None
        self._ending: Closing | None = None
        self._farewell: str | None = None
        self.is_closed = False
        """The close frame was sent, or can no longer be."""
        self.device = ""
        self.token_digest = b""
        self.recipient = 0
        self.app = 0
        self.session = Session()

    async def run(self, token: str | None, hello_s: float) -> None:
        """Serve the connection until it ends.

        ``token`` is what came in the opening request's ``Authorization``, ``hello_s`` how long it may be silent.
        """
        writer = asyncio.create_task(self._write(), name="device-writer")
        try:
            hello = await self._greeting(hello_s)
            if hello is not None:
                self._is_handling = True
                await self._begin(hello, token)
                self._is_handling = False
                await self._read()
        except Closing as closing:
            await self._close(closing.code, closing.reason)
        except HomingError as error:
            logger().warning(LogEvent.REQUEST_FAILED, device=self.device, error=repr(error))
            await self._close(GOING_AWAY, "try again")
        except _GONE_AWAY:
            pass
        except Exception as error:  # noqa: BLE001 - ours, and only this device's connection is to suffer
            logger().error(LogEvent.REQUEST_FAILED, device=self.device, exc_info=error)
            await self._close(GOING_AWAY, "try again")
        finally:
            self.is_closed = True
            self._parts.hub.leave(self)
            logger().debug(LogEvent.DEVICE_DISCONNECTED, device=self.device, app=self.app)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    def wake(self) -> None:
        """See `hub.Link.wake`."""
        self._is_rung = True
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def end(self, code: int, reason: str) -> None:
        """See `hub.Link.end`."""
        if self._ending is None:
            self._ending = Closing(code, reason)
        self.wake()

    def say_bye(self, retry_after_s: int) -> None:
        """Close because this node goes away; the device is to come again in ``retry_after_s`` seconds."""
        self._farewell = frames.encode(frames.Bye(GOING_AWAY, retry_after_s))
        self.end(GOING_AWAY, "going away")

    def is_quiet(self) -> bool:
        """Say whether no frame is being handled and nothing is to be sent just now."""
        is_at_rest = self._is_resting and not self._is_rung
        return self.is_closed or (is_at_rest and not self._is_handling)

    async def _greeting(self, hello_s: float) -> Hello | None:
        try:
            async with asyncio.timeout(hello_s):
                hello = await self._next()
        except TimeoutError:
            raise Closing(BAD_FRAME, "no hello in time") from None
        if hello is not None and not isinstance(hello, Hello):
            raise Closing(BAD_FRAME, "the first frame must be hello")
        return hello

    async def _begin(self, hello: Hello, token: str | None) -> None:
        shown = token if hello.token is None else hello.token
        is_token = shown is not None and looks_right(shown)
        device = await self._parts.devices.device(digest(shown)) if shown and is_token else None
        if device is None:
            raise Closing(BAD_TOKEN, "bad token")
        self.device, self.recipient, self.app = device.id, device.recipient, device.app
        self._who, self.token_digest = device, device.token_digest
        # First known to the hub, then the store is asked: what is committed in between is heard of, not lost.
        self._parts.hub.join(self)
        epoch = self._parts.epoch()
        start = await self._parts.inbox.inbox_start(device.recipient)
        head = (await self._parts.inbox.inbox_heads([device.recipient])).get(device.recipient, 0)
        # It goes on where it stopped if its cursor means anything here, else begins where a new device does.
        is_known = hello.epoch == epoch and 0 < hello.cursor <= head
        cursor = hello.cursor if is_known else start
        now = frames.iso_time(self._parts.clock.now_ms())
        await self._send_text(frames.encode(frames.Welcome(device.id, epoch, cursor, now)))
        self.session.start(cursor=cursor, position=start, head=head)
        self.wake()
        logger().debug(LogEvent.DEVICE_CONNECTED, device=self.device, app=self.app)

    async def _read(self) -> None:
        while True:
            frame = await self._next()
            if frame is None:
                return
            self._is_handling = True
            await self._take(frame)
            self._is_handling = False

    async def _next(self) -> FromDevice | None:
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            return None
        text = event.get("text")
        if text is None:
            raise Closing(BAD_FRAME, "frames are text, not binary")
        try:
            return frames.decode(text)
        except BadFrame as error:
            raise Closing(BAD_FRAME, str(error)) from None

    async def _take(self, frame: FromDevice) -> None:
        match frame:
            case Ack():
                await self._receipt(frame, Level.RECEIVED)
            case ReadReceipt():
                await self._receipt(frame, Level.READ)
            case SendMessage():
                self._spend(1)
                await self._take_in(frame)
            case Hello():
                raise Closing(BAD_FRAME, "hello was said already")

    async def _receipt(self, frame: Ack | ReadReceipt, level: Level) -> None:
        names = ids(frame.message_ids)
        at_ms = frames.times(frame.at, frame.message_ids)
        receipts = self.session.receipt(names, level)
        if receipts.news:
            self._parts.recorder.submit(occurrences(receipts.news, level, names, at_ms))
            if self.session.has_more:
                self.wake()  # the window has room again
        else:
            self._spend(1 + (len(receipts.unknown) + receipts.repeats) // IDS_PER_FRAME)
        if receipts.unknown:
            found = await self._until_told(
                lambda: look_up(self._parts.inbox, self.recipient, receipts.unknown)
            )
            for key in found:
                self.session.found(key, level)
            await self._parts.recorder.record(occurrences(found, level, names, at_ms))

    async def _take_in(self, frame: SendMessage) -> None:
        if (fault := frames.refusal(frame)) is not None:
            raise Closing(BAD_FRAME, fault)
        if self._who is None:
            raise Closing(BAD_FRAME, "the first frame must be hello")
        message_id = await take_in(self._parts.recorder, self._who, frame)
        # Written here, not queued: a device that sends but does not read is not read either.
        await self._send_text(frames.encode(frames.Sent(uuid_text(message_id), frame.client_ref)))

    def _spend(self, cost: float) -> None:
        if self._pace.take(cost, self._loop.time()) > 0:
            raise Closing(TOO_FAST, "too fast")

    async def _write(self) -> None:
        """Send whatever there is to send, one frame when the socket takes it, until the connection is to end."""
        try:
            while self._ending is None and not self.session.is_overrun:
                self._is_rung = False
                frame = self.session.next(self._parts.clock.now_ms())
                if frame is not None:
                    await self._send_text(frame)
                elif asked := self.session.wants:
                    await self._fetch(asked)
                else:
                    await self._rest()
            if self._farewell is not None:
                await self._send_text(self._farewell)
            ending = self._ending or Closing(GOING_AWAY, "too slow")
            await self._close(ending.code, ending.reason)
        except _GONE_AWAY:
            pass
        except Exception as error:  # noqa: BLE001 - ours, and only this device's connection is to suffer
            logger().error(LogEvent.REQUEST_FAILED, device=self.device, exc_info=error)
            await self._close(GOING_AWAY, "try again")

    async def _fetch(self, asked: int) -> None:
        session = self.session
        head = session.head
        place = session.position
        items = await self._until_told(lambda: self._parts.inbox.inbox(self.recipient, place, asked))
        session.fill(items, asked=asked, head=head)

    async def _until_told(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store until it answers: a device stays linked while the store is away."""
        while True:
            try:
                return await ask()
            except Unavailable:
                if self._ending is not None:
                    raise
                await asyncio.sleep(STORE_AGAIN_S)

    async def _rest(self) -> None:
        if not self._is_rung:
            self._idle = self._loop.create_future()
            self._is_resting = True
            await self._idle
            self._is_resting = False

    async def _send_text(self, text: str) -> None:
        if self.is_closed:
            raise ConnectionResetError
        await self._send({"type": "websocket.send", "text": text})

    async def _close(self, code: int, reason: str) -> None:
        """Send the close frame; the reader then hears that the connection has ended."""
        if self.is_closed:
            return
        self.is_closed = True
        self._parts.hub.leave(self)
        if code in {BAD_FRAME, BAD_TOKEN, TOO_FAST}:
            logger().info(LogEvent.DEVICE_REFUSED, device=self.device, code=code, reason=_short(reason))
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": _short(reason)})
        except _GONE_AWAY:
            pass


def _short(reason: str) -> str:
    """Cut a reason to the 123 bytes a close frame has room for."""
    return reason.encode()[:120].decode("utf-8", "ignore")
