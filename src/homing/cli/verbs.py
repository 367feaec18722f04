"""The list of verbs: where each one lives and what it does in a line. Imports nothing, so that `homing` answers at once."""

from typing import Final, NamedTuple


class Verb(NamedTuple):
    """One word behind ``homing``; ``module`` holds it in its table ``COMMANDS``."""

    name: str
    module: str
    summary: str


GROUPS: Final[tuple[tuple[str, tuple[Verb, ...]], ...]] = (
    (
        "Start",
        (
            Verb("dev", "start", "everything on this machine, simulated beyond it; what `make serve` runs"),
            Verb("demo", "start", "all 18 statuses in all three forms, seen by real receivers; a self-test"),
            Verb("init", "start", "write a commented homing.toml and a data directory"),
            Verb("serve", "start", "a production node"),
            Verb("check", "check", "whether a node is well, and what to do where it is not"),
            Verb("version", "pages", "which Homing this is"),
            Verb("help", "pages", "explain an error code, the statuses or a verb"),
        ),
    ),
    (
        "Send and look",
        (
            Verb("send", "send", "send a message, and wait for a status"),
            Verb("messages", "look", "messages and their timelines"),
            Verb("explain", "look", "why a message is where it is, and what happens next"),
            Verb("events", "events", "what happened to all messages, and what happens from now on"),
        ),
    ),
    (
        "Callbacks",
        (
            Verb("listen", "listen", "this server's callbacks here, without a public address; resumes"),
            Verb("endpoints", "endpoints", "where callbacks go"),
            Verb("inboxes", "endpoints", "where incoming messages go"),
            Verb("replay", "replay", "tell callbacks again, of a message or of an endpoint"),
            Verb("jobs", "jobs", "replays under way, and those that have ended"),
            Verb("trigger", "trigger", "have any status brought about, or one made-up callback sent"),
            Verb("play", "receive", "a receiver that shows callbacks, checks them and misbehaves on demand"),
            Verb("verify", "receive", "check a signature, and name what went wrong"),
            Verb("sign", "receive", "sign a payload as Homing does"),
        ),
    ),
    (
        "Things",
        (
            Verb("apps", "apps", "applications"),
            Verb("users", "users", "users of an application"),
            Verb("tokens", "tokens", "tokens and OAuth2 clients of back ends"),
        ),
    ),
    ("Simulate", (Verb("clock", "clock", "push the clock of `homing dev` forward"),)),
    (
        "Operate",
        (
            Verb("config", "settings", "the settings in effect, and where each comes from"),
            Verb("backup", "backup", "copy the store, safe while it is served"),
            Verb("restore", "backup", "make a store of a backup, or verify one"),
            Verb("migrate", "migrate", "bring the store's schema up to date, or move it to a PostgreSQL"),
        ),
    ),
)

VERBS: Final[dict[str, Verb]] = {verb.name: verb for _, verbs in GROUPS for verb in verbs}

LATER: Final[frozenset[str]] = frozenset({"sim"})
"""Verbs that a later release brings: they say so."""
