"""Listeners: a place in the feed under a name, that outlives whoever follows it, and has one holder at a time.

A name belongs to the reach of the token that opened it: tokens with the same applications share it, others neither see
nor meet it. What is followed is ``GET /1/events``; here is only kept how far.
"""

from collections.abc import Sequence
from typing import Final

import uuid_utils
from msgspec import UNSET

from homing.api.access import Doors
from homing.api.auth import Principal
from homing.api.feed import Apps, behind
from homing.api.feed_schema import (
    ListenerItems,
    ListenerOpen,
    ListenerProgress,
    ListenerReply,
    MovedListener,
    OpenedListener,
)
from homing.api.idempotency import apply_once
from homing.api.paging import cursor_of, instant_ms, number_in, page, text_in
from homing.api.ports import Vault
from homing.api.routes_apps import MANAGE
from homing.api.routes_messages import READ
from homing.api.routing import Call, Operation
from homing.api.schema import Nothing, Page
from homing.api.secrets import draw_secret
from homing.api.wire import NO_CONTENT, Answer, encode, reply
from homing.clock import RealClock
from homing.contract.notification import iso_utc
from homing.errors import Conflict, NotFound
from homing.model import Listener, listener_context
from homing.store.archive.port import Archive
from homing.store.changes import DeleteListener, MoveListener, OpenListener
from homing.store.port import Registry

LEASE_MS: Final = 30_000
"""How long a holder that says nothing more still holds."""


class Listeners:
    """The operations on listeners."""

    def __init__(self, registry: Registry, archive: Archive, doors: Doors, vault: Vault) -> None:
        self._registry = registry
        self._archive = archive
        self._doors = doors
        self._vault = vault
        # Who is alive is a matter of real time, wherever the node's clock was pushed to.
        self._clock = RealClock()

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        listener = "/1/listeners/{listener}"
        return (
            Operation(
                method="GET", path="/1/listeners", handler=self.list, query=Page, body=Nothing,
                answer=ListenerItems, status=200, summary="List the listeners of tokens with this reach",
                tag="Events", needs=READ,
            ),
            Operation(
                method="POST", path="/1/listeners", handler=self.open, query=Nothing, body=ListenerOpen,
                answer=OpenedListener, status=200, summary="Hold a listener, which is made if it is not there",
                tag="Events", needs=READ, errors=(Conflict, NotFound),
            ),
            Operation(
                method="POST", path=f"{listener}/progress", handler=self.progress, query=Nothing,
                body=ListenerProgress, answer=MovedListener, status=200,
                summary="Tell how far a listener is, and hold it on", tag="Events", needs=READ, errors=(Conflict,),
            ),
            Operation(
                method="DELETE", path=listener, handler=self.delete, query=Nothing, body=Nothing, answer=None,
                status=204, summary="Forget a listener, its place and its secret", tag="Events", needs=MANAGE,
            ),
        )  # fmt: skip

    async def list(self, call: Call, query: Page, _body: Nothing) -> Answer:
        """List them by name."""
        reach, after = _reach(call.principal), text_in(query.cursor)
        items, last = page(await self._registry.listeners(reach, after, query.limit + 1), query.limit)
        now_ms = self._clock.now_ms()
        shown = ListenerItems(
            items=tuple([_show(listener, now_ms) for listener in items]),
            next_cursor=None if last is None else cursor_of(last.name),
        )
        return reply(200, shown)

    async def open(self, call: Call, _query: Nothing, it: ListenerOpen) -> Answer:
        """Hold a listener and tell where it stands; a conflict names who holds it already."""
        reach = _reach(call.principal)
        apps = await self._apps(call.principal, it.mobile_app_ids)
        since_ms = instant_ms(it.since, "since")
        position = None if since_ms is None else await self._archive.feed_since(since_ms)
        context = listener_context(reach, it.name)
        sealed = self._vault.seal(draw_secret().encode("ascii"), context)
        lease = it.lease or str(uuid_utils.uuid4())
        now_ms = self._clock.now_ms()
        change = OpenListener(
            reach, it.name, apps, sealed, it.holder, lease, now_ms, now_ms + LEASE_MS, position, it.takeover
        )
        listener = (await self._registry.apply(change)).value
        assert isinstance(listener, Listener)
        count, is_exact = await behind(self._archive, apps or reach, listener.position)

        def show(*, with_secret: bool) -> OpenedListener:
            secret = self._vault.open(listener.secret, context).decode("ascii") if with_secret else UNSET
            return OpenedListener(
                name=listener.name,
                secret=secret,
                lease=listener.lease,
                held_until=iso_utc(listener.held_until_ms, "ms"),
                mobile_app_ids=listener.apps,
                cursor=cursor_of(listener.position),
                behind=count,
                behind_is_exact=is_exact,
                is_new=listener.secret == sealed,
            )

        if call.idempotency is not None:
            await self._registry.keep_answer(call.idempotency, encode(show(with_secret=False)))
        return reply(200, show(with_secret=True))

    async def progress(self, call: Call, _query: Nothing, it: ListenerProgress) -> Answer:
        """Move a listener on, never back, and hold it for another while; a conflict if somebody else does."""
        now_ms = self._clock.now_ms()
        until_ms = 0 if it.release else now_ms + LEASE_MS
        position = number_in(it.cursor) or 0
        change = MoveListener(
            _reach(call.principal), call.params["listener"], it.lease, position, now_ms, until_ms
        )

        def show(listener: Listener, _is_first: bool) -> MovedListener:
            return MovedListener(
                cursor=cursor_of(listener.position), held_until=_held_until(listener, now_ms)
            )

        return await apply_once(self._registry, call, change, show, status=200)

    async def delete(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Forget a listener; who holds it hears of it at its next progress."""
        await self._registry.apply(DeleteListener(_reach(call.principal), call.params["listener"]))
        return NO_CONTENT

    async def _apps(self, principal: Principal, wanted: Sequence[int] | None) -> Apps:
        """Return the applications that are asked for; `NotFound` for one out of reach."""
        if wanted is None:
            return None
        return tuple([(await self._doors.access_app(principal, app)).id for app in dict.fromkeys(wanted)])


def _reach(principal: Principal) -> Apps:
    return None if principal.apps is None else tuple(sorted(principal.apps))


def _held_until(listener: Listener, now_ms: int) -> str | None:
    return None if listener.held_until_ms <= now_ms else iso_utc(listener.held_until_ms, "ms")


def _show(listener: Listener, now_ms: int) -> ListenerReply:
    return ListenerReply(
        name=listener.name,
        holder=listener.holder,
        mobile_app_ids=listener.apps,
        cursor=cursor_of(listener.position),
        held_until=_held_until(listener, now_ms),
        created_at=iso_utc(listener.created_at_ms, "ms"),
    )
