"""The pull feed: all events of the token's applications, in an order behind which nothing can appear later."""

import asyncio
from typing import Final

from msgspec import UNSET

from homing.api.access import Doors
from homing.api.auth import Gatekeeper, Principal, parameter_in
from homing.api.feed import Apps, Arrivals, read
from homing.api.feed_schema import EventList, FeedEvent, FeedIncoming, FeedItems
from homing.api.paging import cursor_of, instant_ms, number_in
from homing.api.routes_messages import READ
from homing.api.routing import Call, Operation
from homing.api.schema import Nothing
from homing.api.wire import Answer, reply
from homing.contract.notification import iso_utc
from homing.contract.status import STATUSES
from homing.errors import NotAcceptable, NotFound
from homing.model import message_of, uuid_text
from homing.store.archive.port import Archive
from homing.store.batch import Facts
from homing.store.views import FeedItem, FeedPage

MAX_APPS: Final = 100
"""How many applications one question may name."""


class Events:
    """The operation on the feed."""

    def __init__(
        self,
        archive: Archive,
        doors: Doors,
        gate: Gatekeeper,
        arrivals: Arrivals,
        looks_s: float | None = None,
    ) -> None:
        self._archive = archive
        self._doors = doors
        self._gate = gate
        self._arrivals = arrivals
        self._looks_s = looks_s

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # as in the other routes
        """What is declared here."""
        return (
            Operation(
                method="GET", path="/1/events", handler=self.list, query=EventList, body=Nothing,
                answer=FeedItems, status=200, summary="Follow all events, oldest first", tag="Events", needs=READ,
                errors=(NotFound,),
            ),
        )  # fmt: skip

    async def list(self, call: Call, query: EventList, _body: Nothing) -> Answer:
        """Tell what lies behind a place; with ``wait`` also what comes there within so many seconds."""
        apps = await self._apps(call.principal, query.mobile_app_id)
        after = await self._start(query)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + query.wait
        with self._arrivals.waiting(apps) as waiter:
            while True:
                waiter.forget()
                page = await read(self._archive, apps, after, query.limit, incoming=query.incoming)
                left_s = until_s - loop.time()
                if page.items or not page.is_end or left_s <= 0 or self._arrivals.is_closed:
                    return reply(200, _show(page))
                after = page.last
                await waiter.news(left_s if self._looks_s is None else min(left_s, self._looks_s))
                # The token may have been revoked meanwhile: what came since is none of its business.
                await self._gate.admit(call.headers.get(b"authorization"), parameter_in(call.query))

    async def _apps(self, principal: Principal, named: str | None) -> Apps:
        """Return whose events are asked for; `NotFound` for an application out of reach."""
        if named is None:
            return None if principal.apps is None else tuple(sorted(principal.apps))
        wanted = dict.fromkeys(named.split(","))
        if len(wanted) > MAX_APPS:
            message = f"may name {MAX_APPS} applications"
            raise NotAcceptable(f"$.mobileAppId: {message}", errors=(("$.mobileAppId", message),))
        return tuple([(await self._doors.access_app(principal, one)).id for one in wanted])

    async def _start(self, query: EventList) -> int:
        since_ms = instant_ms(query.since, "since")
        place = number_in(query.cursor)
        if place is not None:
            return place
        return 0 if since_ms is None else await self._archive.feed_since(since_ms)


def _show(page: FeedPage) -> FeedItems:
    cursor = cursor_of(page.last)
    return FeedItems(
        items=tuple([_show_item(item) for item in page.items]),
        next_cursor=None if page.is_end else cursor,
        cursor=cursor,
    )


def _show_item(item: FeedItem) -> FeedEvent | FeedIncoming:
    facts = item.facts
    if isinstance(facts, Facts):
        return FeedEvent(
            cursor=cursor_of(item.position),
            seq=item.n,
            message_id=uuid_text(message_of(item.key)),
            recipient=facts.identifier,
            status=STATUSES[item.status],
            timestamp=iso_utc(item.at_ms, "ms"),
            mobile_app_id=item.app,
            message_ref=facts.message_ref or UNSET,
            recipient_ref=facts.recipient_ref or UNSET,
            fallback_ref=facts.fallback_ref or UNSET,
        )
    return FeedIncoming(
        cursor=cursor_of(item.position),
        message_id=uuid_text(message_of(item.key)),
        sender=facts.identifier,
        text=facts.text,
        channel=facts.channel or UNSET,
        in_reply_to=UNSET if facts.in_reply_to is None else uuid_text(facts.in_reply_to),
        timestamp=iso_utc(item.at_ms, "ms"),
        mobile_app_id=item.app,
    )
