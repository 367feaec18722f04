"""What a failed callback most likely means, in words for the one whose endpoint it is. Pure.

It names no address: what a network looks like inside is for operators only.
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urljoin

from homing.callbacks.guard import ParsedUrl, UrlRefused, parse_url
from homing.callbacks.job import Done, Reached
from homing.callbacks.verdict import Outcome, outcome

SLOW_MS: Final = 5_000
_SHOWN_CHARS: Final = 200
_HTML: Final = re.compile(rb"^\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_LOGIN: Final = re.compile(r"(?<![a-z])(log-?in|sign-?in|sso|oauth2?)(?![a-z])", re.IGNORECASE)
_FINISHED: Final = "answer first and work afterwards"
_NO_REDIRECTS: Final = "callbacks follow no redirects; set the URL to"
_CLIENT_CERTIFICATE: Final = "it may demand a client certificate, and callbacks have none"

_STATUSES: Final[dict[int, str]] = {
    400: "your handler does not understand the request: the answer may say what it missed",
    401: "the endpoint wants credentials: set auth or headers on it, or let callbacks pass and verify the signature",
    404: "nothing is served at this path: check the endpoint's URL",
    410: "410 says that the endpoint is gone for good",
    413: "your server takes no bodies of this size: a callback is a few hundred bytes, allow at least 64 KiB",
    415: "your route does not take this content type: the endpoint's form decides it",
    429: "the endpoint asks for fewer callbacks: set ratePerSecond or maxInFlight if it keeps saying so",
    503: "the endpoint says that it is not available now",
}
_OUTCOMES: Final[dict[Outcome, str]] = {
    Outcome.CLIENT_ERROR: "the endpoint refused the request",
    Outcome.SERVER_ERROR: "the endpoint failed while handling the request: its own log tells why",
    Outcome.CONNECT: "nothing takes connections at this address and port",
    Outcome.DNS: "the name could not be resolved",
    Outcome.TLS: "no TLS connection could be made",
    Outcome.REFUSED_BY_GUARD: (
        "callbacks to this address are refused: it is not a public one; an operator may open it with callbacks.allow"
    ),
    Outcome.MALFORMED: "what came back is no complete HTTP answer within the limits (16 KiB and 100 lines of headers)",
    Outcome.OURS: "nothing was sent: the fault is this server's own",
}
_TIMEOUTS: Final[dict[Reached, str]] = {
    Reached.NOTHING: "the name was not resolved in time",
    Reached.ADDRESS: "no connection in time: a firewall may swallow the packets",
    Reached.CONNECTION: "the TLS handshake was not over in time",
    Reached.READY: f"connected, but no answer in time: {_FINISHED}",
    Reached.ANSWER: f"the answer began, but was not over in time: {_FINISHED}",
}
_TLS: Final = (
    (
        "self-signed",
        "the certificate is signed by itself or by an authority that is not known here: set tls.ca",
    ),
    (
        "unable to get local issuer",
        "the chain of certificates is incomplete, or its authority unknown: set tls.ca",
    ),
    ("expired", "the certificate has expired"),
    ("not yet valid", "the certificate is not valid yet"),
    ("does not match", "the certificate is for another name"),
    ("no alternative certificate", "the certificate is for another name"),
    ("unrecognized name", "the server has no certificate for this name"),
    ("wrong version number", "what listens at this port speaks no TLS: is it http, or another port?"),
    ("version", "the server offers no TLS 1.2 or newer"),
    ("protocol", "the server offers no TLS 1.2 or newer"),
    ("certificate required", f"the server refused the TLS connection: {_CLIENT_CERTIFICATE}"),
    ("handshake failure", f"the server refused the TLS handshake: no cipher in common, or {_CLIENT_CERTIFICATE}"),
    ("unexpected eof", "the server hung up during the TLS handshake"),
    ("connection reset", "the server hung up during the TLS handshake"),
)  # fmt: skip


def note(done: Done) -> str | None:
    """Return what the try means in a sentence, or None where there is nothing to say."""
    ended = outcome(done.status, done.error)
    special = _SPECIAL.get(ended)
    said = None if special is None else special(done)
    return said or (None if done.error else _STATUSES.get(done.status)) or _OUTCOMES.get(ended)


def _success(done: Done) -> str | None:
    if _HTML.match(done.answer):
        return "settled, but the answer is a page: probably not your handler"
    if done.phases.total_ms > SLOW_MS:
        return f"settled after {done.phases.total_ms / 1000:.1f} s, close to the limit: {_FINISHED}"
    return None


def better_url(done: Done) -> str | None:
    """Return the URL that a redirect shows to be meant: the same one but for the slash at its end, or with https."""
    there = _there(done) if outcome(done.status, done.error) is Outcome.REDIRECT else None
    if there is None:
        return None
    url, path = done.job.endpoint.url, _asked(done).partition("?")[0]
    is_same, is_moved = there.path == path, there.path in {f"{path}/", path.removesuffix("/")}
    if there.origin == url.origin:
        return there.rebuilt if is_moved and not is_same else None
    return there.rebuilt if _is_https_of(there, url) and (is_moved or is_same) else None


def _asked(done: Done) -> str:
    """The request's target; a message's own callbacks have one of their own."""
    return done.job.target or done.job.endpoint.url.target


def _there(done: Done) -> ParsedUrl | None:
    """Where a redirect leads, if that is a URL that callbacks could go to.

    Its query is the endpoint's own: a framework hands on what came, and with the get form that is the notification.
    """
    url = done.job.endpoint.url
    try:
        there = urljoin(url.origin + _asked(done), done.location or "").partition("#")[0]
        return parse_url(there)._replace(query=url.query) if done.location else None
    except (UrlRefused, ValueError):
        return None


def _is_https_of(there: ParsedUrl, url: ParsedUrl) -> bool:
    return (url.scheme, there.scheme, there.host) == ("http", "https", url.host)


def _redirect(done: Done) -> str:
    there, url = _there(done), done.job.endpoint.url
    if not done.location:
        return "a 3xx settles nothing, and callbacks follow no redirects: answer 2xx"
    if there is None:
        shown = "".join(char if char.isprintable() else "?" for char in done.location[:_SHOWN_CHARS])
        return f"the server answered with a redirect to {shown}, and callbacks follow none: set the final URL"
    final = there.rebuilt[:_SHOWN_CHARS]
    if there.origin == url.origin and there.path == _asked(done).partition("?")[0]:
        return "the server redirects to the same URL: it may want a cookie back, and callbacks keep none"
    if there.origin == url.origin and better_url(done):
        return f"your web framework moved the slash at the end: {_NO_REDIRECTS} {final}"
    if _is_https_of(there, url):
        return f"the server wants https: {_NO_REDIRECTS} {final}"
    if _LOGIN.search(there.path):
        return (
            "the server redirects to a log-in page: let callbacks pass without one, and verify the signature"
        )
    return f"the server answered with a redirect to {final}, and callbacks follow none: set the final URL"


def _refused(done: Done) -> str | None:
    method = "GET" if done.job.body is None else "POST"
    answer = done.answer.lower()
    match done.status:
        case 400 | 403 | 419 if b"csrf" in answer or done.status == 419:  # 419 is Laravel's
            return (
                "your web framework wants a CSRF token: exempt this route, and verify the signature instead"
            )
        case 400 if b"plain http request was sent to https port" in answer:
            return "the server wants https at this port: set the URL to https"
        case 403:
            return f"forbidden: it wants credentials, or a firewall refuses the User-Agent {done.job.endpoint.user_agent}"
        case 405:
            return f"your route does not take {method}: the endpoint's form decides the method"
        case _:
            return None


def _timeout(done: Done) -> str:
    return _TIMEOUTS[done.reached]


def _connect(done: Done) -> str | None:
    if done.reached is not Reached.READY:
        return None
    demand = f"; {_CLIENT_CERTIFICATE}" if done.job.endpoint.url.scheme == "https" else ""
    return f"the connection was cut without an answer{demand}"


def _tls(done: Done) -> str | None:
    text = done.error_text.lower()
    return next((meaning for sign, meaning in _TLS if sign in text), None)


def _malformed(done: Done) -> str | None:
    return None if done.error else f"HTTP knows no status {done.status} that ends an exchange: answer 2xx"


_SPECIAL: Final[dict[Outcome, Callable[[Done], str | None]]] = {
    Outcome.SUCCESS: _success,
    Outcome.REDIRECT: _redirect,
    Outcome.CLIENT_ERROR: _refused,
    Outcome.TIMEOUT: _timeout,
    Outcome.CONNECT: _connect,
    Outcome.TLS: _tls,
    Outcome.MALFORMED: _malformed,
}
