"""Applications: whose users, messages and endpoints are their own."""

import asyncio
import base64
import secrets
import time

from msgspec import UNSET, UnsetType

from homing.api.access import Doors, app_number
from homing.api.answers import AppItems, AppReply, FallbackReply
from homing.api.endpoint_answers import SecretReply
from homing.api.endpoint_schema import Rotate
from homing.api.idempotency import apply_once
from homing.api.paging import cursor_of, number_in, page
from homing.api.ports import Vault
from homing.api.routing import Call, Operation
from homing.api.schema import AppCreate, AppFallback, AppFallbackPatch, AppPatch, Nothing, Page
from homing.api.secrets import draw_secret
from homing.api.wire import NO_CONTENT, Answer, reply
from homing.callbacks.directory import app_context
from homing.contract.notification import iso_utc
from homing.errors import Conflict, Forbidden
from homing.model import App, FallbackSettings
from homing.store.changes import CreateApp, DeleteApp, RotateAppSecret, UpdateApp
from homing.store.port import Registry

READ = ("read", "manage")
MANAGE = ("manage",)


class Apps:
    """The operations on applications."""

    def __init__(self, registry: Registry, doors: Doors, vault: Vault) -> None:
        self._registry = registry
        self._doors = doors
        self._vault = vault
        self._patching = asyncio.Lock()  # of two patches at once, neither undoes the other

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        return (
            Operation(
                method="GET", path="/1/apps", handler=self.list, query=Page, body=Nothing, answer=AppItems,
                status=200, summary="List applications", tag="Applications", needs=READ,
            ),
            Operation(
                method="POST", path="/1/apps", handler=self.create, query=Nothing, body=AppCreate,
                answer=AppReply, status=201, summary="Make an application", tag="Applications", needs=MANAGE,
                errors=(Conflict,),
            ),
            Operation(
                method="GET", path="/1/apps/{appId}", handler=self.get, query=Nothing, body=Nothing,
                answer=AppReply, status=200, summary="Show an application", tag="Applications", needs=READ,
            ),
            Operation(
                method="PATCH", path="/1/apps/{appId}", handler=self.patch, query=Nothing, body=AppPatch,
                answer=AppReply, status=200, summary="Change an application (merge patch)", tag="Applications",
                needs=MANAGE,
            ),
            Operation(
                method="DELETE", path="/1/apps/{appId}", handler=self.delete, query=Nothing, body=Nothing,
                answer=None, status=204, summary="Delete an application with its users, devices and endpoints",
                tag="Applications", needs=MANAGE,
            ),
            Operation(
                method="POST", path="/1/apps/{appId}/rotate-callback-secret", handler=self.rotate, query=Nothing,
                body=Rotate, answer=SecretReply, status=200,
                summary="Make a new secret for messages with a callback of their own", tag="Applications",
                needs=MANAGE,
            ),
        )  # fmt: skip

    async def list(self, call: Call, query: Page, _body: Nothing) -> Answer:
        """List the applications within reach, by id."""
        after, reach = number_in(query.cursor) or 0, call.principal.apps
        if reach is None:
            found = await self._registry.apps(after, query.limit + 1)
        else:
            looked_up = [await self._registry.app(app) for app in sorted(reach) if app > after]
            found = [app for app in looked_up if app is not None]
        items, last = page(found[: query.limit + 1], query.limit)
        shown = AppItems(
            items=tuple(show_app(app) for app in items),
            next_cursor=None if last is None else cursor_of(last.id),
        )
        return reply(200, shown)

    async def create(self, call: Call, _query: Nothing, it: AppCreate) -> Answer:
        """Make an application; a token that reaches only some could not reach the new one, so it may not."""
        if call.principal.apps is not None:
            raise Forbidden('only a token for "all" applications makes new ones')
        change = CreateApp(
            it.name, _app_key(), it.id, it.mode, it.ttl_seconds, _settings(it.fallback or AppFallback())
        )
        return await apply_once(self._registry, call, change, lambda app, _is_first: show_app(app))

    async def get(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show an application."""
        return reply(200, show_app(await self._doors.access_app(call.principal, call.params["appId"])))

    async def patch(self, call: Call, _query: Nothing, it: AppPatch) -> Answer:
        """Change what the patch names."""
        async with self._patching:
            app = await self._doors.access_app(call.principal, call.params["appId"])
            change = UpdateApp(
                app.id,
                app.name if isinstance(it.name, UnsetType) else it.name,
                app.mode if isinstance(it.mode, UnsetType) else it.mode or "live",
                app.ttl_s if isinstance(it.ttl_seconds, UnsetType) else it.ttl_seconds,
                _merged(app.fallback, it.fallback),
            )
            changed = (await self._registry.apply(change)).value
        assert isinstance(changed, App)
        return reply(200, show_app(changed))

    async def delete(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Delete an application."""
        app = app_number(call.params["appId"], call.principal)
        await self._doors.access_app(call.principal, app)
        await self._registry.apply(DeleteApp(app))
        return NO_CONTENT

    async def rotate(self, call: Call, _query: Nothing, it: Rotate) -> Answer:
        """Make a new callback secret; the one before signs as well until its grace is over (real time)."""
        app = await self._doors.access_app(call.principal, call.params["appId"])
        secret = draw_secret()
        until_ms = None
        if it.grace_seconds and app.callback_secret is not None:
            until_ms = int((time.time() + it.grace_seconds) * 1000)

        def show(changed: App, is_first: bool) -> SecretReply:
            ends_ms = changed.previous_until_ms
            ends = None if ends_ms is None else iso_utc(ends_ms, "ms")
            return SecretReply(secret=secret if is_first else UNSET, previous_valid_until=ends)

        sealed = self._vault.seal(secret.encode("ascii"), app_context(app.id))
        return await apply_once(self._registry, call, RotateAppSecret(app.id, sealed, until_ms), show, 200)


def show_app(app: App) -> AppReply:
    """Return what an answer says of an application."""
    fallback = app.fallback
    return AppReply(
        id=app.id,
        name=app.name,
        mode=app.mode,  # type: ignore[arg-type] # checked when it was made
        ttl_seconds=UNSET if app.ttl_s is None else app.ttl_s,
        fallback=FallbackReply(
            mode=fallback.mode or "off",  # type: ignore[arg-type] # as above
            on_undelivered_seconds=_or_unset(fallback.on_undelivered_seconds),
            on_unread_seconds=_or_unset(fallback.on_unread_seconds),
            sender=UNSET if fallback.sender is None else fallback.sender,
            default_region=UNSET if fallback.default_region is None else fallback.default_region,
        ),
        app_key=app.app_key,
        created_at=iso_utc(app.created_at_ms, "ms"),
    )


def _app_key() -> str:
    """Draw an app key: it names the application to devices, and guessing one should not be worth trying."""
    return "app_" + base64.b32encode(secrets.token_bytes(20)).decode("ascii").lower()


def _or_unset(value: int | None) -> int | UnsetType:
    return UNSET if value is None else value


def _settings(it: AppFallback) -> FallbackSettings:
    return FallbackSettings(
        it.mode,
        it.on_undelivered_seconds,
        it.on_unread_seconds,
        sender=it.sender,
        default_region=it.default_region,
    )


def _merged(now: FallbackSettings, patch: AppFallbackPatch | UnsetType | None) -> FallbackSettings:
    if isinstance(patch, UnsetType):
        return now
    if patch is None:
        return FallbackSettings(mode="off")
    return FallbackSettings(
        now.mode if isinstance(patch.mode, UnsetType) else patch.mode or "off",
        _new(patch.on_undelivered_seconds, now.on_undelivered_seconds),
        _new(patch.on_unread_seconds, now.on_unread_seconds),
        sender=now.sender if isinstance(patch.sender, UnsetType) else patch.sender,
        default_region=now.default_region
        if isinstance(patch.default_region, UnsetType)
        else patch.default_region,
    )


def _new(patched: int | UnsetType | None, now: int | None) -> int | None:
    return now if isinstance(patched, UnsetType) else patched
