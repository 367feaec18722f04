"""What a failed callback most likely means, in words for the one whose endpoint it is. Pure.

It names no address: what a network looks like inside is for operators only.
"""

import re
from collections.abc import Callable
from typing import Final

from homing.callbacks.job import Done
from homing.callbacks.verdict import Outcome, outcome

SLOW_MS: Final = 5_000
_HTML: Final = re.compile(rb"^\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_FINISHED: Final = "answer first and work afterwards"

_STATUSES: Final[dict[int, str]] = {
    400: "your handler does not understand the request: the answer may say what it missed",
    401: "the endpoint wants credentials: set auth or headers on it, or let callbacks pass and verify the signature",
    404: "nothing is served at this path: check the endpoint's URL",
    410: "410 says that the endpoint is gone for good",
    413: "your server takes no bodies of this size: a callback is a few hundred bytes, allow at least 64 KiB",
    429: "the endpoint asks for fewer callbacks: set ratePerSecond or maxInFlight if it keeps saying so",
    503: "the endpoint says that it is not available now",
}
_OUTCOMES: Final[dict[Outcome, str]] = {
    Outcome.CLIENT_ERROR: "the endpoint refused the request",
    Outcome.SERVER_ERROR: "the endpoint failed while handling the request: its own log tells why",
    Outcome.CONNECT: "nothing takes connections at this address and port, or the connection was cut without an answer",
    Outcome.DNS: "the name could not be resolved",
    Outcome.REFUSED_BY_GUARD: (
        "callbacks to this address are refused: it is not a public one; an operator may open it with callbacks.allow"
    ),
    Outcome.MALFORMED: "what came back is no complete HTTP answer within the limits (16 KiB and 100 lines of headers)",
    Outcome.OURS: "nothing was sent: the fault is this server's own",
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
    ("does not match", "the certificate is for another name"),
    ("no alternative certificate", "the certificate is for another name"),
    ("version", "the server offers no TLS 1.2 or newer"),
    ("protocol", "the server offers no TLS 1.2 or newer"),
)


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
    if outcome(done.status, done.error) is not Outcome.REDIRECT:
        return None
    url = done.job.endpoint.url
    here, there = url.rebuilt.partition("?")[0], _target(done).partition("?")[0]
    if _moves_slash(here, there) or there == f"https:{here.removeprefix('http:')}":
        # The query of a callback in the get form came along; the endpoint keeps its own.
        return there if url.query is None else f"{there}?{url.query}"
    return None


def _target(done: Done) -> str:
    there = done.location or ""
    return done.job.endpoint.url.origin + there if there.startswith("/") and there[:2] != "//" else there


def _moves_slash(here: str, there: str) -> bool:
    return here != there and here.rstrip("/") == there.rstrip("/")


def _redirect(done: Done) -> str:
    better, there = better_url(done), _target(done)
    if better is not None and not better.startswith(
        "https:" if done.job.endpoint.url.scheme == "http" else "-"
    ):
        return f"your web framework moved the slash at the end: callbacks follow no redirects; set the URL to {better}"
    if there.startswith("https:") and done.job.endpoint.url.scheme == "http":
        return "the server wants https: callbacks follow no redirects; set the URL to the https one"
    if there:
        return f"the server answered with a redirect to {there[:200]}, and callbacks follow none: set the final URL"
    return "the server answered with a redirect, and callbacks follow none"


def _refused(done: Done) -> str | None:
    method = "GET" if done.job.body is None else "POST"
    answer = done.answer.lower()
    match done.status:
        case 403 if b"csrf" in answer:
            return (
                "your web framework wants a CSRF token: exempt this route, and verify the signature instead"
            )
        case 403:
            return f"forbidden: it wants credentials, or a firewall refuses the User-Agent {done.job.endpoint.user_agent}"
        case 405:
            return f"your route does not take {method}: the endpoint's form decides the method"
        case 415:
            return "your route does not take this content type: the endpoint's form decides it"
        case _:
            return None


def _timeout(done: Done) -> str:
    phases = done.phases
    if not phases.dns_ms and not phases.connect_ms:
        return "the name was not resolved in time"
    if not phases.connect_ms:
        return "no connection in time: a firewall may swallow the packets"
    if done.job.endpoint.url.scheme == "https" and not phases.tls_ms:
        return "the TLS handshake was not over in time"
    if not phases.first_byte_ms:
        return f"connected, but no answer in time: {_FINISHED}"
    return f"the answer began, but was not over in time: {_FINISHED}"


def _tls(done: Done) -> str:
    text = done.error_text.lower()
    for sign, meaning in _TLS:
        if sign in text:
            return meaning
    return "no TLS connection could be made"


_SPECIAL: Final[dict[Outcome, Callable[[Done], str | None]]] = {
    Outcome.SUCCESS: _success,
    Outcome.REDIRECT: _redirect,
    Outcome.CLIENT_ERROR: _refused,
    Outcome.TIMEOUT: _timeout,
    Outcome.TLS: _tls,
}
