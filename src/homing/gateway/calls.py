"""The device's plain HTTP calls: which there are, who may make them, what each answers."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs

import msgspec

from homing.errors import (
    HomingError,
    InvalidRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    RateLimited,
    Unauthorized,
)
from homing.gateway.exchange import (
    NO_CONTENT,
    Answer,
    Disconnected,
    bearer,
    decode,
    problem,
    read_body,
    reply,
)
from homing.gateway.exchange import write as write_answer
from homing.gateway.frames import SendMessage, refusal
from homing.gateway.incoming import take_in
from homing.gateway.limits import Buckets
from homing.gateway.login import Login, LoginRequest, PushTokenRequest, push_token
from homing.gateway.longpoll import MAX_WAIT_S, LongPoll, ReceiptsRequest
from homing.gateway.parts import Parts
from homing.gateway.ports import Receive, Scope, Send
from homing.gateway.tokens import digest, looks_right
from homing.model import Device, uuid_text
from homing.store.changes import RemoveDevice
from homing.telemetry import LogEvent, logger

CALL_BURST: Final = 200
CALLS_PER_S: Final = 50
"""Calls of one device; beyond them 429."""
IDS_PER_CALL: Final = 8
"""So many receipts count like one more call."""

Handler = Callable[[Scope, bytes], Awaitable[Answer]]


class _SentAnswer(msgspec.Struct, frozen=True, rename="camel"):
    message_id: str


class Calls:
    """Answers whatever comes under ``/device`` and is no WebSocket."""

    def __init__(self, parts: Parts, login: Login, polls: LongPoll) -> None:
        self._parts = parts
        self._login = login
        self._polls = polls
        self._pace = Buckets(CALL_BURST, CALLS_PER_S)
        self.in_flight = 0
        """Calls that are being worked on, polls that wait among them."""
        not_yet: dict[str, Handler] = {"GET": self._not_yet, "POST": self._not_yet}
        self._routes: dict[str, dict[str, Handler]] = {
            "/device/1/sessions": {"POST": self._log_in},
            "/device/1/session": {"DELETE": self._log_out},
            "/device/1/push-token": {"PUT": self._set_push_token},
            "/device/1/messages": {"GET": self._poll, "POST": self._take_in},
            "/device/1/receipts": {"POST": self._receipts},
            "/device/1/attachments": not_yet,
            "/device/1/connect": {"GET": self._no_socket},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        self.in_flight += 1
        try:
            answer = await self._answer(scope, receive)
        except Disconnected:
            return
        finally:
            self.in_flight -= 1
        await write_answer(send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            body = await read_body(receive)
            return await self._find(scope)(scope, body)
        except Disconnected:
            raise
        except HomingError as error:
            if error.http_status >= 500:
                logger().warning(LogEvent.REQUEST_FAILED, path=scope["path"], error=repr(error))
            return problem(error)
        except Exception as error:  # noqa: BLE001 - ours: the device gets no traceback, the operator does
            logger().error(LogEvent.REQUEST_FAILED, path=scope["path"], exc_info=error)
            return problem(error)

    def _find(self, scope: Scope) -> Handler:
        path: str = scope["path"]
        if path.startswith("/device/1/attachments/"):
            path = "/device/1/attachments"
        methods = self._routes.get(path)
        if methods is None:
            raise NotFound("there is nothing at this path")
        handler = methods.get(scope["method"])
        if handler is None:
            allow = ", ".join(sorted(methods))
            raise MethodNotAllowed(f"this path takes {allow}", allow=allow)
        return handler

    async def _device(self, scope: Scope) -> Device:
        token = bearer(scope)
        if token is None:
            raise Unauthorized("send the device's token: Authorization: Bearer TOKEN")
        device = await self._parts.devices.device(digest(token)) if looks_right(token) else None
        if device is None:
            raise Unauthorized("this device is not logged in (any more)")
        now_s = asyncio.get_running_loop().time()
        wait_s = self._pace.of(device.id, now_s).take(1, now_s)
        if wait_s > 0:
            raise RateLimited("too many calls; wait", retry_after_s=math.ceil(wait_s))
        return device

    async def _log_in(self, scope: Scope, body: bytes) -> Answer:
        client = scope.get("client")
        logged_in = await self._login.log_in(decode(scope, body, LoginRequest), client[0] if client else "")
        return reply(201, logged_in)

    async def _log_out(self, scope: Scope, _body: bytes) -> Answer:
        device = await self._device(scope)
        await self._parts.devices.apply(RemoveDevice(device.id))
        return NO_CONTENT

    async def _set_push_token(self, scope: Scope, body: bytes) -> Answer:
        device = await self._device(scope)
        await self._parts.devices.apply(push_token(device.id, decode(scope, body, PushTokenRequest)))
        return NO_CONTENT

    async def _poll(self, scope: Scope, _body: bytes) -> Answer:
        device = await self._device(scope)
        query = _query(scope)
        polled = await self._polls.poll(
            device,
            cursor=_number(query, "cursor", 2**63 - 1),
            epoch=query["epoch"][-1] if "epoch" in query else None,
            wait_s=_number(query, "wait", MAX_WAIT_S),
        )
        return reply(200, polled)

    async def _receipts(self, scope: Scope, body: bytes) -> Answer:
        device = await self._device(scope)
        request = decode(scope, body, ReceiptsRequest)
        now_s = asyncio.get_running_loop().time()
        # A long list is taken, and paid for by a pause after it.
        self._pace.of(device.id, now_s).take(
            (len(request.received) + len(request.read)) // IDS_PER_CALL, now_s
        )
        await self._polls.receipts(device, request)
        return NO_CONTENT

    async def _take_in(self, scope: Scope, body: bytes) -> Answer:
        device = await self._device(scope)
        message = decode(scope, body, SendMessage)
        if (fault := refusal(message)) is not None:
            raise NotAcceptable(fault)
        message_id = await take_in(self._parts.recorder, device, message)
        return reply(201, _SentAnswer(uuid_text(message_id)))

    async def _not_yet(self, scope: Scope, _body: bytes) -> Answer:
        await self._device(scope)
        raise NotAcceptable("attachments: not yet")

    async def _no_socket(self, _scope: Scope, _body: bytes) -> Answer:
        raise InvalidRequest("this path takes a WebSocket")


def _query(scope: Scope) -> dict[str, list[str]]:
    try:
        return parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=16)
    except ValueError:
        raise InvalidRequest("there are too many parameters") from None


def _number(query: dict[str, list[str]], name: str, most: int) -> int:
    """Return a query parameter, 0 without it; `InvalidRequest` unless it is a number, `NotAcceptable` beyond ``most``."""
    text = query.get(name, ["0"])[-1]
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"{name} must be a number")
    if len(text) > 19 or int(text) > most:
        raise NotAcceptable(f"{name} must be 0 to {most}")
    return int(text)
