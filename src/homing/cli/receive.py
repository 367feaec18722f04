"""For those who receive callbacks: `verify`, `sign` and `play`. None of them needs a server."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
import uuid_utils

from homing.cli.captured import Captured, from_curl, from_parts, from_request
from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.render import Out, Style, harmless, plain, say, style_for
from homing.cli.secrets import SecretFileInOption, SecretOption, callback_secrets, read_secret
from homing.contract.decode import read
from homing.contract.diagnosis import diagnose
from homing.contract.errors import BadSecret, ContractError, NotVerified, Undecodable
from homing.contract.notification import Notification, StatusNotification, attachment_keys, keys
from homing.contract.signature import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    TOLERANCE_S,
    Signer,
)
from homing.contract.signature import (
    verify as check,
)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def verify(
    secret: SecretOption = None,
    secret_file: SecretFileInOption = None,
    previous_secret_file: Annotated[
        Path | None,
        typer.Option("--previous-secret-file", metavar="FILE", help="The one before, if it was rotated."),
    ] = None,
    request: Annotated[
        str | None, typer.Option("--request", metavar="FILE|-", help="The whole HTTP request as it came.")
    ] = None,
    body: Annotated[str | None, typer.Option("--body", metavar="FILE|-", help="Its body alone, …")] = None,
    headers: Annotated[
        Path | None, typer.Option("--headers", metavar="FILE", help="… and its headers, one a line.")
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", metavar="A=1&B=2", help="Of a GET: the raw query string.")
    ] = None,
    curl: Annotated[
        str | None, typer.Option("--curl", metavar="FILE|-", help="The request as a curl command.")
    ] = None,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="The endpoint's URL, if it has a query.")
    ] = "",
    any_age: Annotated[bool, typer.Option("--any-age", help="Old captures are fine.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Check the signature of a callback. When it does not fit, say what happened to the request on its way."""
    secrets = callback_secrets(secret, secret_file)
    captured = _captured(request, body, headers, query, curl)
    now_s = time.time()
    tolerance_s = None if any_age else TOLERANCE_S
    out = Out(style_for(as_json=as_json, as_jsonl=False))
    try:
        proven = check(
            captured.headers,
            captured.payload,
            [Signer(one) for one in secrets],
            now_s,
            tolerance_s=tolerance_s,
        )
    except BadSecret as fault:
        raise usage(f"the secret: {fault}") from fault
    except NotVerified as fault:
        previous = [] if previous_secret_file is None else [read_secret(previous_secret_file)]
        return _refused(out, captured, fault, secrets, previous, url, now_s, tolerance_s)
    facts = {
        "verified": True,
        "webhookId": proven.webhook_id,
        "ageSeconds": round(now_s - proven.timestamp_s),
    }
    _tell(out, {**facts, **_decoded(captured)})
    return ExitCode.DONE


def _refused(
    out: Out,
    captured: Captured,
    fault: NotVerified,
    secrets: list[str],
    previous: list[str],
    url: str,
    now_s: float,
    tolerance_s: float | None,
) -> int:
    try:
        finding = diagnose(
            captured.headers, captured.payload, secrets, now_s, tolerance_s=tolerance_s,
            url_query=url.partition("?")[2], previous_secrets=previous,
        )  # fmt: skip
    except NotVerified:
        finding = None
    found: dict[str, object] = {"verified": False, "fault": str(fault)}
    if finding is not None:
        found |= {"what": finding.what, "usualCause": finding.usual_cause, "mutation": finding.mutation.value}
    _tell(out, found)
    say(f"not verified: {harmless(finding.what if finding is not None else str(fault))}")
    return ExitCode.NO


def _tell(out: Out, facts: Mapping[str, object]) -> None:
    if out.style is Style.JSON:
        out.document(facts)
        return
    for name, value in facts.items():
        rows = value.items() if isinstance(value, Mapping) else [(name, value)]
        for key, one in rows:
            if out.is_human:
                out.line(f"{key:<14}  {harmless(plain(one))}")
            else:
                out.row([key, one])


