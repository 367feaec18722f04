"""Which texts can be kept: all but those with U+0000, which no text of a PostgreSQL can hold, nor a string in C."""

from collections.abc import Iterator
from typing import Final

NUL: Final = "\0"
SAYS_NUL: Final = b"\\u0000"
"""How JSON spells it, the only way there is: a body without these bytes holds none."""
FAULT: Final = "must not hold the character U+0000"


def nul_places(value: object, path: str = "$") -> Iterator[str]:
    """Yield the JSON paths of all texts with U+0000 in a decoded value; a key with it stands for what it names."""
    if isinstance(value, str):
        if NUL in value:
            yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            if NUL in key:
                yield f"{path}.{key}"
            else:
                yield from nul_places(item, f"{path}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from nul_places(item, f"{path}[{place}]")
