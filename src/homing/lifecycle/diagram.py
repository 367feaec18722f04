"""The lifecycle's tables as Markdown and Mermaid text, for docs/lifecycle.md. Returns text, writes nothing."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from homing.lifecycle.dispatch import Message
from homing.lifecycle.tables import (
    DEADLINES,
    FALLBACK,
    JOINT,
    MESSAGE,
    NOTES,
    PUSH,
    FallbackRow,
    MessageRow,
    Phase,
)

BEGIN: Final = "<!-- drawn from the tables: do not edit below -->"
END: Final = "<!-- end of what is drawn -->"


def refresh(page: str) -> str:
    """The page with everything between its two marks drawn anew; ValueError when a mark is missing."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page needs the marks {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n\n{drawing()}\n{END}{after}"


def drawing() -> str:
    """Both diagrams and every table."""
    parts = (
        ("The message", _mermaid(message_diagram())),
        ("The fallback", _mermaid(fallback_diagram())),
        ("The message's table", message_table()),
        ("Push", push_table()),
        ("The fallback's table", fallback_table()),
        ("The joint table", joint_table()),
        ("Deadlines", deadline_table()),
        ("Notes in the history", note_table()),
    )
    return "\n".join(f"## {title}\n\n{text}" for title, text in parts)


def message_diagram() -> str:
    """The message's states and what leads from one to the next."""
    arrows = ["[*] --> enqueued : known recipient", "[*] --> unknown : IdentifierNotFound"]
    for row in MESSAGE:
        arrows += _arrows(row)
    return _diagram(arrows)


def fallback_diagram() -> str:
    """The fallback's phases; the arrows in capitals come from the message, by the joint table."""
    arrows = ["[*] --> off : mode off"]
    arrows += [f"[*] --> {_name(phase)}" for phase in Phase if phase.name.startswith("ARMED")]
    for row in FALLBACK:
        arrows += _arrows(row)
    for joint in JOINT:
        arrows += [f"{_name(phase)} --> {_name(joint.then)} : {joint.why.upper()}" for phase in joint.phases]
    return _diagram(arrows)


def message_table() -> str:
    """The rows of MESSAGE."""
    return _message_rows(MESSAGE)


def push_table() -> str:
    """The rows of PUSH."""
    return _message_rows(PUSH)


def fallback_table() -> str:
    """The rows of FALLBACK."""
    return _table(
        ("in", "on", "becomes", "says", "command", "note"),
        (
            (
                _names(row.when),
                _names(row.hears),
                "" if row.then is None else _name(row.then),
                ", ".join(row.says),
                "" if row.command is None else _name(row.command),
                row.note or "",
            )
            for row in FALLBACK
        ),
    )


def joint_table() -> str:
    """The rows of JOINT."""
    return _table(
        ("when the message becomes", "and the fallback is", "it becomes", "command", "why"),
        (
            (
                _names(row.messages),
                _names(row.phases),
                _name(row.then),
                "" if row.command is None else _name(row.command),
                row.why,
            )
            for row in JOINT
        ),
    )


def deadline_table() -> str:
    """The rows of DEADLINES, in the order in which equal times take effect."""
    return _table(
        ("deadline", "runs while the message is", "and the fallback is", "its time"),
        (
            (
                _names(dict.fromkeys((row.notify, row.sms))),
                _names(row.messages),
                "anything" if row.phases == tuple(Phase) else _names(row.phases),
                row.why,
            )
            for row in DEADLINES
        ),
    )


def note_table() -> str:
    """The codes of NOTES and what they say."""
    return _table(("note", "says"), NOTES.items())


def _message_rows(rows: tuple[MessageRow, ...]) -> str:
    return _table(
        ("in", "on", "becomes", "says", "note"),
        (
            (
                "any" if row.when == tuple(Message) else _names(row.when),
                "any other input" if row.note == "unknown_recipient" else _names(row.hears),
                "" if row.then is None else _name(row.then),
                ", ".join(row.says),
                ", ".join(filter(None, (row.note, "the fallback hears it too" if row.hands_on else None))),
            )
            for row in rows
        ),
    )


def _arrows(row: MessageRow | FallbackRow) -> list[str]:
    """One arrow per state that the row leaves, labelled with its columns and what is said."""
    if row.then is None:
        return []
    label = _names(row.hears) + (f" / {', '.join(row.says)}" if row.says else "")
    return [f"{_name(state)} --> {_name(row.then)} : {label}" for state in row.when]


def _diagram(arrows: Iterable[str]) -> str:
    return "stateDiagram-v2\n" + "".join(f"    {arrow}\n" for arrow in arrows)


def _mermaid(text: str) -> str:
    return f"```mermaid\n{text}```\n"


def _name(member: IntEnum) -> str:
    return member.name.lower()


def _names(members: Iterable[IntEnum]) -> str:
    return ", ".join(_name(member) for member in members)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
