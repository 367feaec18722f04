"""Whether the server lives and takes work: all that a container's health check wants to know."""

from homing.checkup.answers import Answers, ask
from homing.checkup.item import Finding, Item, State, item

NAME = "server"


def live(listen: str) -> Item:
    """Return the one item: FAIL unless the server of these settings answers and is ready."""
    answers = ask(listen)
    if answers is None:
        return item(NAME, [Finding("any free port", State.FAIL, "give server.listen a port")])
    return item(NAME, heard(answers))


def heard(answers: Answers) -> list[Finding]:
    """Return what the answers mean where a server should be."""
    if answers.fault:
        hint = "see its log; is server.listen what it was started with?"
        return [Finding(f"{answers.url}: {answers.fault}", State.FAIL, hint)]
    if not answers.is_ready:
        told = ", ".join(answers.reasons) or "no reason given"
        return [Finding(f"{answers.url} lives, not ready: {told}", State.FAIL, "see its log")]
    return [Finding(f"{answers.url} lives and is ready")]
