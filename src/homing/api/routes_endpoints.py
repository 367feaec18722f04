"""Callback endpoints and inboxes of an application, and the log of the attempts to reach them."""

import asyncio
import base64
import secrets
from typing import Final
from urllib.parse import urlsplit

import uuid_utils
from msgspec import UNSET, UnsetType

from homing.api.access import Doors
from homing.api.answers import AttemptItems, AttemptReply, AttemptRequest, EndpointItems, EndpointReply
from homing.api.idempotency import apply_once
from homing.api.paging import cursor_of, number_in, page, text_in
from homing.api.ports import CheckUrl, Vault
from homing.api.routes_apps import MANAGE, READ
from homing.api.routing import Call, Operation
from homing.api.schema import EndpointCreate, EndpointPatch, Nothing, Page
from homing.api.wire import NO_CONTENT, Answer, reply
from homing.callbacks.request import webhook_id
from homing.contract.notification import iso_utc
from homing.contract.status import STATUSES, Status, from_mask, mask
from homing.errors import NotFound, UrlNotAllowed
from homing.model import Endpoint, message_of, uuid_text
from homing.store.changes import CreateEndpoint, DeleteEndpoint, UpdateEndpoint
from homing.store.port import Archive, Registry
from homing.store.views import AttemptView

_CONTENT_TYPES: Final = {"form": "application/x-www-form-urlencoded", "json": "application/json"}


