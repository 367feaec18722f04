"""Identifiers compare by NFC and casefold."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.identifiers import fold_identifier


@pytest.mark.parametrize(
    "one, other",
    [("Ann", "aNN"), ("Ä", "a\u0308"), ("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφοσ"), ("39333", "39333")],
)
def test_spellings_of_one_identifier_are_the_same(one: str, other: str) -> None:
    """Case and composition do not matter."""
    assert fold_identifier(one) == fold_identifier(other)


@pytest.mark.parametrize("one, other", [("ann", "anne"), ("a", "ä"), ("a b", "ab"), ("a", "a "), ("ı", "i")])
def test_different_identifiers_stay_different(one: str, other: str) -> None:
    """Nothing else is folded: no accents, no blanks, no look-alikes."""
    assert fold_identifier(one) != fold_identifier(other)


@given(st.text())
def test_folding_twice_changes_nothing_and_gives_nfc(text: str) -> None:
    """A folded identifier is a fixed point, in NFC, and equal to that of every canonical spelling."""
    folded = fold_identifier(text)
    assert fold_identifier(folded) == folded
    assert unicodedata.is_normalized("NFC", folded)
    assert fold_identifier(unicodedata.normalize("NFD", text)) == folded
