"""Messages: what they came to, what their callbacks came to, why, and taking them back. Sending is in `messages`."""

from typing import Final

from msgspec import UNSET

from homing.api.access import Doors
from homing.api.answers import (
    CallbackItems,
    CallbackReply,
    EventReply,
    ExplainedRecipient,
    ExplainReply,
    MessageItems,
    MessageReply,
    RecipientReply,
    SentenceReply,
)
from homing.api.paging import cursor_of, id_in, instant_ms, page
from homing.api.ports import Engine
from homing.api.routing import Call, Operation
from homing.api.schema import MessageList, Nothing
from homing.api.wire import Answer, encode, reply
from homing.clock import Clock
from homing.contract.notification import iso_utc
from homing.contract.status import NUMBER, STATUSES, Status
from homing.errors import Conflict, NotFound
from homing.identifiers import fold_identifier
from homing.lifecycle.dispatch import Fallback, Message, Recalled
from homing.lifecycle.explain import CallbackFacts, Facts, explain
from homing.model import DispatchKey, Endpoint, EndpointState, uuid_text
from homing.store.archive.port import Archive
from homing.store.batch import Occurrence
from homing.store.port import Registry
from homing.store.views import CallbackView, DispatchView, MessageQuery, MessageView

READ: Final = ("read",)
ID_EARLIER_MS: Final = 5_000
"""How much older than ``createdAt`` a message's id may be: it is drawn before the message waits to be stored. The
store looks by ids, so a little more is asked for and what does not fit is left out: a page may be short."""


