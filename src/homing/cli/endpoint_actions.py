"""What `homing endpoints` and `homing inboxes` do beside keeping the list: test, rotate, pause, resume, enable, look."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from homing.cli.client import Doc
from homing.cli.endpoint_named import EndpointArgument, Sort, at, find, name
from homing.cli.endpoint_shown import ATTEMPTS, DEAD, GROUPS, SHOW, show_test
from homing.cli.exits import ExitCode
from homing.cli.render import harmless, say
from homing.cli.secrets import GraceOption, give_once, grace_s, old_one, place_for
from homing.cli.session import AppOption, LimitOption, SecretFileOption, Session, talks

_TEST_S: Final = 120.0
"""How long a test may take: its exchange, and its turn among other tests."""

StatusOption = Annotated[
    str | None, typer.Option("--status", metavar="STATUS", help="What the sample says (enqueued).")
]
ApplyOption = Annotated[
    bool, typer.Option("--apply", help="Where a redirect shows the right URL: set it, and test again.")
]


def commands(sort: Sort) -> Mapping[str, Callable[..., int | None]]:
    """Return these verbs for one sort of endpoint."""

    @talks
    def test(
        session: Session,
        endpoint: EndpointArgument,
        status: StatusOption = None,
        apply: ApplyOption = False,
        app: AppOption = None,
    ) -> int:
        found = find(session, app, endpoint, sort)
        body: Doc = {} if status is None else {"status": status}

        def tested() -> Doc:
            answer: Doc = session.api.call("POST", at(session, app, found, "test"), body, timeout_s=_TEST_S)
            return answer

        answer = tested()
        better = answer.get("betterUrl")
        if apply and better is not None:
            if session.out.is_human:
                show_test(session.out, found, name(found), answer)
            found = session.api.call("PATCH", at(session, app, found), {"url": better})
            say(f"its URL is now {harmless(found['url'])}")
            answer = tested()
        show_test(session.out, found, name(found), answer)
        if better is not None and not apply and not session.out.is_human:
            say(f"--apply sets the URL to {harmless(better)}")
        return ExitCode.DONE if answer["ok"] else ExitCode.NO

    @talks
    def rotate(
        session: Session,
        endpoint: EndpointArgument,
        grace: GraceOption = "24h",
        app: AppOption = None,
        secret_file: SecretFileOption = None,
    ) -> None:
        wish = {"graceSeconds": grace_s(grace)}
        found = find(session, app, endpoint, sort)
        with place_for(secret_file):
            made = session.api.call("POST", at(session, app, found, "rotate-secret"), wish)
            told = f"{sort.what} {found['id']}: {old_one(made)}; the new secret is shown once"
            give_once(session.out, made, ("secret",), secret_file, told, of=found["id"])

    @talks
    def pause(session: Session, endpoint: EndpointArgument, app: AppOption = None) -> None:
        _set_paused(session, app, endpoint, is_paused=True)

    @talks
    def resume(session: Session, endpoint: EndpointArgument, app: AppOption = None) -> None:
        _set_paused(session, app, endpoint, is_paused=False)

    def _set_paused(session: Session, app: int | None, given: str, *, is_paused: bool) -> None:
        found = find(session, app, given, sort)
        changed = session.api.call("PATCH", at(session, app, found), {"paused": is_paused})
        session.out.thing(changed, SHOW)
        if changed["state"] == "disabled":
            say(f"it is disabled all the same: homing {sort.plural} enable {found['id']}")

    @talks
    def enable(
        session: Session,
        endpoint: EndpointArgument,
        replay_missed: Annotated[
            bool, typer.Option("--replay-missed", help="Tell it what it missed, as a job.")
        ] = False,
        app: AppOption = None,
    ) -> None:
        found = find(session, app, endpoint, sort)
        changed = session.api.call("POST", at(session, app, found, "enable"), {"replayMissed": replay_missed})
        session.out.thing(changed, SHOW)
        missed = changed.get("missed")
        if missed is None:
            say("it was not disabled")
            return
        say(f"it heard of nothing since {missed['since']}; {missed['dead']:,} callbacks were given up there")
        if "jobId" in changed:
            say(
                f"job {changed['jobId']} tells it what it missed: homing jobs show {changed['jobId'][-8:]} --watch"
            )
        else:
            say(f"to tell it what it missed: homing replay --endpoint {found['id']} --missed")

    @talks
    def dead(
        session: Session,
        endpoint: EndpointArgument,
        groups: Annotated[
            bool, typer.Option("--groups", help="Only count them, by reason and status.")
        ] = False,
        app: AppOption = None,
        limit: LimitOption = 50,
    ) -> None:
        found = find(session, app, endpoint, sort)
        if groups:
            counted = session.api.call("GET", at(session, app, found, "dead", "groups"))
            session.out.items(counted, GROUPS, "dead callbacks")
            return
        session.out.items(
            session.api.items(at(session, app, found, "dead"), limit=limit), DEAD, "dead callbacks"
        )

    @talks
    def attempts(
        session: Session, endpoint: EndpointArgument, app: AppOption = None, limit: LimitOption = 50
    ) -> None:
        found = find(session, app, endpoint, sort)
        page = session.api.items(at(session, app, found, "attempts"), limit=limit)
        session.out.items(page, ATTEMPTS, "attempts")

    made: dict[str, Callable[..., int | None]] = {
        "test": test,
        "rotate": rotate,
        "pause": pause,
        "resume": resume,
        "enable": enable,
        "dead": dead,
        "attempts": attempts,
    }
    promises = {
        "test": "Send a signed sample now, and tell step by step what came of it; exit 1 if it was not taken.",
        "rotate": "Make a new secret; it goes to stdout, once, and the old one signs for a while as well.",
        "pause": "Let callbacks wait; nothing is lost, and no try is spent.",
        "resume": "Tell what waited while it was paused.",
        "enable": f"Have a disabled {sort.what} told again from now on.",
        "dead": "List what was given up there, of the newest message first.",
        "attempts": "List what was tried and what came back, the newest first.",
    }
    for word, command in made.items():
        command.__doc__ = promises[word]
    return made
