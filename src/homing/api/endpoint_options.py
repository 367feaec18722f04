"""An endpoint's options between requests, the store and answers: merged, checked, sealed, and shown without secrets."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from homing.api.endpoint_answers import AuthReply, BasicReply, TlsReply
from homing.api.endpoint_schema import Auth, EndpointCreate, EndpointPatch
from homing.api.ports import Vault
from homing.callbacks.headers import check_ca, check_headers, check_user, check_value
from homing.errors import NotAcceptable
from homing.model import Endpoint, EndpointCredentials, EndpointOptions

HIDDEN: Final = "[hidden]"
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(EndpointCredentials).decode


def context_of(uid: str) -> str:
    """What an endpoint's credentials are sealed with."""
    return f"endpoint-credentials:{uid}"


def given(it: EndpointCreate) -> tuple[EndpointOptions, EndpointCredentials]:
    """Return what a new endpoint asks for; raises `NotAcceptable`."""
    delays = it.retry_delays_seconds
    tls = it.tls
    options = EndpointOptions(
        it.ordered, it.max_in_flight, it.rate_per_second, None if delays is None else tuple(delays), it.timeout_seconds,
        None if tls is None else tls.ca, tls is not None and tls.dangerous_skip_verify,
    )  # fmt: skip
    credentials = _with_auth(EndpointCredentials(headers=it.headers or {}), it.auth)
    return _checked(options, credentials)


def patched(
    now: Endpoint, credentials: EndpointCredentials, it: EndpointPatch
) -> tuple[EndpointOptions, EndpointCredentials]:
    """Return what an endpoint has after a merge patch; raises `NotAcceptable`."""
    changes: dict[str, object] = {}
    for name in ("max_in_flight", "rate_per_second", "timeout_seconds"):
        value = getattr(it, name)
        if not isinstance(value, UnsetType):
            changes[name] = value
    if not isinstance(it.ordered, UnsetType):
        changes["ordered"] = it.ordered is not False
    if not isinstance(it.retry_delays_seconds, UnsetType):
        delays = it.retry_delays_seconds
        changes["retry_delays_seconds"] = None if delays is None else tuple(delays)
    if not isinstance(it.tls, UnsetType):
        changes["ca"] = None if it.tls is None else it.tls.ca
        changes["dangerous_skip_verify"] = it.tls is not None and it.tls.dangerous_skip_verify
    if not isinstance(it.headers, UnsetType):
        given = it.headers or {}
        check_headers({name: value for name, value in given.items() if value is not None}, has_auth=False)
        merged = {} if it.headers is None else {**credentials.headers}
        for name, value in given.items():
            merged = {old: kept for old, kept in merged.items() if old.lower() != name.lower()}
            if value is not None:
                merged[name] = value
        credentials = msgspec.structs.replace(credentials, headers=merged)
    if not isinstance(it.auth, UnsetType):
        credentials = _with_auth(credentials, it.auth)
    return _checked(msgspec.structs.replace(now.options, **changes), credentials)


def sealed(vault: Vault, uid: str, credentials: EndpointCredentials) -> bytes | None:
    """Return credentials as the store keeps them; None for none."""
    if credentials == EndpointCredentials():
        return None
    return vault.seal(_encode(credentials), context_of(uid))


def opened(vault: Vault, endpoint: Endpoint) -> EndpointCredentials:
    """Return an endpoint's credentials."""
    if endpoint.credentials is None:
        return EndpointCredentials()
    return _decode(vault.open(endpoint.credentials, context_of(endpoint.uid)))


def shown_headers(credentials: EndpointCredentials) -> dict[str, str] | UnsetType:
    """Return the headers' names; what they hold is not shown again."""
    return dict.fromkeys(credentials.headers, HIDDEN) or UNSET


def shown_auth(credentials: EndpointCredentials) -> AuthReply | UnsetType:
    """Return which log-in there is, without what is secret of it."""
    if credentials.bearer is not None:
        return AuthReply(bearer=HIDDEN)
    if credentials.username is not None:
        return AuthReply(basic=BasicReply(username=credentials.username, password=HIDDEN))
    return UNSET


def shown_tls(options: EndpointOptions) -> TlsReply | UnsetType:
    """Return whom it trusts, where that was said."""
    if options.ca is None and not options.dangerous_skip_verify:
        return UNSET
    return TlsReply(
        ca=UNSET if options.ca is None else options.ca, dangerous_skip_verify=options.dangerous_skip_verify
    )


def _with_auth(credentials: EndpointCredentials, auth: Auth | None) -> EndpointCredentials:
    username = password = bearer = None
    if auth is not None:
        if (auth.basic is None) == (auth.bearer is None):
            text = "either basic or bearer"
            raise NotAcceptable(f"$.auth: {text}", errors=(("$.auth", text),))
        bearer = auth.bearer
        if auth.basic is not None:
            username, password = auth.basic.username, auth.basic.password
    return msgspec.structs.replace(credentials, username=username, password=password, bearer=bearer)


def _checked(
    options: EndpointOptions, credentials: EndpointCredentials
) -> tuple[EndpointOptions, EndpointCredentials]:
    has_auth = credentials.bearer is not None or credentials.username is not None
    check_headers(credentials.headers, has_auth=has_auth)
    if credentials.bearer is not None:
        check_value("auth.bearer", credentials.bearer)
    if credentials.username is not None:
        check_user(credentials.username, credentials.password or "")
    if options.ca is not None:
        check_ca(options.ca)
    return options, credentials
