"""Whether the machine's clock is right: beside the server's, after all that is stored, and kept in step by NTP."""

import ctypes
from collections.abc import Iterator
from typing import Final

from homing.checkup.case import Case
from homing.checkup.item import Finding, Item, State, item
from homing.checkup.shared_case import SharedCase
from homing.checkup.wording import moment, span

OFF_S: Final = 2.0
"""More than a Date's whole seconds explain."""
_BACK_MS: Final = 1_000
_TIME_ERROR: Final = 5
_TIMEX_BYTES: Final = 512
"""More than any kernel's struct timex; all zero, it asks and sets nothing (adjtimex(2))."""


def check(case: Case) -> list[Item]:
    """Return the item ``clock``."""
    return [item("clock", [*_server(case), *_database(case), *_newest(case), *kept(is_synchronised())])]


def _server(case: Case) -> Iterator[Finding]:
    if case.holder.is_held is False or case.answers is None or case.answers.ahead_s is None:
        return
    off_s = abs(case.answers.ahead_s)
    if off_s > OFF_S:
        hint = "do server and check run on the same machine?"
        yield Finding(f"{span(off_s)} from the server's", State.WARN, hint)
    else:
        yield Finding("as the server's")
    if abs(case.answers.pushed_ms) > OFF_S * 1000:
        yield Finding(f"the server's own is simulated, {span(abs(case.answers.pushed_ms) / 1000)} off")


def _database(case: Case) -> Iterator[Finding]:
    if isinstance(case, SharedCase):
        yield beside(case.sight.ahead_s)


def beside(ahead_s: float) -> Finding:
    """Return what it means how far the database's clock is ahead: messages go by it, signatures by the machine's."""
    if abs(ahead_s) <= OFF_S:
        return Finding("as the database's")
    told = f"{span(abs(ahead_s))} {'behind' if ahead_s > 0 else 'ahead of'} the database's"
    hint = "let NTP keep both machines' clocks: receivers refuse signatures of another time"
    return Finding(told, State.WARN, hint)


def _newest(case: Case) -> Iterator[Finding]:
    if not case.is_known:
        return
    newest_ms = case.newest_ms()
    if newest_ms is not None:
        yield after(newest_ms, case.now_ms())


def after(newest_ms: int, now_ms: int) -> Finding:
    """Return what the time means beside that of the newest event in the store."""
    if now_ms >= newest_ms - _BACK_MS:
        return Finding("after the newest event")
    told = f"{span((newest_ms - now_ms) / 1000)} before the newest event in the store ({moment(newest_ms)})"
    return Finding(told, State.FAIL, "set the clock right: events would be told out of their order")


def kept(synchronised: bool | None) -> Iterator[Finding]:
    """Yield what the kernel's word on its clock means; nothing where it says nothing."""
    if synchronised is False:
        yield Finding("not synchronised", State.WARN, "let NTP keep it (chrony, systemd-timesyncd)")
    elif synchronised:
        yield Finding("synchronised")


def is_synchronised() -> bool | None:
    """Ask the kernel whether something keeps its clock right; None where it does not tell."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR
