"""Callback endpoints and inboxes of an application, and the log of the attempts to reach them."""

import asyncio

import uuid_utils
from msgspec import UnsetType

from homing.api import endpoint_options
from homing.api.access import Doors
from homing.api.endpoint_answers import AttemptItems, EndpointItems, EndpointReply
from homing.api.endpoint_schema import EndpointCreate, EndpointPatch
from homing.api.endpoint_shown import show_attempt, show_endpoint
from homing.api.idempotency import apply_once
from homing.api.paging import cursor_of, number_in, page, text_in
from homing.api.ports import CheckUrl, Vault
from homing.api.routes_apps import MANAGE, READ
from homing.api.routing import Call, Operation
from homing.api.schema import Nothing, Page
from homing.api.secrets import new_secret
from homing.api.wire import NO_CONTENT, Answer, reply
from homing.contract.status import Status, mask
from homing.errors import NotAcceptable, NotFound, UrlNotAllowed
from homing.model import Endpoint
from homing.store.archive.port import Archive
from homing.store.changes import CreateEndpoint, DeleteEndpoint, UpdateEndpoint
from homing.store.port import Registry


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
            items=tuple(show_endpoint(endpoint, self._vault) for endpoint in items),
            next_cursor=None if last is None else cursor_of(last.uid),
        )
        return reply(200, shown)

    async def create(self, call: Call, _query: Nothing, it: EndpointCreate) -> Answer:
        """Make an endpoint with a secret of its own; from its commit on events get a lane to it."""
        app = await self._doors.access_app(call.principal, call.params["appId"])
        _check_kind(it.kind, it.form)
        options, credentials = endpoint_options.given(it)
        warnings = tuple(await self._check_url(it.url, it.form))
        uid = str(uuid_utils.uuid7())
        secret, sealed = new_secret(self._vault, uid)

        def show(endpoint: Endpoint, is_first: bool) -> EndpointReply:
            return show_endpoint(
                endpoint, self._vault, secret=secret if is_first else None, warnings=warnings
            )

        statuses = it.statuses
        if statuses is not None and it.kind != "status":
            statuses = None  # only callbacks about outgoing messages have one
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
            options,
            endpoint_options.sealed(self._vault, uid, credentials),
            it.paused,
        )
        return await apply_once(self._registry, call, change, show)

    async def get(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show an endpoint."""
        return reply(200, show_endpoint(await self._endpoint(call), self._vault))

    async def patch(self, call: Call, _query: Nothing, it: EndpointPatch) -> Answer:
        """Change what the patch names; the next try of anything pending goes by it already."""
        now = await self._endpoint(call)
        form = now.form if isinstance(it.form, UnsetType) else it.form
        _check_kind(now.kind, form)
        warnings: list[str] = []
        if form != now.form or not isinstance(it.url, UnsetType):
            warnings = await self._check_url(now.url if isinstance(it.url, UnsetType) else it.url, form)
        async with self._patching:
            changed = await self._patched(await self._endpoint(call), it)
        return reply(200, show_endpoint(changed, self._vault, warnings=tuple(warnings)))

    async def _patched(self, now: Endpoint, it: EndpointPatch) -> Endpoint:
        precision = it.timestamp_precision
        before = endpoint_options.opened(self._vault, now)
        options, credentials = endpoint_options.patched(now, before, it)
        change = UpdateEndpoint(
            now.app,
            now.uid,
            now.url if isinstance(it.url, UnsetType) else it.url,
            now.form if isinstance(it.form, UnsetType) else it.form,
            now.statuses if isinstance(it.statuses, UnsetType) else _bits(it.statuses),
            now.precision if isinstance(precision, UnsetType) else precision or "s",
            now.description if isinstance(it.description, UnsetType) else it.description,
            options,
            endpoint_options.sealed(self._vault, now.uid, credentials),
            now.paused if isinstance(it.paused, UnsetType) else it.paused is True,
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
            items=tuple(show_attempt(attempt, endpoint) for attempt in items),
            next_cursor=None if last is None else cursor_of(last.id),
        )
        return reply(200, shown)

    async def _endpoint(self, call: Call) -> Endpoint:
        params = call.params
        return await self._doors.access_endpoint(call.principal, params["appId"], params["endpointId"])


def _bits(statuses: "list[Status] | None") -> int | None:
    return None if statuses is None else mask(statuses)


def _check_kind(kind: str, form: str) -> None:
    if kind == "operations" and form != "json":
        text = "an endpoint of kind operations takes JSON only"
        raise NotAcceptable(f"$.form: {text}", errors=(("$.form", text),))
