"""The hot way in: `POST /1/messages`, from declared request to `Accept`, and its answer.

Every function here runs for every message: it must not look up, decode, encode or normalise anything twice.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import uuid_utils
from msgspec import UnsetType

from homing.api.access import app_number, no_such_app
from homing.api.answers import SentRecipient, SentReply
from homing.api.auth import Principal
from homing.api.idempotency import REPLAYED, recalled
from homing.api.notifying import Notifying
from homing.api.ports import CheckUrl, Engine, Vault
from homing.api.routing import Call, Operation
from homing.api.schema import Nothing, Recipient, SendFallback, SendRequest
from homing.api.wire import Answer, encode
from homing.clock import Clock
from homing.contract.notification import iso_utc
from homing.contract.status import STATUSES
from homing.errors import NotAcceptable, NotFound, UrlNotAllowed
from homing.identifiers import fold_identifier
from homing.model import Body, FallbackSettings, MessageId, uuid_text
from homing.store.batch import Accept, Accepted, Addressee, Idempotency, Notify
from homing.store.port import Registry

OFF: Final = FallbackSettings(mode="off")
"""What ``fallback: null`` means: none, whatever the application has."""


class Sending:
    """The operation that takes a message."""

    def __init__(
        self, engine: Engine, registry: Registry, clock: Clock, vault: Vault, check_url: CheckUrl
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._clock = clock
        self._notifying = Notifying(registry, vault, check_url)
        self.changed = self._notifying.changed
        self.forget = self._notifying.forget

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        return (
            Operation(
                method="POST", path="/1/messages", handler=self.send, query=Nothing, body=SendRequest,
                answer=SentReply, status=201, summary="Send a message", tag="Messages", needs=("send",),
                is_compatible=True, is_recalled_by_engine=True, errors=(NotFound, UrlNotAllowed),
            ),
        )  # fmt: skip

    async def send(self, call: Call, _query: Nothing, it: SendRequest) -> Answer:
        """Store a message; the answer goes out when it is on disk."""
        try:
            notify = None
            if it.notify_callback is not None:
                app = app_number(it.mobile_app_id, call.principal)
                notify = await self._notifying.of(app, it.notify_callback)
            accept = accept_of(it, call.principal, call.idempotency, self._clock.now_ms(), notify)
            accepted = await self._engine.accept(accept)
        except NotFound:
            # The application may have been deleted since this very request was answered.
            if (kept := await recalled(self._registry, call, 201)) is not None:
                return kept
            raise no_such_app() from None
        if accepted.replayed:
            return Answer(201, accepted.answer or b"", (REPLAYED,))
        return Answer(201, accepted.answer or render(accepted, accept.app, it.text))


def accept_of(
    it: SendRequest,
    principal: Principal,
    idempotency: Idempotency | None,
    now_ms: int,
    notify: Notify | None = None,
) -> Accept:
    """Return what the engine is to store.

    Raises `NotFound` for an application out of reach, `NotAcceptable` for a recipient named twice.
    """
    app = app_number(it.mobile_app_id, principal)
    addressees = tuple([_addressee(recipient) for recipient in it.recipients])
    if len(addressees) > 1:
        _refuse_repeated(addressees)
    fallback = it.fallback
    told = fallback if isinstance(fallback, SendFallback) else None
    body = Body(
        it.text,
        it.notification_text,
        it.channel or None,
        it.optional_data,
        it.devices_data,  # type: ignore[arg-type] # a dict of dicts is a dict of objects
        None if told is None else told.text,
        None if told is None else told.sender,
    )
    render = None if idempotency is None else renderer(app, it.text)
    return Accept(
        new_message_id(now_ms),
        app,
        it.message_ref or None,
        body,
        addressees,
        it.ttl_seconds,
        _settings(fallback),
        idempotency,
        render,
        notify,
    )


def new_message_id(now_ms: int) -> MessageId:
    """Draw a UUIDv7 of our clock's time, by which messages are found and kept; ascending within a millisecond."""
    return MessageId(now_ms.to_bytes(6, "big") + uuid_utils.uuid7().bytes[6:])


def renderer(app: int, text: str) -> Callable[[Accepted], bytes]:
    """Return what makes the answer of a message that was accepted; pure, so a repeated key gets the same bytes."""
    return lambda accepted: render(accepted, app, text)


def render(accepted: Accepted, app: int, text: str) -> bytes:
    """Return the body of the answer."""
    return encode(
        SentReply(
            message_id=uuid_text(accepted.message_id),
            created_at=_time(accepted.created_at_ms),
            mobile_app_id=app,
            text=text,
            recipients=tuple(
                [
                    SentRecipient(identifier=identifier, status=STATUSES[number])
                    for identifier, number in accepted.recipients
                ]
            ),
        )
    )


def _addressee(it: Recipient) -> Addressee:
    identifier, override = it.identifier, it.override
    if override is None:
        return Addressee(identifier, fold_identifier(identifier), it.recipient_ref or None)
    return Addressee(
        identifier,
        fold_identifier(identifier),
        it.recipient_ref or None,
        override.text,
        override.mobile_number,
    )


def _refuse_repeated(addressees: tuple[Addressee, ...]) -> None:
    """A recipient that is named twice, in whatever spelling, would be told everything twice."""
    seen: dict[str, int] = {}
    for position, addressee in enumerate(addressees):
        first = seen.setdefault(addressee.folded, position)
        if first != position:
            path = f"$.recipients[{position}].identifier"
            message = f"names the same recipient as $.recipients[{first}]"
            raise NotAcceptable(f"{path}: {message}", errors=((path, message),))


def _settings(fallback: SendFallback | UnsetType | None) -> FallbackSettings | None:
    """None where the message says nothing: the application's fallback stands."""
    if fallback is None:
        return OFF
    if isinstance(fallback, UnsetType):
        return None
    return FallbackSettings(
        fallback.mode,
        fallback.on_undelivered_seconds,
        fallback.on_unread_seconds,
        fallback.text,
        fallback.sender,
    )


@lru_cache(maxsize=64)  # a batch has one time for all of its messages
def _time(ms: int) -> str:
    return iso_utc(ms, "ms")
