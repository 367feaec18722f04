"""The 18 statuses: spelling, order, numbers, families, bitsets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.contract.errors import ContractError
from homing.contract.status import (
    ALL_MASK,
    FAMILY,
    MEANING,
    NUMBER,
    STATUSES,
    Family,
    Status,
    from_mask,
    mask,
)

WIRE = [
    "enqueued",
    "delivered",
    "read",
    "expired",
    "fallbackOnUndelivered",
    "fallbackOnUnread",
    "fallbackSent",
    "fallbackDelivered",
    "fallbackExpired",
    "fallbackInvalidNumber",
    "fallbackPhoneError",
    "fallbackOperatorError",
    "iOSError",
    "iOSErrorInvalidToken",
    "AndroidError",
    "AndroidErrorInvalidToken",
    "PushSent",
    "IdentifierNotFound",
]


def test_wire_names_and_order() -> None:
    """The 18 values are spelled and ordered as the contract's table, and there are no others."""
    assert [str(status) for status in STATUSES] == WIRE
    assert list(Status) == list(STATUSES)


def test_numbers_never_move() -> None:
    """A status's number is its place in the table: stores keep it."""
    assert [NUMBER[Status(word)] for word in WIRE] == list(range(18))


def test_families_and_meanings() -> None:
    """Each status has a family that fits its name, and a meaning of its own."""
    for status in STATUSES:
        expected = Family.MESSAGE
        if status.startswith("fallback"):
            expected = Family.FALLBACK
        elif status.startswith(("iOS", "Android", "Push")):
            expected = Family.PUSH
        assert FAMILY[status] is expected
    assert len(set(MEANING.values())) == 18
    assert list(MEANING) == list(FAMILY) == list(STATUSES)


@given(st.sets(st.sampled_from(STATUSES)))
def test_mask_round_trip(chosen: set[Status]) -> None:
    """A bitset gives back its statuses, in table order."""
    assert from_mask(mask(chosen)) == tuple(status for status in STATUSES if status in chosen)
    assert mask(chosen) == sum(1 << NUMBER[status] for status in chosen)


def test_all_mask() -> None:
    """ALL_MASK is the set of all 18."""
    assert mask(STATUSES) == ALL_MASK == 2**18 - 1


@pytest.mark.parametrize("bits", [1 << 18, -1])
def test_mask_of_unknown_bits(bits: int) -> None:
    """Bits that mean no status are refused, not dropped."""
    with pytest.raises(ContractError, match="beyond the 18"):
        from_mask(bits)
