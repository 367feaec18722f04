"""Whether callbacks flow to each endpoint in the store, and whether its URL may be dialled: nothing is sent to it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import ParsedUrl, UrlRefused, check_saved_url
from homing.checkup.case import Case, Owed
from homing.checkup.item import Finding, Item, State, item
from homing.checkup.names import Resolved, resolve
from homing.checkup.wording import since
from homing.model import Endpoint, EndpointState

NAME: Final = "endpoints"
LATE_MS: Final = 60_000
"""A callback that has been due for so long is late."""
MOST_DEAD: Final = 1_000
"""Dead letters are counted up to this."""
_NAME_CHARS: Final = 40
_ID_CHARS: Final = 8


def check(case: Case) -> list[Item]:
    """Return the item ``endpoints``, and one more for each endpoint with which something is not as it should be."""
    if not case.is_known:
        told = (
            "no store yet"
            if case.schema is None
            else f"not looked at: the store has schema {case.schema}, not {case.wanted_schema}"
        )
        return [item(NAME, [Finding(told, State.OK if case.schema is None else State.WARN)])]
    found = case.owed(MOST_DEAD)
    endpoints = [one for one, _owed in found]
    owed = {one.id: owes for one, owes in found}
    callbacks = case.settings.callbacks
    policy = AddressPolicy(callbacks.allow, dangerous_allow_private=callbacks.dangerous_allow_private)
    judged = {one.id: _judge(one, policy) for one in endpoints if one.state != EndpointState.DISABLED}
    resolved = resolve(url.host for url in judged.values() if isinstance(url, ParsedUrl) and not url.literal)
    now_ms = case.now_ms()
    items = [item(NAME, [Finding(_count(endpoints))])]
    for one in endpoints:
        url = judged.get(one.id)
        findings = [
            *_state(one, now_ms),
            *_owed(one, owed[one.id], now_ms, is_served=case.holder.is_held is not False),
            *([url] if isinstance(url, Finding) else []),
            *(_dialled(one, url, resolved, policy) if isinstance(url, ParsedUrl) else []),
        ]
        if findings:
            items.append(item(_name(one), [*findings, Finding(_where(one))]))
    return items


def _count(endpoints: Iterable[Endpoint]) -> str:
    counts = Counter(shown_state(one) for one in endpoints)
    if not counts:
        return "none"
    return ", ".join(f"{counts[state]} {state}" for state in EndpointState if counts[state])


def shown_state(endpoint: Endpoint) -> EndpointState:
    """Return the state as the API shows it: the owner's pause goes before what was found out."""
    state = EndpointState(endpoint.state)
    return EndpointState.PAUSED if endpoint.paused and state is not EndpointState.DISABLED else state


def _name(endpoint: Endpoint) -> str:
    return f"endpoint {(endpoint.description or _short(endpoint))[:_NAME_CHARS]}"


def _where(endpoint: Endpoint) -> str:
    # Never the path or the query: they may hold what only the receiver should know.
    origin = "/".join(endpoint.url.split("/", 3)[:3])
    return f"{endpoint.kind} {_short(endpoint)} of application {endpoint.app} at {origin}"


def _short(endpoint: Endpoint) -> str:
    return f"…{endpoint.uid[-_ID_CHARS:]}"


def _state(endpoint: Endpoint, now_ms: int) -> Iterator[Finding]:
    why = "" if endpoint.state_reason is None else f": {endpoint.state_reason}"
    match shown_state(endpoint):
        case EndpointState.ACTIVE:
            return
        case EndpointState.PAUSED:
            yield Finding("paused by its owner", State.WARN, "resume it when its receiver is ready")
        case EndpointState.RESTING:
            told = f"resting{_since(endpoint.failing_since_ms, now_ms)}{why}"
            hint = "mend its receiver; it is asked again by itself, and given up after 5 days"
            yield Finding(told, State.WARN, hint)
        case EndpointState.DISABLED:
            told = f"disabled{_since(endpoint.disabled_at_ms, now_ms)}{why}"
            yield Finding(told, State.FAIL, "mend its receiver and enable it, or delete it")


def _since(at_ms: int | None, now_ms: int) -> str:
    return "" if at_ms is None else f" {since(at_ms, now_ms)}"


def _owed(endpoint: Endpoint, owed: Owed, now_ms: int, *, is_served: bool) -> Iterator[Finding]:
    if owed.first_due_ms is not None and owed.first_due_ms <= now_ms - LATE_MS:
        # Of one that rests or is paused this is no news.
        is_news = shown_state(endpoint) is EndpointState.ACTIVE
        slow = "it answers slowly, or its maxInFlight or ratePerSecond hold it back"
        hint = (slow if is_served else "start the server") if is_news else ""
        yield Finding(f"callbacks wait {since(owed.first_due_ms, now_ms)}", State.WARN, hint)
    if owed.dead:
        count = f"{owed.dead:,}" if owed.dead < MOST_DEAD else f"{MOST_DEAD:,} or more"
        what = "dead letter" if owed.dead == 1 else "dead letters"
        yield Finding(f"{count} {what}", State.WARN, "mend what refused them, then replay them")


def _judge(endpoint: Endpoint, policy: AddressPolicy) -> ParsedUrl | Finding:
    """Return the URL's parts, or why the guard refuses it."""
    try:
        return check_saved_url(endpoint.url, policy)
    except UrlRefused as refused:
        hint = "callbacks.allow or another URL" if refused.reason in {"address", "name"} else "another URL"
        return Finding(f"the guard refuses its URL: {refused.detail}", State.FAIL, hint)


def _dialled(
    endpoint: Endpoint, url: ParsedUrl, resolved: Mapping[str, Resolved], policy: AddressPolicy
) -> Iterator[Finding]:
    if url.scheme == "https" and endpoint.options.dangerous_skip_verify:
        yield Finding(
            "any certificate is believed", State.WARN, "give it tls.ca in place of dangerousSkipVerify"
        )
    answer = resolved.get(url.host)
    if answer is None:  # an address, which the guard has judged
        return
    if answer.fault:
        state = State.FAIL if answer.is_unknown else State.WARN
        yield Finding(f"{url.host}: {answer.fault}", state, "fix DNS or the URL")
    for address in answer.addresses:
        why = policy.refuses(address, url.host)
        if why is not None:
            opens = AddressPolicy((address,)).refuses(address) is None
            hint = "callbacks.allow or fix DNS" if opens else "fix DNS: nothing opens this address"
            yield Finding(f"{url.host} resolves to {address}, {why}", State.FAIL, hint)
