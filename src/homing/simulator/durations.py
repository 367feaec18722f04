"""Durations as people write them: ``15m``, ``+2h``, ``300ms``, ``1h30m``; all become whole milliseconds."""

import re
from typing import Final

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_WHOLE: Final = re.compile(r"\+?(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)


def duration_ms(text: str) -> int:
    """Return the milliseconds of a duration; a ``ValueError`` says what was expected. Never negative."""
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is no duration such as 300ms, 15m or 1h30m")
    return round(sum(float(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text)))
