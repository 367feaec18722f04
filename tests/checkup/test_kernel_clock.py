"""What the kernel says of its clock."""

import ctypes
from typing import Any

import pytest

from homing.checkup import clock


class Kernel:
    """A C library whose adjtimex answers as told."""

    def __init__(self, answer: int) -> None:
        self.adjtimex = lambda _timex: answer


@pytest.mark.parametrize(("answer", "told"), [(0, True), (1, True), (5, False), (-1, None)])
def test_the_kernels_answer_is_read(answer: int, told: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """TIME_ERROR is not synchronised; leap seconds are no fault; a refusal tells nothing."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Kernel(answer))
    assert clock.is_synchronised() is told


def test_this_machines_kernel_is_asked() -> None:
    """It answers, whatever it says, and its clock is not touched: a buffer of zeros sets nothing."""
    assert clock.is_synchronised() in {True, False, None}


def test_a_system_without_adjtimex_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No such function in its C library."""
    library: Any = object()
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: library)
    assert clock.is_synchronised() is None
