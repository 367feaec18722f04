"""Whether a server has this data directory, and if so, whether it is well."""

from homing.checkup.case import Case
from homing.checkup.item import Finding, Item, State, item
from homing.checkup.live import NAME, heard


def check(case: Case) -> list[Item]:
    """Return the item ``server``; that none runs is no fault."""
    held, pid = case.holder
    who = "" if pid is None else f" as process {pid}"
    answers = case.answers
    if answers is None:
        hint = "give server.listen a port, so that it can be found"
        state = State.OK if held is False else State.WARN
        told = "not running" if held is False else f"running{who}, its port is not in the settings"
        return [item(NAME, [Finding(told, state, "" if held is False else hint)])]
    if held or (held is None and not answers.fault):
        return [item(NAME, [Finding(f"running{who}"), *heard(answers)])]
    if not answers.fault:
        hint = "give the --config or --data that the server was started with"
        told = f"a Homing answers at {answers.url}, but none has {case.data}"
        return [item(NAME, [Finding(told, State.WARN, hint)])]
    return [item(NAME, [Finding("not running")])]
