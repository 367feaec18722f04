"""`homing send`: post one message, and follow its timeline until it is where it was wanted."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from homing.cli.client import Client, Doc, path
from homing.cli.exits import ExitCode, usage
from homing.cli.render import Style, harmless, say
from homing.cli.session import AppOption, Session, talks
from homing.cli.times import clock, seconds
from homing.contract.status import Status

FALLBACK_S: Final = 900
"""When a fallback without a time of its own is due (CONTRACT.md §4)."""
FINAL: Final = "final"
_LOOK_S: Final = 0.15
_OPEN_FALLBACK: Final = frozenset({"armed", "due", "sent"})
_ENDED: Final = frozenset({"unknown", "read", "expired"})


@talks
def send(
    session: Session,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT|-]", help="What it says; - is stdin.")] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="ID[,ID…]", help="Users; may be repeated.")
    ] = None,
    app: AppOption = None,
    ref: Annotated[str | None, typer.Option("--ref", help="Your own id of the message.")] = None,
    recipient_ref: Annotated[
        str | None, typer.Option("--recipient-ref", help="Your own id of the user.")
    ] = None,
    channel: Annotated[str | None, typer.Option("--channel", help="The conversation it belongs to.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="What a notification says.")] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="K=V", help="Data for your app.")
    ] = None,
    expire: Annotated[str | None, typer.Option("--expire", metavar="2h", help="Expires after.")] = None,
    fallback: Annotated[
        str | None, typer.Option("--fallback", metavar="undelivered|unread|off", help="SMS if it was not …")
    ] = None,
    fallback_after: Annotated[
        str | None, typer.Option("--fallback-after", metavar="15m", help="… within this time.")
    ] = None,
    number: Annotated[str | None, typer.Option("--number", metavar="+39…", help="Where an SMS goes.")] = None,
    callback: Annotated[
        str | None, typer.Option("--callback", metavar="URL", help="This message's callbacks go there.")
    ] = None,
    callback_method: Annotated[
        str | None, typer.Option("--callback-method", metavar="JSON|POST|GET", help="… like this (JSON).")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="KEY", help="Sending again changes nothing.")
    ] = None,
    wait: Annotated[
        str | None, typer.Option("--wait", metavar="STATUS|final", help="Follow it until then.")
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="60s", help="… for at most this long.")
    ] = "60s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the request, as curl.")] = False,
) -> int:
    """Send a message and print its messageId; with --wait follow its timeline on stderr."""
    if wait is not None and wait != FINAL and wait not in set(Status):
        raise usage(f"--wait: {wait[:40]!r} is no status (homing help statuses)")
    timeout_s = seconds(timeout, "--timeout")
    body = request(
        session.app(app), _text(text), _people(to), ref=ref, recipient_ref=recipient_ref, channel=channel,
        title=title, data=data or [], expire=expire, fallback=fallback, fallback_after=fallback_after, number=number,
        callback=callback, callback_method=callback_method,
    )  # fmt: skip
    if dry_run:
        session.out.line(curl(session.target.url, body, idempotency_key))
        return ExitCode.DONE
    sent = session.api.call("POST", path("1", "messages"), body, idempotency_key=idempotency_key)
    if session.out.style in {Style.JSON, Style.JSONL}:
        session.out.document(sent)
    else:
        session.out.line(sent["messageId"])
    for one in sent["recipients"]:
        if one["status"] == Status.IDENTIFIER_NOT_FOUND:
            say(f"{harmless(one['identifier'])} is no user of application {sent['mobileAppId']}")
    if wait is None:
        return ExitCode.DONE
    return follow(session.api, sent["messageId"], wait, timeout_s)


def request(
    app: int,
    text: str,
    people: list[str],
    *,
    ref: str | None,
    recipient_ref: str | None,
    channel: str | None,
    title: str | None,
    data: list[str],
    expire: str | None,
    fallback: str | None,
    fallback_after: str | None,
    number: str | None,
    callback: str | None = None,
    callback_method: str | None = None,
) -> Doc:
    """Return the body of ``POST /1/messages``; what was not given is absent."""
    if (recipient_ref is not None or number is not None) and len(people) != 1:
        raise usage("--recipient-ref and --number are for one user: give --to one ID")
    override = None if number is None else {"mobileNumber": number}
    recipients = [
        _present({"identifier": one, "recipientRef": recipient_ref, "override": override}) for one in people
    ]
    return _present(
        {
            "mobileAppId": app,
            "text": text,
            "recipients": recipients,
            "notificationText": title,
            "messageRef": ref,
            "channel": channel,
            "optionalData": pairs(data, "--data") or None,
            "ttlSeconds": None if expire is None else seconds(expire, "--expire"),
            "fallback": _fallback(fallback, fallback_after),
            "notifyCallback": _callback(callback, callback_method),
        }
    )


def _callback(url: str | None, method: str | None) -> Doc | None:
    if url is None and method is not None:
        raise usage("--callback-method says how callbacks travel: --callback URL says where to")
    return None if url is None else {"method": (method or "JSON").upper(), "url": url}


def _fallback(on: str | None, after: str | None) -> Doc | None:
    if on is None and after is None:
        return None
    after_s = FALLBACK_S if after is None else seconds(after, "--fallback-after")
    match on:
        case None | "undelivered":
            return {"mode": "sms", "onUndeliveredSeconds": after_s}
        case "unread":
            return {"mode": "sms", "onUnreadSeconds": after_s}
        case "off" if after is None:
            return {"mode": "off"}
        case "off":
            raise usage("--fallback off has no --fallback-after")
        case _:
            raise usage(f"--fallback: {on[:40]!r} is none of undelivered, unread, off")


def _text(given: str | None) -> str:
    if given is not None and given != "-":
        return given
    if given is None and sys.stdin.isatty():
        raise usage("what shall it say? give the text, or - to read it from stdin")
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise usage("stdin is not UTF-8") from error


def _people(given: list[str] | None) -> list[str]:
    people = [one.strip() for word in given or [] for one in word.split(",") if one.strip()]
    if not people:
        raise usage("whom is it for? give --to ID[,ID…]")
    return people


def pairs(given: list[str], flag: str) -> dict[str, str]:
    """Return what a flag's ``key=value`` words say; a value may be empty."""
    found: dict[str, str] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not key or not equals:
            raise usage(f"{flag}: {one[:40]!r} is not key=value")
        found[key] = value
    return found


