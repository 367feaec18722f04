"""What people and programs see of endpoints: their options and health, tries, what was given up, and tests."""

from typing import Any, Final

from homing.cli.client import Doc
from homing.cli.render import Column, Item, Out, Style, end_of_id, field, harmless, moment

_METHODS: Final = {"get": "GET", "form": "POST", "json": "POST"}
_NAME_WIDTH: Final = 9


def _log_in(endpoint: Item) -> str | None:
    auth = endpoint.get("auth")
    if auth is None:
        return None
    return f"basic {auth['basic']['username']}" if "basic" in auth else "bearer"


def _trusts(endpoint: Item) -> str | None:
    tls = endpoint.get("tls")
    if tls is None:
        return None
    return "anybody (dangerousSkipVerify)" if tls["dangerousSkipVerify"] else "its own CA"


LIST: Final = (
    field("id"),
    field("form"),
    field("state"),
    moment("lastSuccessAt"),
    field("url"),
    field("description"),
    field("kind"),
    field("stateReason"),
    moment("failingSince"),
    moment("disabledAt"),
)
SHOW: Final = (
    *(field(name) for name in ("id", "kind", "form", "url", "statuses", "description", "timestampPrecision")),
    *(field(name) for name in ("ordered", "maxInFlight", "ratePerSecond", "retryDelaysSeconds")),
    field("timeoutSeconds"),
    Column("headers", lambda endpoint: list(endpoint["headers"]) if "headers" in endpoint else None),
    Column("auth", _log_in),
    Column("tls", _trusts),
    *(field(name) for name in ("paused", "state", "stateReason", "createdAt")),
    *(moment(name) for name in ("lastSuccessAt", "failingSince", "disabledAt")),
    field("jobId"),
)
ATTEMPTS: Final = (
    end_of_id("messageId"),
    moment("startedAt"),
    field("event"),
    field("attempt"),
    Column("answered", lambda attempt: attempt["status"] or attempt["error"]),
    field("durationMs"),
    field("note"),
)
DEAD: Final = (
    end_of_id("messageId"),
    field("recipient"),
    field("seq"),
    field("status"),
    moment("deadAt"),
    field("reason"),
)
GROUPS: Final = (
    field("reason"),
    field("status"),
    field("count"),
    moment("oldest"),
    moment("newest"),
)


def show_test(out: Out, endpoint: Doc, name: str, test: Doc) -> None:
    """Print what came of a test: the API's answer as JSON, else each step on a line and the verdict behind them.

    A plain line is name, detail, milliseconds, and ``ok`` or ``FAIL``.
    """
    if out.style in {Style.JSON, Style.JSONL}:
        out.document(test)
        return
    steps: list[dict[str, Any]] = test["steps"]
    if not out.is_human:
        for step in steps:
            out.row([step["name"], step["detail"], step.get("tookMs"), _word(step)])
        out.row(["verdict", test["verdict"], test["durationMs"], _word(test)])
        return
    out.line(f"{name}   {_METHODS[endpoint['form']]} {endpoint['form']}   {harmless(endpoint['url'])}")
    details = [harmless(step["detail"]) for step in steps]
    width = max(map(len, details), default=0)
    for step, detail in zip(steps, details, strict=True):
        took = f"{step['tookMs']} ms" if "tookMs" in step else ""
        out.line(f"  {step['name']:<{_NAME_WIDTH}} {detail:<{width}}  {took:>8}   {_word(step)}")
    hint = "   [fix it: --apply]" if "betterUrl" in test else ""
    out.line(f"  {'verdict':<{_NAME_WIDTH}} {harmless(test['verdict'])}{hint}")


def _word(tried: Item) -> str:
    return "ok" if tried["ok"] else "FAIL"
