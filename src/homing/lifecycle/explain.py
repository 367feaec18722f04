"""State → sentences: why a dispatch is where it is, what happens next, and when. Pure, from given facts only.

The same sentences stand in the API, in the terminal and on the message's page (USERS.md §3.1, `homing explain`).
Each has a stable key; the texts may be reworded, the keys may not.
"""

from typing import Final, NamedTuple

from homing.contract.status import NUMBER, Status
from homing.lifecycle.dispatch import Fallback, FallbackMode, Message, State
from homing.lifecycle.policy import SMS_VALIDITY_MS
from homing.lifecycle.wording import REMARKS, TEXTS, at, moment, span


class CallbackFacts(NamedTuple):
    """How far one endpoint was told about the dispatch. `next_try_ms`: when the next try is due, if one waits.

    ``dead`` were given up; ``held`` is why the others wait, said of the endpoint: "is paused by its owner".
    """

    endpoint: str
    settled: int
    total: int
    next_try_ms: int | None = None
    dead: int = 0
    held: str | None = None


class Facts(NamedTuple):
    """What is known about one dispatch. Only the state is needed; None: not known, and then not spoken of."""

    state: State
    identifier: str = "the recipient"
    now_ms: int | None = None
    devices: int | None = None
    platforms: tuple[str, ...] = ()
    """As the device named them: ios, android, web, other."""
    last_seen_ms: int | None = None
    """When one of the devices was connected last."""
    push_at_ms: int | None = None
    push_outcome: str | None = None
    """The push service's own words, when it refused."""
    has_number: bool | None = None
    masked_number: str | None = None
    has_carrier: bool | None = None
    notes: tuple[str, ...] = ()
    """Codes of the history, oldest first."""
    events: tuple[tuple[Status, int], ...] = ()
    callbacks: tuple[CallbackFacts, ...] | None = None


class Sentence(NamedTuple):
    """One sentence; `key` is stable, `text` is English and meant for people."""

    key: str
    text: str


_SERVICES: Final = {"ios": "Apple", "android": "Google", "web": "The browser's push service"}
_PUSH_ERRORS: Final = (
    (Status.IOS_ERROR_INVALID_TOKEN, "push_token_invalid", "Apple"),
    (Status.ANDROID_ERROR_INVALID_TOKEN, "push_token_invalid", "Google"),
    (Status.IOS_ERROR, "push_refused", "Apple"),
    (Status.ANDROID_ERROR, "push_refused", "Google"),
)
_SMS: Final = {
    Fallback.SENT: ("sms_sent", Status.FALLBACK_SENT),
    Fallback.DELIVERED: ("sms_delivered", Status.FALLBACK_DELIVERED),
    Fallback.EXPIRED: ("sms_expired", Status.FALLBACK_EXPIRED),
    Fallback.INVALID_NUMBER: ("sms_invalid_number", Status.FALLBACK_INVALID_NUMBER),
    Fallback.PHONE_ERROR: ("sms_phone_error", Status.FALLBACK_PHONE_ERROR),
    Fallback.OPERATOR_ERROR: ("sms_operator_error", Status.FALLBACK_OPERATOR_ERROR),
}
_WHERE: Final = {
    Message.UNKNOWN: "unknown_recipient",
    Message.DELIVERED: "delivered",
    Message.READ: "read",
    Message.EXPIRED: "expired",
}
_NEXT_WHILE_ARMED: Final = {
    # waits for: (delivery by a time, reading within a time)
    (True, False): "next_undelivered",
    (False, True): "next_unread_after_delivery",
    (True, True): "next_either",
}
_OPEN: Final = frozenset({Fallback.DUE, Fallback.SENT})


def explain(facts: Facts) -> list[Sentence]:
    """At most six sentences: where it is and why, the push, the fallback, what is next and when, the history, the
    callbacks. Every state a dispatch can reach has one that says why and one that says what comes next.
    """
    keys = (_where(facts), _push(facts), _fallback(facts), _next(facts.state), _history(facts), _told(facts))
    words = _words(facts)
    return [Sentence(f"explain.{key}", TEXTS[key].format_map(words)) for key in keys if key is not None]


def _said(state: State, status: Status) -> bool:
    return bool(state.emitted >> NUMBER[status] & 1)


def _where(facts: Facts) -> str:
    if facts.state.message == Message.ENQUEUED:
        if facts.devices is None:
            return "waiting"
        return "waiting_for_device" if facts.devices else "waiting_without_device"
    if facts.state.message == Message.EXPIRED and _expired_at(facts) < facts.state.expires_at:
        return "recalled"
    return _WHERE[Message(facts.state.message)]


def _push(facts: Facts) -> str | None:
    state = facts.state
    if state.message not in {Message.ENQUEUED, Message.EXPIRED}:
        return None
    if _said(state, Status.PUSH_SENT):
        return "push_accepted"
    for status, key, _ in _PUSH_ERRORS:
        if _said(state, status):
            return key
    return "push_unanswered" if facts.devices and state.message == Message.ENQUEUED else None


def _fallback(facts: Facts) -> str | None:
    state = facts.state
    if state.fallback in _SMS:
        return _SMS[Fallback(state.fallback)][0]
    if state.fallback == Fallback.DUE and state.sms_submitted_at is not None:
        return "sms_unanswered"
    if state.fallback == Fallback.DUE:
        return "sms_without_carrier" if facts.has_carrier is False else "sms_waiting"
    if state.fallback == Fallback.ARMED or state.mode == FallbackMode.OFF or state.message == Message.UNKNOWN:
        return None
    if state.fallback_at is not None:
        return "fallback_notified" if state.mode == FallbackMode.NOTIFY else "sms_dropped"
    if state.message != Message.EXPIRED:
        return "fallback_not_needed"
    return "fallback_recalled" if _expired_at(facts) < state.expires_at else "fallback_impossible"


