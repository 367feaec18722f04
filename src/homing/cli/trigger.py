"""`homing trigger`: have a status brought about by the simulator of `homing dev`, or send one callback that is made up."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final

import typer

from homing.cli.client import Doc, Refused, path
from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.only import have_one_sent, send_one
from homing.cli.posting import Forward
from homing.cli.render import Column, Style, field, harmless, say
from homing.cli.secrets import SecretFileInOption, SecretOption, callback_secrets
from homing.cli.send import follow, pairs
from homing.cli.session import AppOption, Session, talks
from homing.cli.start import FORMS
from homing.cli.times import seconds, span
from homing.contract.notification import IncomingNotification, Notification, StatusNotification, parse_utc
from homing.contract.status import STATUSES, Status
from homing.simulator.lives import HOW_INCOMING, INCOMING, SHORTEST

_PATIENCE_S: Final = 600.0
_KINDS: Final = (*STATUSES, INCOMING)

LIST: Final = (
    field("status"),
    Column("life", lambda item: " → ".join(item["says"])),
    field("how"),
    Column("takes", lambda item: span(item["takesSeconds"])),
)


@talks
def trigger(
    session: Session,
    what: Annotated[
        str | None, typer.Argument(metavar="STATUS|incoming", help="What it ends in (homing help statuses).")
    ] = None,
    app: AppOption = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="ID", help="A user; without it one made for this.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="What it says; may be repeated.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many at a time.")] = 1,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Push the clock and follow it, or only begin.")
    ] = True,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="60s", help="Follow it for at most this long.")
    ] = "60s",
    only: Annotated[bool, typer.Option("--only", help="One made-up callback, and nothing recorded.")] = False,
    forward_to: Annotated[
        str | None, typer.Option("--forward-to", metavar="URL", help="Callbacks go there, sent from here.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--form", metavar="json|form|get", help="… in this form (json).")
    ] = None,
    secret: SecretOption = None,
    secret_file: SecretFileInOption = None,
    lists: Annotated[bool, typer.Option("--list", help="Show each status, its life and its time.")] = False,
) -> int:
    """Bring about the shortest lawful life that ends in a status; print its messageId."""
    if lists:
        session.out.items({"items": lives(), "nextCursor": None}, LIST, "statuses")
        return ExitCode.DONE
    kind = _kind(what)
    given = pairs(settings or [], "--set")
    if form is not None and form not in FORMS:
        raise usage(f"--form: {form[:40]!r} is none of {', '.join(FORMS)}")
    if forward_to is None and any(one is not None for one in (form, secret, secret_file)):
        raise usage("--form, --secret and --secret-file go with --forward-to")
    forward = None
    if forward_to is not None:
        secrets = callback_secrets(secret, secret_file)
        # The two secrets of `homing dev` are its endpoint's and its inbox's: a receiver may know either.
        forward = Forward(forward_to, form or "json", secrets if kind == INCOMING else secrets[:1])
    if only:
        if count != 1:
            raise usage("--only sends one callback: there is no --count")
        if forward is not None:
            return send_one(session, app, kind, to, given, forward)
        return have_one_sent(session, session.app(app), kind, to, given)
    if forward is not None and not wait:
        raise usage("--forward-to sends what has been said: it goes not with --no-wait")
    wish: Doc = {"status": kind, "app": session.app(app), "set": given, "count": count, "push": wait}
    if to is not None:
        wish["to"] = to
    return _lived(session, wish, timeout, forward)


def lives() -> list[Doc]:
    """Return each status and `incoming` with its life, how it is brought about, and the time that takes by the clock."""
    found: list[Doc] = [
        {"status": status, "says": list(life.says), "how": life.title, "takesSeconds": life.takes_ms / 1000}
        for status, life in SHORTEST.items()
    ]
    return [*found, {"status": INCOMING, "says": [INCOMING], "how": HOW_INCOMING, "takesSeconds": 0}]


def _kind(what: str | None) -> str:
    if what is None:
        raise usage("what? give a status, incoming, or --list")
    if what not in _KINDS:
        near = get_close_matches(what, _KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise usage(f"{what[:40]!r} is no status{hint} (homing trigger --list)")
    return what


def _lived(session: Session, wish: Doc, timeout: str, forward: Forward | None) -> int:
    """Have it brought about, follow each message on stderr, and send on what was said of it, if that is wanted."""
    timeout_s = seconds(timeout, "--timeout")
    if forward is not None and _goes_there(session, wish["app"], forward.url):
        say(f"the application's callbacks go to {harmless(forward.url)} already: they are not sent twice")
        forward = None
    brought = _brought(session, {**wish, "within": f"{timeout_s}s"})
    items: list[Doc] = brought["items"]
    if session.out.style in {Style.JSON, Style.JSONL}:
        session.out.document(brought)
    else:
        for item in items:
            session.out.line(item["messageId"])
    if not wish["push"]:
        return ExitCode.DONE
    if brought["takesSeconds"] >= 1:
        length = span(brought["takesSeconds"])
        say(
            f"the clock was pushed by {length}"
            if brought["pushed"]
            else f"the clock is real: this takes {length}"
        )
    codes: list[int] = []
    for item in items:
        code: int = ExitCode.DONE
        if wish["status"] == INCOMING:
            say(f"{session.now():%H:%M:%S.%f}"[:12] + f"  {harmless(item['identifier'])}  incoming message")
        else:
            code = follow(session.api, item["messageId"], wish["status"], timeout_s)
        if forward is not None:
            code = max(code, _sent_on(session, wish, item, forward))
        codes.append(code)
    return max(codes)


def _goes_there(session: Session, app: int, url: str) -> bool:
    return any(one["url"] == url for one in session.api.each(path("1", "apps", app, "endpoints")))


def _brought(session: Session, wish: Doc) -> Any:
    try:
        return session.api.call("POST", path("sim", "1", "trigger"), wish, timeout_s=_PATIENCE_S)
    except Refused as refused:
        if refused.status == 404 and not _is_simulated(session):
            line = (
                "this server has no simulator, only `homing dev` has; "
                "--only sends one made-up callback, --forward-to URL from here"
            )
            raise CliError(ExitCode.NO_SUCH_THING, line) from refused
        raise


def _is_simulated(session: Session) -> bool:
    try:
        session.api.call("GET", path("sim", "1", "clock"))
    except Refused:
        return False
    return True


def _sent_on(session: Session, wish: Doc, item: Doc, forward: Forward) -> int:
    """Send on what was said, one after the other; what is not settled ends it, for nothing may overtake it."""
    for number, said in enumerate(_said(session, wish, item), 1):
        done = forward.send(said, f"msg_{item['messageId'].replace('-', '')}_{number}", number, test=False)
        what = INCOMING if isinstance(said, IncomingNotification) else said.status
        say(f"  {what} → {done.status}  {done.phases.total_ms} ms")
        if not 200 <= done.status < 300:
            return ExitCode.NO
    return ExitCode.DONE


def _said(session: Session, wish: Doc, item: Doc) -> Iterator[Notification]:
    app, message_id = str(wish["app"]), item["messageId"]
    if wish["status"] == INCOMING:
        now_ms, channel = _ms(session), wish["set"].get("channel")
        yield IncomingNotification(item["identifier"], item["text"], app, now_ms, message_id, channel)
        return
    message = session.api.call("GET", path("1", "messages", message_id))
    for one in message["recipients"]:
        for event in one["events"]:
            at_ms, _ = parse_utc(event["timestamp"])
            yield StatusNotification(
                at_ms, app, message_id, one["identifier"], Status(event["status"]),
                message.get("messageRef"), one.get("recipientRef"), item.get("fallbackRef"),
            )  # fmt: skip


def _ms(session: Session) -> int:
    return round(session.now().timestamp() * 1000)


COMMANDS: Final[Mapping[str, Callable[..., int]]] = {"trigger": trigger}
