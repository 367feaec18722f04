"""The API as one ASGI callable: finds the operation, checks who asks, reads, decodes, calls, answers.

Every request goes this one way, `POST /1/messages` included: what stands here is paid for each message.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import msgspec

from homing.api import routes_later
from homing.api.access import Doors
from homing.api.auth import Gatekeeper, Principal, parameter_in
from homing.api.decode import shape
from homing.api.feed import Arrivals
from homing.api.idempotency import HEADER, idempotency_of, recalled
from homing.api.messages import Sending
from homing.api.openapi import document
from homing.api.ports import CheckUrl, Engine, Ready, Settings, Tests, Vault
from homing.api.problems import problem_of
from homing.api.routes_apps import Apps
from homing.api.routes_endpoint_actions import EndpointActions
from homing.api.routes_endpoints import Endpoints
from homing.api.routes_events import Events
from homing.api.routes_jobs import Jobs
from homing.api.routes_listeners import Listeners
from homing.api.routes_messages import Messages
from homing.api.routes_public import Public
from homing.api.routes_tokens import OAUTH_PATH, Tokens, oauth_error
from homing.api.routes_users import Users
from homing.api.routing import Call, Operation, Router
from homing.api.schema import Nothing, Request
from homing.api.wire import Answer, Body, Disconnected, Receive, Scope, Send, Sent, require_json
from homing.clock import Clock
from homing.errors import HomingError
from homing.store.changes import Change
from homing.store.port import Archive, Registry
from homing.telemetry import LogEvent, logger

_JSON: Final = b"application/json"
_MAX_HEADER_CHARS: Final = 4000
_NOTHING: Final = Nothing()
_NOBODY: Final = Principal("", frozenset(), frozenset())


class Api:
    """The door for back ends. Call it as ASGI; all else is handed in (`ports`)."""

    def __init__(
        self,
        *,
        engine: Engine,
        registry: Registry,
        archive: Archive,
        vault: Vault,
        check_url: CheckUrl,
        ready: Ready,
        admin_digest: bytes,
        metrics_render: Callable[[], bytes],
        clock: Clock,
        tests: Tests,
        settings: Settings | None = None,
    ) -> None:
        """``admin_digest`` is the SHA-256 of the admin token's text; ``metrics_render`` gives the text exposition."""
        settings = settings or Settings()
        self._registry = registry
        self._gate = Gatekeeper(registry, clock, admin_digest)
        self._arrivals = Arrivals()
        self.on_committed = self._arrivals.on_committed
        """Hears of each commit (plug it into `Engine.on_committed`): it answers those who wait for events."""
        doors = Doors(registry, archive)
        public = Public(ready, metrics_render, lambda: self.openapi)
        self._sending = Sending(engine, registry, clock, vault, check_url)
        operations = (
            *self._sending.operations(),
            *Messages(engine, registry, archive, doors, clock).operations(),
            *Apps(registry, doors, vault).operations(),
            *Users(registry, doors).operations(),
            *Endpoints(registry, archive, doors, vault, check_url).operations(),
            *EndpointActions(registry, archive, doors, vault, tests, clock).operations(),
            *Jobs(registry, archive, doors, clock).operations(),
            *Events(archive, doors, self._gate, self._arrivals, settings.feed_looks_s).operations(),
            *Listeners(registry, archive, doors, vault).operations(),
            *Tokens(registry, doors, self._gate, settings, clock).operations(),
            *public.operations(),
            *routes_later.operations(),
        )
        self.operations: tuple[Operation[Request, Request], ...] = operations
        """All that is declared, for the router, the document and the tests."""
        self._base_url = settings.base_url
        self._router = Router(operations)

    def changed(self, change: Change, value: object) -> None:
        """Hear of a change of the registry (plug this into `Registry.watch`)."""
        self._sending.changed(change, value)

    def close(self) -> None:
        """Answer those who wait for events now; nobody waits from then on (the last step before the server stops)."""
        self._arrivals.close()

    @cached_property
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, as data."""
        return document(self.operations, self._base_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises for what a request can hold."""
        if scope["type"] != "http":
            await _refuse(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        body = Body(receive, headers)
        try:
            try:
                sent = Sent.of(await self._answer(scope, headers, body))
            except Disconnected:
                return
            except Exception as error:  # noqa: BLE001 - the border: whatever it was, the client gets an answer
                await body.drain()
                sent = _problem(error, scope)
        except Disconnected:
            return
        await sent.write(send, is_head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes], body: Body) -> Answer:
        method: str = scope["method"]
        path: str = scope["path"]
        raw_path: bytes = scope.get("raw_path") or path.encode()
        if method == "OPTIONS":
            return Answer(204, headers=((b"allow", self._router.allow(raw_path).encode()),))
        operation, params = self._router.find(method, raw_path)
        principal = _NOBODY if operation.is_public else await self._admit(operation, scope, headers)
        if operation.is_not_yet:
            return await operation.handler(
                Call(method, path, b"", headers, params, principal), _NOTHING, _NOTHING
            )
        has_body = operation.body is not Nothing
        if has_body and (headers.get(b"content-type") != _JSON or b"content-encoding" in headers):
            require_json(headers)
        raw = b"" if method == "GET" or method == "HEAD" else await body.read()  # noqa: PLR1714 - twice as fast
        query_string: bytes = scope["query_string"]
        call = Call(method, path, query_string, headers, params, principal, raw)
        if HEADER in headers and method == "POST" and not operation.is_public:
            call.idempotency = idempotency_of(headers, principal, method, path, raw)
            if not operation.is_recalled_by_engine:
                kept = await recalled(self._registry, call, operation.status)
                if kept is not None:
                    return kept
        query: Request = _NOTHING
        if operation.query is not Nothing:
            query = shape(operation.query).of_pairs(_without_token(query_string))
        if not has_body:
            return await operation.handler(call, query, _NOTHING)
        wanted = shape(operation.body)
        if not raw and method == "POST" and wanted.may_be_empty:
            raw = b"{}"
        it, ignored = wanted.of_json(raw)
        call.ignored = ignored
        answer = await operation.handler(call, query, it)
        return answer if not call.ignored else _telling(answer, call.ignored)

    async def _admit(
        self, operation: Operation[Request, Request], scope: Scope, headers: dict[bytes, bytes]
    ) -> Principal:
        authorization = headers.get(b"authorization")
        principal = self._gate.remembered(authorization)
        if principal is None:
            principal = await self._gate.admit(authorization, parameter_in(scope["query_string"]))
        if principal.scopes.isdisjoint(operation.needs):
            principal.require(operation.needs)
        return principal


def _without_token(query: bytes) -> bytes:
    if b"access_token=" not in query:
        return query
    return b"&".join(pair for pair in query.split(b"&") if not pair.startswith(b"access_token="))


def _telling(answer: Answer, ignored: tuple[str, ...]) -> Answer:
    """The answer with the header that names what was not looked at."""
    text = ", ".join(ignored)
    if len(text) > _MAX_HEADER_CHARS:
        text = text[:_MAX_HEADER_CHARS].rpartition(", ")[0]
    told = (b"homing-ignored", text.encode("ascii", "replace"))
    return msgspec.structs.replace(answer, headers=(*answer.headers, told))


def _problem(error: Exception, scope: Scope) -> Sent:
    """The answer to an error: a `HomingError` says what it is; whatever else is a fault of ours, and is logged."""
    method, path = scope["method"], scope["path"]
    if not isinstance(error, HomingError):
        logger().error(LogEvent.REQUEST_FAILED, method=method, path=path, exc_info=error)
    else:
        # Not at info: what strangers send must not fill the operator's disk.
        logger().debug(
            LogEvent.REQUEST_REFUSED, method=method, path=path, code=error.code, detail=error.detail
        )
    status, headers, body = problem_of(error, oauth=oauth_error(error) if path == OAUTH_PATH else None)
    return Sent(status, headers, body)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """There is no WebSocket here; and to a server's lifespan there is nothing to say."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
