"""Sends one signed callback from here: the bytes that the server would send, the answer as it came, never a redirect."""

import contextlib
import http.client
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Final

from homing.callbacks.guard import ParsedUrl, UrlRefused, parse_url
from homing.callbacks.job import Done, EndpointView, Job, Phases
from homing.callbacks.request import build
from homing.cli.client import Doc, unreachable
from homing.cli.exits import ExitCode, usage
from homing.cli.render import Out, Style, harmless
from homing.contract.errors import BadSecret, Unencodable
from homing.contract.forms import Form, holds_contract_key
from homing.contract.notification import Notification, Precision
from homing.contract.signature import Signer

TIMEOUT_S: Final = 15.0
KEPT_BYTES: Final = 1_024
_LINE_CHARS: Final = 200


class Forward:
    """Where callbacks are sent from here. Raises `CliError` for a URL or a secret that the server would refuse."""

    def __init__(self, url: str, form: str, secrets: Sequence[str], precision: Precision = "s") -> None:
        self.url = url
        try:
            parsed = parse_url(url)
            signers = tuple(map(Signer, secrets))
        except UrlRefused as refused:
            raise usage(f"--forward-to: {refused.detail}") from refused
        except BadSecret as fault:
            raise usage(str(fault)) from fault
        if key := holds_contract_key(parsed.query or ""):
            raise usage(f"--forward-to: the query may not hold the contract's own key {key}")
        self._view = EndpointView(id=0, url=parsed, form=Form(form), signers=signers, precision=precision)

    def send(self, it: Notification, webhook_id: str, sequence: int, *, test: bool) -> Done:
        """Send one, signed now, and return what came; ``sequence`` is its number in its life, ``test``: it is made up."""
        try:
            job = self.job(it, webhook_id, sequence, test=test)
        except Unencodable as fault:
            raise usage(str(fault)) from fault
        return post(job)

    def job(
        self, it: Notification, webhook_id: str, sequence: int, attempt: int = 1, *, test: bool = False
    ) -> Job:
        """Return one try, signed now; raises `Unencodable`."""
        return build(self._view, it, webhook_id, int(time.time()), sequence, attempt, test=test)


def post(job: Job) -> Done:
    """Send it and return what came; `CliError` (5) if nothing did, or what is no HTTP."""
    url = job.endpoint.url
    try:
        return exchange(connected(url, TIMEOUT_S), job)
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(url.origin, error, TIMEOUT_S) from error


def connected(url: ParsedUrl, timeout_s: float) -> http.client.HTTPConnection:
    """Return a connection to where a URL leads; raises OSError where nobody listens."""
    connection = (
        http.client.HTTPSConnection(
            url.host, url.port, timeout=timeout_s, context=ssl.create_default_context()
        )
        if url.scheme == "https"
        else http.client.HTTPConnection(url.host, url.port, timeout=timeout_s)
    )
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    connection.sock.settimeout(TIMEOUT_S)
    return connection


def exchange(connection: http.client.HTTPConnection, job: Job) -> Done:
    """Send it on a connection of its own and return what came; raises OSError or HTTPException if that is no answer."""
    began_s = time.monotonic()
    with contextlib.closing(connection):
        target = job.target or job.endpoint.url.target
        connection.putrequest(method_of(job), target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers_of(job):
            connection.putheader(name, value)
        connection.endheaders(job.body)
        with connection.getresponse() as answer:  # closed here for the sake of Ctrl-C, as in `client`
            begun = b"".join(_begun(answer, began_s + TIMEOUT_S))
    took_ms = round((time.monotonic() - began_s) * 1000)
    return Done(
        job, answer.status, None, "", None, begun, None, Phases(0, 0, 0, 0, took_ms), answer.getheader("location")
    )  # fmt: skip


def show(out: Out, answered: Doc) -> int:
    """Print an answer: its status, how long it took, its first line; 0 for a 2xx, 5 if there was none, else 1."""
    status, text = answered["status"], (answered["answer"] or "").strip()
    first, took_ms = text.splitlines()[0][:_LINE_CHARS] if text else "", answered["durationMs"]
    if out.style in {Style.JSON, Style.JSONL}:
        out.document(answered)
    elif out.is_human:
        out.line(harmless(f"{status or 'no answer'}  {took_ms} ms  {first}".rstrip()))
    else:
        out.row([status, took_ms, first])
    if status is None:
        return ExitCode.UNREACHABLE
    return ExitCode.DONE if 200 <= status < 300 else ExitCode.NO


def method_of(job: Job) -> str:
    """Return the method of a try."""
    return "GET" if job.body is None else "POST"


def headers_of(job: Job) -> Iterator[tuple[str, str]]:
    """Yield the headers in the order in which the server's own client sends them."""
    yield "Host", job.endpoint.url.origin.partition("://")[2]
    yield "User-Agent", job.endpoint.user_agent
    yield "Accept", "*/*"
    for line in job.headers:
        name, _, value = line.partition(": ")
        yield name, value
    if job.body is not None:
        yield "Content-Length", str(len(job.body))


def _begun(answer: http.client.HTTPResponse, until_s: float) -> Iterator[bytes]:
    left = KEPT_BYTES
    while left and time.monotonic() < until_s and (piece := answer.read1(left)):
        left -= len(piece)
        yield piece
