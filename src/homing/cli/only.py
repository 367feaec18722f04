"""`homing trigger --only`: one made-up callback, sent from here, or by the server to an endpoint that it knows."""

import time
from collections.abc import Mapping
from pathlib import Path

import uuid_utils

from homing.callbacks.diagnosis import note
from homing.cli.client import Doc, path
from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.posting import Forward, show
from homing.cli.render import harmless, say
from homing.cli.sample import sample
from homing.cli.session import Session
from homing.cli.target import find_dev
from homing.contract.status import Status
from homing.simulator.lives import INCOMING, SHORTEST


def send_one(
    session: Session, app: int | None, what: str, to: str | None, given: Mapping[str, str], forward: Forward
) -> int:
    """Send one from here and print the answer; no server is asked. 0 only if that settles it."""
    if app is None:
        dev = find_dev(Path.cwd())
        app = 1 if dev is None else dev.app_id
    if to is not None:
        given = {"sender" if what == INCOMING else "recipient": to, **given}
    sequence = 1 if what == INCOMING else len(SHORTEST[Status(what)].says)
    webhook_id = f"msg_{uuid_utils.uuid7().hex}"
    it = sample(what, app, time.time_ns() // 1_000_000, given)
    done = forward.send(it, webhook_id, sequence, test=True)
    text, took_ms = done.answer.decode("utf-8", "replace"), done.phases.total_ms
    shown: Doc = {"webhookId": webhook_id, "status": done.status, "durationMs": took_ms, "answer": text}
    code = show(session.out, shown)
    if (meaning := note(done)) is not None:
        say(harmless(meaning))
    return code


def have_one_sent(session: Session, app: int, what: str, to: str | None, given: Mapping[str, str]) -> int:
    """Have the server send one to the application's oldest endpoint, or inbox, and tell what came of it."""
    if to is not None or given:
        raise usage("--only takes --to and --set where it sends from here: with --forward-to URL")
    where = path("1", "apps", app, "endpoints")
    kind, name = ("inbox", "inbox") if what == INCOMING else ("status", "endpoint")
    endpoint = next((one for one in session.api.each(where) if one["kind"] == kind), None)
    if endpoint is None:
        raise CliError(ExitCode.NO_SUCH_THING, f"application {app} has no {name}")
    body: Doc = {} if what == INCOMING else {"status": what}
    tried = session.api.call("POST", f"{where}{path(endpoint['id'], 'test')}", body)
    code = show(session.out, tried)
    say(harmless(f"{endpoint['url']}: {tried['verdict']}"))
    return code
