"""How old the last backup is, as far as the data directory remembers one."""

from typing import Final

from homing.checkup.case import Case
from homing.checkup.item import Finding, Item, State, item
from homing.checkup.wording import moment, span
from homing.store.backups import Note

OLD_S: Final = 2 * 86_400
"""A daily backup that failed once is noticed."""
_HINT: Final = "homing backup TO"


def check(case: Case) -> list[Item]:
    """Return the item ``backup``."""
    if case.schema is None:
        return [item("backup", [Finding("nothing to back up yet")])]
    note = Note.read(case.data)
    if note is None:
        return [item("backup", [Finding("never", State.WARN, _HINT)])]
    age_s = note.age_s(case.now_ms())
    made = moment(round(note.at.timestamp() * 1000))
    told = f"last {span(age_s)} ago ({made}), in {note.to}"
    return [item("backup", [Finding(told, State.WARN, _HINT) if age_s > OLD_S else Finding(told)])]