def _present(properties: Doc) -> Doc:
    return {name: value for name, value in properties.items() if value is not None}


def curl(url: str, body: Doc, idempotency_key: str | None) -> str:
    """Return the request as a shell command; the token stays out of it."""
    words = ["curl", "-s", f"{url}/1/messages", "-H", "Content-Type: application/json"]
    if idempotency_key is not None:
        words += ["-H", f"Idempotency-Key: {idempotency_key}"]
    quoted = " ".join(shlex.quote(word) for word in words)
    payload = shlex.quote(json.dumps(body, ensure_ascii=False, separators=(",", ":")))
    return f'{quoted} -H "Authorization: Bearer $HOMING_TOKEN" -d {payload}'


def follow(api: Client, message_id: str, wanted: str, timeout_s: float) -> int:
    """Tell the timeline on stderr until every recipient is where it was wanted; 1 when that cannot be, or takes too long."""
    until = time.monotonic() + timeout_s
    told: set[tuple[str, int]] = set()
    while True:
        message = api.call("GET", path("1", "messages", message_id))
        for line in _news(message, told):
            say(line)
        ends = [end(one, wanted) for one in message["recipients"]]
        if None not in ends:
            return ExitCode.DONE if all(ends) else ExitCode.NO
        if time.monotonic() >= until:
            for one, ended in zip(message["recipients"], ends, strict=True):
                if ended is None:
                    say(f"{harmless(one['identifier'])}: still {one['status']} after {timeout_s:.0f} s")
            return ExitCode.NO
        time.sleep(_LOOK_S)


def end(recipient: Mapping[str, Any], wanted: str) -> bool | None:
    """Say whether one recipient's part reached what was wanted; None while it still may."""
    is_ended = recipient["message"] in _ENDED and recipient["fallback"] not in _OPEN_FALLBACK
    if wanted == FINAL:
        return True if is_ended else None
    if any(event["status"] == wanted for event in recipient["events"]):
        return True
    return False if is_ended else None


def _news(message: Doc, told: set[tuple[str, int]]) -> Iterator[str]:
    for one in message["recipients"]:
        for event in one["events"]:
            key = (one["identifier"], event["seq"])
            if key not in told:
                told.add(key)
                yield f"{clock(event['timestamp'])}  {harmless(one['identifier'])}  {event['status']}"


COMMANDS: Final[Mapping[str, Callable[..., int]]] = {"send": send}
