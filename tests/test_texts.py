"""Texts that no store keeps are found wherever they stand."""

from homing.texts import nul_places


def test_every_text_with_u0000_is_found_with_its_path() -> None:
    """In lists, in objects, as a key; what merely looks like it is none."""
    value = {"a": "x\0", "b": ["y", {"c": "\0"}], "d\0": "z", "e": "\\u0000", "f": [1, None, True]}
    assert list(nul_places(value)) == ["$.a", "$.b[1].c", "$.d\0"]
    assert list(nul_places("\0")) == ["$"]
    assert list(nul_places(7)) == []