def _decoded(captured: Captured) -> dict[str, object]:
    try:
        found = read(captured.method, captured.query, captured.headers.get("content-type"), captured.body)
    except Undecodable as fault:
        return {"form": f"not a callback: {fault}"}
    form = "multipart" if found.form is None else found.form.value
    return {"form": form, "keys": dict(_pairs(found.notification))}


def _pairs(notification: Notification) -> list[tuple[str, str]]:
    pairs = keys(notification, "ms")
    attachment = None if isinstance(notification, StatusNotification) else notification.attachment
    return pairs if attachment is None else pairs + attachment_keys(attachment)


def _captured(
    request: str | None, body: str | None, headers: Path | None, query: str | None, curl: str | None
) -> Captured:
    if request is not None and body is None and curl is None:
        return from_request(_bytes(request, "--request"))
    if curl is not None and body is None and request is None:
        return from_curl(_bytes(curl, "--curl"))
    if headers is not None and request is None and curl is None:
        payload = b"" if body is None else _bytes(body, "--body")
        return from_parts(_bytes(str(headers), "--headers"), payload, query)
    raise usage("give --request FILE, or --headers FILE with --body FILE or --query, or --curl FILE")


def _bytes(name: str, flag: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise usage(f"{flag}: {name} cannot be read: {error.strerror}") from error


def sign(
    secret: SecretOption = None,
    secret_file: SecretFileInOption = None,
    body: Annotated[
        str | None, typer.Option("--body", metavar="FILE|-", help="The exact body to send.")
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", metavar="A=1&B=2", help="Of a GET: the raw query string.")
    ] = None,
    webhook_id: Annotated[str | None, typer.Option("--id", help="webhook-id; without it a new one.")] = None,
    timestamp: Annotated[
        int | None, typer.Option("--timestamp", help="webhook-timestamp; without it now.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the three headers that a callback with this body or query carries."""
    if (body is None) == (query is None):
        raise usage("give --body FILE or --query, one of them")
    payload = query.encode("utf-8", "replace") if query is not None else _bytes(str(body), "--body")
    said = webhook_id if webhook_id is not None else f"msg_{uuid_utils.uuid7().hex}"
    at_s = timestamp if timestamp is not None else int(time.time())
    try:
        signature = Signer(callback_secrets(secret, secret_file)[0]).sign(said, at_s, payload)
    except ContractError as fault:
        raise usage(str(fault)) from fault
    headers = {ID_HEADER: said, TIMESTAMP_HEADER: str(at_s), SIGNATURE_HEADER: signature}
    out = Out(style_for(as_json=as_json, as_jsonl=False))
    if out.style is Style.JSON:
        out.document(headers)
        return
    for name, value in headers.items():
        out.line(f"{name}: {value}")


def play(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="On 127.0.0.1; 0 takes a free one.")
    ] = 8099,
    behaviour: Annotated[
        str,
        typer.Option(
            "--behaviour", metavar="ok|flaky:20|slow:3s|answers:500,500,204|down", help="How it answers."
        ),
    ] = "ok",
    secret: SecretOption = None,
    secret_file: SecretFileInOption = None,
) -> int:
    """Receive callbacks: show each decoded and raw, verify it, check the order, and misbehave on demand."""
    from homing.cli.playing import played
    from homing.simulator.answers import behaviour as named

    try:
        named(behaviour)
    except ValueError as error:
        raise usage(str(error)) from error
    try:
        secrets = callback_secrets(secret, secret_file)
    except CliError:
        if secret is not None or secret_file is not None:
            raise
        say("no secret given: signatures are not checked")
        secrets = []
    try:
        return asyncio.run(played(port, behaviour, secrets))
    except BadSecret as fault:
        raise usage(str(fault)) from fault
    except OSError as error:
        raise usage(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from error


COMMANDS: Final[Mapping[str, Callable[..., int | None]]] = {"verify": verify, "sign": sign, "play": play}
