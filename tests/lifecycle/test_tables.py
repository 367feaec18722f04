"""The tables are well formed: no pair twice, every input answered, the composed array is what the rows say."""

from collections import Counter
from itertools import product

import pytest

from homing.lifecycle.dispatch import Fallback, Message, Symbol
from homing.lifecycle.machine import compose
from homing.lifecycle.tables import (
    FALLBACK,
    JOINT,
    MESSAGE,
    NOTES,
    PUSH,
    STORED_AS,
    FallbackRow,
    MessageRow,
    Phase,
)

ROWS: tuple[MessageRow | FallbackRow, ...] = (*MESSAGE, *PUSH, *FALLBACK)


def test_no_two_rows_speak_about_the_same_pair() -> None:
    """What happens in a state on a column is said once."""
    message = Counter(pair for row in (*MESSAGE, *PUSH) for pair in product(row.when, row.hears))
    fallback = Counter(pair for row in FALLBACK for pair in product(row.when, row.hears))
    joint = Counter(pair for row in JOINT for pair in product(row.messages, row.phases))
    for pairs in (message, fallback, joint):
        assert set(pairs.values()) == {1}


@pytest.mark.parametrize("message", Message)
@pytest.mark.parametrize("phase", Phase)
def test_every_input_has_an_answer_in_every_pair_of_states(message: Message, phase: Phase) -> None:
    """Any input may come at any time: none falls through the tables."""
    assert all(compose(message, phase, symbol) is not None for symbol in Symbol if symbol < Symbol.EXPIRY)


def test_a_deadline_out_of_place_has_no_answer() -> None:
    """Deadlines are drawn only from states that have them, so the tables need not speak of the others."""
    assert compose(Message.READ, Phase.OFF, Symbol.EXPIRY) is None
    assert compose(Message.ENQUEUED, Phase.OFF, Symbol.UNREAD_SMS) is None


def test_every_row_that_stays_without_a_word_has_a_note() -> None:
    """Nothing is ignored silently but the clock."""
    silent = [
        row
        for row in ROWS
        if row.then is None and not row.says and row.note is None and row.hears != (Symbol.CLOCK,)
    ]
    assert silent == []


def test_notes_are_stable_snake_case_codes() -> None:
    """They are stored in the history and shown."""
    used = {row.note for row in ROWS} | {row.note for row in JOINT}
    assert used | {"push_repeated"} == {None, *NOTES}
    assert all(code.replace("_", "a").isalpha() and code.islower() for code in NOTES)


def test_every_phase_is_stored_as_a_fallback() -> None:
    """And every stored fallback has a phase."""
    assert set(STORED_AS) == set(Phase)
    assert set(STORED_AS.values()) == set(Fallback)


def test_no_row_says_more_than_two_statuses() -> None:
    """`step` writes one or two events without a loop."""
    assert max(len(row.says) for row in ROWS) == 2


def test_stored_numbers_are_not_renumbered() -> None:
    """The store keeps these numbers; a change here is a migration there."""
    assert [(m.name, m.value) for m in Message] == [
        ("UNKNOWN", 0),
        ("ENQUEUED", 1),
        ("DELIVERED", 2),
        ("READ", 3),
        ("EXPIRED", 4),
    ]
    assert [f.name for f in Fallback] == [
        "OFF",
        "ARMED",
        "DUE",
        "SENT",
        "DELIVERED",
        "EXPIRED",
        "INVALID_NUMBER",
        "PHONE_ERROR",
        "OPERATOR_ERROR",
    ]
