"""One way through the house for every request: find the operation, check who asks, read, decode, call, answer.

What operations there are is handed in (`app`). `POST /1/messages` included: what stands here is paid for each message.
"""

from typing import Final

import msgspec

from homing.api.auth import Gatekeeper, Principal, parameter_in
from homing.api.decode import shape
from homing.api.idempotency import HEADER, idempotency_of, recalled
from homing.api.problems import problem_of
from homing.api.routes_tokens import OAUTH_PATH, oauth_error
from homing.api.routing import NOTHING_HERE, Call, Operation, Router
from homing.api.schema import Nothing, Request
from homing.api.wire import Answer, Body, Disconnected, Receive, Scope, Send, Sent, require_json
from homing.errors import HomingError
from homing.store.port import Registry
from homing.telemetry import LogEvent, logger

_JSON: Final = b"application/json"
_MAX_HEADER_CHARS: Final = 4000
_NOTHING: Final = Nothing()
_NOBODY: Final = Principal("", frozenset(), frozenset())


class Door:
    """Answers by a table of operations. Call it as ASGI."""

    def __init__(
        self,
        operations: "tuple[Operation[Request, Request], ...]",
        registry: Registry,
        gate: Gatekeeper | None,
        nothing_here: str = NOTHING_HERE,
    ) -> None:
        """``gate`` knows who asks; None where nobody needs a token. ``nothing_here`` answers all other paths."""
        self.operations = operations
        """All that is declared, for the router, the document and the tests."""
        self._registry = registry
        self._gate = gate
        self._router = Router(operations, nothing_here)

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
        gate = self._gate
        assert gate is not None  # whoever lets in only those with a token has one
        principal = gate.remembered(authorization)
        if principal is None:
            principal = await gate.admit(authorization, parameter_in(scope["query_string"]))
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