def _next(state: State) -> str | None:
    is_armed = state.fallback == Fallback.ARMED
    if state.message == Message.ENQUEUED:
        waits_for = (state.undelivered_at is not None, state.unread_ms is not None)
        return _NEXT_WHILE_ARMED[waits_for] if is_armed else "next_expiry"
    if state.message == Message.DELIVERED:
        return "next_unread" if is_armed else "next_read"
    return None if state.message == Message.UNKNOWN or state.fallback in _OPEN else "settled"


def _history(facts: Facts) -> str | None:
    return "history" if _latest(facts.notes) else None


def _told(facts: Facts) -> str | None:
    if facts.callbacks is None:
        return None
    return "callbacks" if facts.callbacks else "no_endpoint"


def _expired_at(facts: Facts) -> int:
    """When `expired` was said. Without the events, the last event's time stands in: right unless an SMS that had left
    before a recall was answered after the expiry time.
    """
    return dict(facts.events).get(Status.EXPIRED, facts.state.last_at)


def _words(facts: Facts) -> dict[str, str]:
    """Everything a text may name. What is not known is an empty string where the text can do without it."""
    state, now = facts.state, facts.now_ms
    events: dict[Status, int] = dict(facts.events)
    was_unread = _said(state, Status.FALLBACK_ON_UNREAD)
    on = Status.FALLBACK_ON_UNREAD if was_unread else Status.FALLBACK_ON_UNDELIVERED
    push, _, service = next((row for row in _PUSH_ERRORS if _said(state, row[0])), ("", "", ""))
    answered = _SMS.get(Fallback(state.fallback), ("", Status.FALLBACK_SENT))[1]
    gives_up = None if state.fallback_at is None else state.fallback_at + SMS_VALIDITY_MS
    unread_at = None if state.delivered_at is None else state.delivered_at + (state.unread_ms or 0)
    return {
        "who": facts.identifier,
        "devices": _devices(facts),
        "seen": _seen(facts),
        "delivered_at": at(state.delivered_at, now),
        "read_at": at(events.get(Status.READ), now),
        "expired_at": at(events.get(Status.EXPIRED), now),
        "service": _service(facts) if _said(state, Status.PUSH_SENT) else service,
        "push": push,
        "push_at": at(events.get(Status.PUSH_SENT, facts.push_at_ms), now),
        "why": f" ({facts.push_outcome})" if facts.push_outcome else "",
        "on": on,
        "on_at": at(state.fallback_at, now),
        "met": _met(state, was_unread),
        "to": f" to {facts.masked_number}" if facts.masked_number else "",
        "gives_up": moment(gives_up, now),
        "submitted_at": at(state.sms_submitted_at, now),
        "sent_at": at(events.get(Status.FALLBACK_SENT), now),
        "outcome_at": at(events.get(answered), now),
        "expires_at": moment(state.expires_at, now),
        "undelivered_at": moment(state.undelivered_at, now),
        "unread": span(state.unread_ms or 0),
        "unread_at": moment(unread_at, now),
        "action": _action(facts),
        "history": "; ".join(REMARKS[note] for note in _latest(facts.notes)),
        "callbacks": "; ".join(_callback(callback, now) for callback in facts.callbacks or ()),
    }


def _met(state: State, was_unread: bool) -> str:
    """Which fact ended the fallback."""
    if state.fallback_at is None:
        return "delivered" if state.unread_ms is None else "read"
    if state.message == Message.EXPIRED:
        return "recalled"
    return "read" if was_unread else "delivered"


def _action(facts: Facts) -> str:
    state = facts.state
    if state.mode == FallbackMode.NOTIFY:
        is_unread = state.undelivered_at is None or state.message == Message.DELIVERED
        on = Status.FALLBACK_ON_UNREAD if is_unread else Status.FALLBACK_ON_UNDELIVERED
        return f"{on} is reported and your own system sends what is to be sent"
    if facts.has_number is False:
        return "the fallback begins, but there is no number to send an SMS to"
    return f"an SMS goes to {facts.masked_number}" if facts.masked_number else "an SMS is sent"


def _devices(facts: Facts) -> str:
    names = {"ios": "iOS", "android": "Android", "web": "Web"}
    count = "one device" if facts.devices == 1 else f"{facts.devices} devices"
    kinds = ", ".join(names.get(platform, platform) for platform in dict.fromkeys(facts.platforms))
    return f"{count} ({kinds})" if kinds else count


def _service(facts: Facts) -> str:
    """Who accepted the push, when only one can have."""
    able = {platform for platform in facts.platforms if platform in _SERVICES}
    return _SERVICES[able.pop()] if len(able) == 1 else "A push service"


def _seen(facts: Facts) -> str:
    if facts.last_seen_ms is None:
        return ""
    if facts.now_ms is None:
        return f", last connected{at(facts.last_seen_ms, None)}"
    return f", last connected {span(max(0, facts.now_ms - facts.last_seen_ms))} ago"


def _callback(callback: CallbackFacts, now: int | None) -> str:
    text = f'"{callback.endpoint}" has {callback.settled} of {callback.total} callbacks settled'
    if callback.dead:
        text = f"{text} and {callback.dead} given up"
    if callback.held is not None:
        return f"{text}; what is left waits, because it {callback.held}"
    return text if callback.next_try_ms is None else f"{text}, next try{at(callback.next_try_ms, now)}"


def _latest(notes: tuple[str, ...]) -> list[str]:
    """The last three different ones that say something to people, oldest first."""
    return [note for note in dict.fromkeys(reversed(notes)) if note in REMARKS][2::-1]
