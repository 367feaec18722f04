"""What anyone may ask: is it alive, is it ready, its metrics, its documentation."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from homing.api import pages
from homing.api.answers import HealthReply, ReadyReply
from homing.api.ports import Ready
from homing.api.routing import Call, Operation
from homing.api.schema import Nothing
from homing.api.wire import NO_STORE, Answer, encode, reply

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_HTML: Final = b"text/html; charset=utf-8"


class Public:
    """The operations that need no token."""

    def __init__(
        self, ready: Ready, metrics_render: Callable[[], bytes], openapi: Callable[[], dict[str, Any]]
    ) -> None:
        """``openapi`` gives the document; it is asked for when somebody wants to see it."""
        self._ready = ready
        self._metrics_render = metrics_render
        self._openapi = openapi

    def health_operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What every node answers."""
        return (
            Operation(
                method="GET", path="/healthz", handler=self.health, query=Nothing, body=Nothing,
                answer=HealthReply, status=200, summary="The process is alive", tag="Operation", is_public=True,
            ),
            Operation(
                method="GET", path="/readyz", handler=self.ready, query=Nothing, body=Nothing,
                answer=ReadyReply, status=200, summary="Work can be taken; if not, 503 and why",
                tag="Operation", is_public=True, also_answers=(503,),
            ),
            Operation(
                method="GET", path="/metrics", handler=self.metrics, query=Nothing, body=Nothing, answer=None,
                status=200, summary="Metrics for Prometheus", tag="Operation", is_public=True,
                media_type=_METRICS_TYPE,
            ),
        )  # fmt: skip

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # as above
        """What is declared here."""
        return (
            *self.health_operations(),
            Operation(
                method="GET", path="/openapi.json", handler=self.openapi, query=Nothing, body=Nothing,
                answer=None, status=200, summary="This document", tag="Operation", is_public=True,
            ),
            Operation(
                method="GET", path="/docs", handler=self.docs, query=Nothing, body=Nothing, answer=None,
                status=200, summary="This document, for people", tag="Operation", is_public=True,
                media_type=_HTML.decode(),
            ),
            Operation(
                method="GET", path="/", handler=self.home, query=Nothing, body=Nothing, answer=None, status=200,
                summary="Where to go from here", tag="Operation", is_public=True, media_type=_HTML.decode(),
            ),
        )  # fmt: skip

    async def health(self, _call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Say that this process answers."""
        return reply(200, HealthReply(status="ok"), NO_STORE)

    async def ready(self, _call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Say whether work can be taken."""
        reasons = tuple(self._ready())
        return reply(503 if reasons else 200, ReadyReply(ready=not reasons, reasons=reasons), NO_STORE)

    async def metrics(self, _call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Give the metrics in the text format."""
        return Answer(200, self._metrics_render(), (NO_STORE,), _METRICS_TYPE.encode())

    async def openapi(self, _call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Give the OpenAPI document."""
        return Answer(200, self._document)

    async def docs(self, _call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show the OpenAPI document."""
        return Answer(200, self._docs, pages.SAFETY, _HTML)

    async def home(self, _call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show where to go from here."""
        return Answer(200, pages.home(), pages.SAFETY, _HTML)

    @cached_property
    def _document(self) -> bytes:
        return encode(self._openapi())

    @cached_property
    def _docs(self) -> bytes:
        return pages.docs(self._openapi())