class Endpoints:
    """The operations on endpoints."""

    def __init__(
        self, registry: Registry, archive: Archive, doors: Doors, vault: Vault, check_url: CheckUrl
    ) -> None:
        self._registry = registry
        self._archive = archive
        self._doors = doors
        self._vault = vault
        self._check_url = check_url
        self._patching = asyncio.Lock()  # of two patches at once, neither undoes the other

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        endpoints, endpoint = "/1/apps/{appId}/endpoints", "/1/apps/{appId}/endpoints/{endpointId}"
        return (
            Operation(
                method="GET", path=endpoints, handler=self.list, query=Page, body=Nothing, answer=EndpointItems,
                status=200, summary="List callback endpoints and inboxes", tag="Endpoints", needs=READ,
            ),
            Operation(
                method="POST", path=endpoints, handler=self.create, query=Nothing, body=EndpointCreate,
                answer=EndpointReply, status=201, summary="Make a callback endpoint or an inbox",
                tag="Endpoints", needs=MANAGE, errors=(UrlNotAllowed,),
            ),
            Operation(
                method="GET", path=endpoint, handler=self.get, query=Nothing, body=Nothing,
                answer=EndpointReply, status=200, summary="Show an endpoint", tag="Endpoints", needs=READ,
            ),
            Operation(
                method="PATCH", path=endpoint, handler=self.patch, query=Nothing, body=EndpointPatch,
                answer=EndpointReply, status=200, summary="Change an endpoint (merge patch)", tag="Endpoints",
                needs=MANAGE, errors=(UrlNotAllowed,),
            ),
            Operation(
                method="DELETE", path=endpoint, handler=self.delete, query=Nothing, body=Nothing, answer=None,
                status=204, summary="Delete an endpoint and what it is still owed", tag="Endpoints",
                needs=MANAGE,
            ),
            Operation(
                method="GET", path=f"{endpoint}/attempts", handler=self.attempts, query=Page, body=Nothing,
                answer=AttemptItems, status=200, summary="Show the attempt log", tag="Endpoints", needs=READ,
            ),
        )  # fmt: skip

    async def list(self, call: Call, query: Page, _body: Nothing) -> Answer:
        """List an application's endpoints, oldest first."""
        app = await self._doors.access_app(call.principal, call.params["appId"])
        after = text_in(query.cursor)
        found = [endpoint for endpoint in await self._registry.endpoints(app.id) if endpoint.uid > after]
        items, last = page(found[: query.limit + 1], query.limit)
        shown = EndpointItems(
            items=tuple(show_endpoint(endpoint) for endpoint in items),
            next_cursor=None if last is None else cursor_of(last.uid),
        )
        return reply(200, shown)

    async def create(self, call: Call, _query: Nothing, it: EndpointCreate) -> Answer:
        """Make an endpoint with a secret of its own; from its commit on events get a lane to it."""
        app = await self._doors.access_app(call.principal, call.params["appId"])
        warnings = tuple(await self._check_url(it.url, it.form))
        uid = str(uuid_utils.uuid7())
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")
        sealed = self._vault.seal(secret.encode("ascii"), f"endpoint:{uid}")

        def show(endpoint: Endpoint, is_first: bool) -> EndpointReply:
            return show_endpoint(endpoint, secret if is_first else None, warnings)

        statuses = it.statuses
        if statuses is not None and it.kind == "inbox":
            statuses = None  # an inbox takes messages, which have no status
            call.ignored = (*call.ignored, "$.statuses")
        change = CreateEndpoint(
            app.id,
            uid,
            it.kind,
            it.url,
            it.form,
            sealed,
            _bits(statuses),
            it.timestamp_precision,
            it.description,
        )
        return await apply_once(self._registry, call, change, show)

    async def get(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show an endpoint."""
        return reply(200, show_endpoint(await self._endpoint(call)))

    async def patch(self, call: Call, _query: Nothing, it: EndpointPatch) -> Answer:
        """Change what the patch names; the next try of anything pending goes by it already."""
        now = await self._endpoint(call)
        warnings: list[str] = []
        if not isinstance(it.url, UnsetType):
            warnings = await self._check_url(it.url, now.form)
        async with self._patching:
            changed = await self._patched(await self._endpoint(call), it)
        return reply(200, show_endpoint(changed, warnings=tuple(warnings)))

    async def _patched(self, now: Endpoint, it: EndpointPatch) -> Endpoint:
        precision = it.timestamp_precision
        change = UpdateEndpoint(
            now.app,
            now.uid,
            now.url if isinstance(it.url, UnsetType) else it.url,
            now.form if isinstance(it.form, UnsetType) else it.form,
            now.statuses if isinstance(it.statuses, UnsetType) else _bits(it.statuses),
            now.precision if isinstance(precision, UnsetType) else precision or "s",
            now.description if isinstance(it.description, UnsetType) else it.description,
        )
        changed = (await self._registry.apply(change)).value
        if not isinstance(changed, Endpoint):
            raise NotFound("there is no such endpoint")
        return changed

    async def delete(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Delete an endpoint."""
        endpoint = await self._endpoint(call)
        await self._registry.apply(DeleteEndpoint(endpoint.app, endpoint.uid))
        return NO_CONTENT

    async def attempts(self, call: Call, query: Page, _body: Nothing) -> Answer:
        """Show what was tried and what came back, newest first."""
        endpoint = await self._endpoint(call)
        found = await self._archive.attempts(endpoint.id, number_in(query.cursor), query.limit + 1)
        items, last = page(found, query.limit)
        shown = AttemptItems(
            items=tuple(_show_attempt(attempt, endpoint) for attempt in items),
            next_cursor=None if last is None else cursor_of(last.id),
        )
        return reply(200, shown)

    async def _endpoint(self, call: Call) -> Endpoint:
        params = call.params
        return await self._doors.access_endpoint(call.principal, params["appId"], params["endpointId"])


def show_endpoint(
    endpoint: Endpoint, secret: str | None = None, warnings: tuple[str, ...] = ()
) -> EndpointReply:
    """Return what an answer says of an endpoint; its secret only where it was just made."""
    return EndpointReply(
        id=endpoint.uid,
        url=endpoint.url,
        form=endpoint.form,  # type: ignore[arg-type] # these four were checked when it was saved
        kind=endpoint.kind,  # type: ignore[arg-type]
        statuses=UNSET if endpoint.statuses is None else from_mask(endpoint.statuses),
        description=UNSET if endpoint.description is None else endpoint.description,
        timestamp_precision=endpoint.precision,  # type: ignore[arg-type]
        state=endpoint.state,  # type: ignore[arg-type]
        state_reason=endpoint.state_reason,
        secret=UNSET if secret is None else secret,
        created_at=iso_utc(endpoint.created_at_ms, "ms"),
        last_success_at=None
        if endpoint.last_success_at_ms is None
        else iso_utc(endpoint.last_success_at_ms, "ms"),
        warnings=warnings or UNSET,
    )


def _bits(statuses: "list[Status] | None") -> int | None:
    return None if statuses is None else mask(statuses)


def _show_attempt(view: AttemptView, endpoint: Endpoint) -> AttemptReply:
    attempt = view.attempt
    return AttemptReply(
        id=view.id,
        message_id=uuid_text(message_of(view.key)),
        seq=view.n,
        event=None if view.status is None else STATUSES[view.status],
        attempt=view.tries,
        started_at=iso_utc(attempt.at_ms, "ms"),
        duration_ms=attempt.took_ms,
        request=_request(view, endpoint),
        status=attempt.code or None,
        answer=None if attempt.answer is None else attempt.answer.decode("utf-8", "replace"),
        address=attempt.address,
        error=attempt.error,
    )


def _request(view: AttemptView, endpoint: Endpoint) -> AttemptRequest:
    """The request as the endpoint is set up now: its lines are not kept, the attempt log would double in size."""
    parts = urlsplit(endpoint.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "host": parts.netloc,
        "webhook-id": webhook_id(view.key, view.n, endpoint.id),
        "webhook-timestamp": str(view.attempt.at_ms // 1000),
        "webhook-signature": "[hidden]",
        "homing-sequence": str(view.n),
        "homing-attempt": str(view.tries),
    }
    if endpoint.form in _CONTENT_TYPES:
        headers["content-type"] = _CONTENT_TYPES[endpoint.form]
    method = "GET" if endpoint.form == "get" else "POST"
    return AttemptRequest(line=f"{method} {target} HTTP/1.1", headers=headers)