class Messages:
    """The operations on messages that exist."""

    def __init__(
        self, engine: Engine, registry: Registry, archive: Archive, doors: Doors, clock: Clock
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._archive = archive
        self._doors = doors
        self._clock = clock

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        message = "/1/messages/{messageId}"
        return (
            Operation(
                method="GET", path="/1/messages", handler=self.list, query=MessageList, body=Nothing,
                answer=MessageItems, status=200, summary="List messages, newest first", tag="Messages",
                needs=READ, is_compatible=True, errors=(NotFound,),
            ),
            Operation(
                method="GET", path=message, handler=self.get, query=Nothing, body=Nothing, answer=MessageReply,
                status=200, summary="Show a message and all that happened to it", tag="Messages", needs=READ,
            ),
            Operation(
                method="GET", path=f"{message}/callbacks", handler=self.callbacks, query=Nothing, body=Nothing,
                answer=CallbackItems, status=200, summary="Show how far each endpoint was told", tag="Messages",
                needs=READ,
            ),
            Operation(
                method="GET", path=f"{message}/explain", handler=self.explain, query=Nothing, body=Nothing,
                answer=ExplainReply, status=200, summary="Tell why a message is where it is, and what is next",
                tag="Messages", needs=READ,
            ),
            Operation(
                method="POST", path=f"{message}/expire", handler=self.expire, query=Nothing, body=Nothing,
                answer=MessageReply, status=200, summary="Take a message back where it was not delivered",
                tag="Messages", needs=("send",), errors=(Conflict,),
            ),
        )  # fmt: skip

    async def list(self, call: Call, query: MessageList, _body: Nothing) -> Answer:
        """List the messages of the applications within reach."""
        apps = None if call.principal.apps is None else tuple(sorted(call.principal.apps))
        if query.mobile_app_id is not None:
            apps = ((await self._doors.access_app(call.principal, query.mobile_app_id)).id,)
        since_ms, until_ms = instant_ms(query.since, "since"), instant_ms(query.until, "until")
        wanted = MessageQuery(
            apps=apps,
            recipient_folded=None if query.recipient is None else fold_identifier(query.recipient),
            ref=query.message_ref,
            status=None if query.status is None else NUMBER[query.status],
            since_ms=None if since_ms is None else since_ms - ID_EARLIER_MS,
            until_ms=until_ms,
            before=id_in(query.cursor),
            limit=query.limit + 1,
        )
        items, last = page(await self._archive.messages(wanted), query.limit)
        shown = MessageItems(
            items=tuple(
                show_message(message)
                for message in items
                if (since_ms is None or message.created_at_ms >= since_ms)
                and (until_ms is None or message.created_at_ms < until_ms)
            ),
            next_cursor=None if last is None else cursor_of(last.id),
        )
        return reply(200, shown)

    async def get(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show a message."""
        return reply(200, show_message(await self._message(call)))

    async def callbacks(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show, per recipient and endpoint, which statuses were told and which are still owed."""
        message = await self._message(call)
        dispatches = {dispatch.key: dispatch for dispatch in message.dispatches}
        views = await self._archive.callbacks(message.id)
        shown = CallbackItems(
            items=tuple(
                _show_callback(view, dispatches[view.key]) for view in views if view.key in dispatches
            )
        )
        return reply(200, shown)

    async def explain(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Say in sentences what is known."""
        message = await self._message(call)
        views = await self._archive.callbacks(message.id)
        endpoints = {endpoint.uid: endpoint for endpoint in await self._registry.endpoints(message.app)}
        recipients = []
        for dispatch in message.dispatches:
            told = tuple(
                _told(view, endpoints.get(view.endpoint_uid)) for view in views if view.key == dispatch.key
            )
            sentences = explain(await self._facts(dispatch, told))
            recipients.append(
                ExplainedRecipient(
                    identifier=dispatch.facts.identifier,
                    explanation=tuple(SentenceReply(key=key, text=text) for key, text in sentences),
                )
            )
        return reply(200, ExplainReply(message_id=uuid_text(message.id), recipients=tuple(recipients)))

    async def expire(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Recall: `expired` now for whom it did not reach; a conflict if that is nobody."""
        message = await self._message(call)
        results = await self._engine.record(
            [Occurrence(DispatchKey(dispatch.key), Recalled()) for dispatch in message.dispatches]
        )
        if not any(
            result.state is not None and result.state.message == Message.EXPIRED for result in results
        ):
            raise Conflict("there is nobody left from whom it could be taken back: it was delivered")
        answer = encode(show_message(await self._message(call)))
        if call.idempotency is not None:
            await self._registry.keep_answer(call.idempotency, answer)
        return Answer(200, answer)

    async def _message(self, call: Call) -> MessageView:
        return await self._doors.access_message(call.principal, call.params["messageId"])

    async def _facts(self, dispatch: DispatchView, told: tuple[CallbackFacts, ...]) -> Facts:
        devices = [] if dispatch.recipient is None else await self._registry.devices(dispatch.recipient)
        number = dispatch.facts.fallback_ref
        return Facts(
            state=dispatch.state,
            identifier=dispatch.facts.identifier,
            now_ms=self._clock.now_ms(),
            devices=len(devices),
            platforms=tuple(device.platform for device in devices),
            last_seen_ms=max((device.last_seen_at_ms for device in devices), default=None),
            has_number=number is not None,
            masked_number=None if number is None else _masked(number),
            notes=tuple(line.code for line in dispatch.history),
            events=tuple((STATUSES[event.status], event.at_ms) for event in dispatch.events),
            callbacks=told,
        )


def show_message(message: MessageView) -> MessageReply:
    """Return what an answer says of a message."""
    return MessageReply(
        message_id=uuid_text(message.id),
        created_at=iso_utc(message.created_at_ms, "ms"),
        expires_at=iso_utc(message.expires_at_ms, "ms"),
        mobile_app_id=message.app,
        text=message.body.text,
        message_ref=UNSET if message.ref is None else message.ref,
        recipients=tuple(_show_dispatch(dispatch) for dispatch in message.dispatches),
    )


def _show_dispatch(dispatch: DispatchView) -> RecipientReply:
    state, facts = dispatch.state, dispatch.facts
    return RecipientReply(
        identifier=facts.identifier,
        recipient_ref=UNSET if facts.recipient_ref is None else facts.recipient_ref,
        status=STATUSES[dispatch.events[-1].status],
        message=Message(state.message).name.lower(),  # type: ignore[arg-type] # a test compares the names
        fallback=Fallback(state.fallback).name.lower(),  # type: ignore[arg-type]
        events=tuple(
            EventReply(seq=event.n, status=STATUSES[event.status], timestamp=iso_utc(event.at_ms, "ms"))
            for event in dispatch.events
        ),
    )


def _show_callback(view: CallbackView, dispatch: DispatchView) -> CallbackReply:
    said = {event.n: STATUSES[event.status] for event in dispatch.events}
    return CallbackReply(
        identifier=view.identifier,
        endpoint_id=view.endpoint_uid,
        state=_state(view),  # type: ignore[arg-type] # one of the five
        pending=_statuses(view.pending, said),
        settled=_statuses(view.settled, said),
        dead=_statuses(view.dead, said),
        next_try_at=None if view.due_ms is None else iso_utc(view.due_ms, "ms"),
        tries=view.tries,
    )


def _state(view: CallbackView) -> str:
    if view.pending:
        if view.owned:
            return "in_flight"
        return "retrying" if view.tries else "waiting"
    return "dead" if view.dead else "done"


def _statuses(bits: int, said: dict[int, Status]) -> tuple[Status, ...]:
    return tuple(status for n, status in said.items() if bits >> (n - 1) & 1)


def _told(view: CallbackView, endpoint: Endpoint | None) -> CallbackFacts:
    return CallbackFacts(
        "the message's own notifyCallback" if endpoint is None else endpoint.description or endpoint.url,
        view.settled.bit_count(),
        (view.pending | view.settled | view.dead).bit_count(),
        view.due_ms,
        view.dead.bit_count(),
        None if endpoint is None or not view.pending else _held(endpoint),
    )


def _held(endpoint: Endpoint) -> str | None:
    """Why what an endpoint is still to be told waits, if it does for a reason of its own."""
    if endpoint.state == EndpointState.DISABLED:
        return f"is disabled ({endpoint.state_reason})"
    if endpoint.paused:
        return "is paused by its owner"
    if endpoint.state == EndpointState.RESTING:
        return f"rests and is asked now and then ({endpoint.state_reason})"
    return None


def _masked(number: str) -> str:
    """Enough of a number to recognise it by, and no more."""
    return f"{number[:3]}…{number[-2:]}" if len(number) > 7 else "…"
