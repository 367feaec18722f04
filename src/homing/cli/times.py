"""Times, durations and rates as people give and read them: ``10m``, ``today``, ``50/s`` in; "3 min ago" out."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from homing.cli.exits import usage
from homing.simulator.durations import duration_ms

_RATE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:/(s|min|h))?", re.ASCII)
_UNITS_S: Final = {None: 1, "s": 1, "min": 60, "h": 3_600}


def seconds(text: str, flag: str) -> int:
    """Return a duration such as ``45s``, ``1h30m`` or ``2d`` in whole seconds, at least 1."""
    ms = _milliseconds(text, flag)
    if ms < 1000:
        raise usage(f"{flag}: at least one second")
    return ms // 1000


def exact_seconds(text: str, flag: str) -> float:
    """Return a duration in seconds with their fraction: ``500ms`` is 0.5, ``0s`` is 0."""
    return _milliseconds(text, flag) / 1000


def per_second(text: str, flag: str) -> float:
    """Return a rate such as ``50/s``, ``50`` or ``30/min`` as so many a second."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise usage(f"{flag}: {text[:40]!r} is no rate such as 50/s or 30/min")
    return float(found[1]) / _UNITS_S[found[2]]


def _milliseconds(text: str, flag: str) -> int:
    try:
        return duration_ms(text)
    except (ValueError, OverflowError) as error:
        raise usage(f"{flag}: {error}") from error


def span(length_s: float) -> str:
    """Return a length of time as durations are given: ``0s``, ``2.4s``, ``1m``, ``24h1s``; tenths at most."""
    minutes, rest_s = divmod(round(length_s, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = ((hours, "h"), (minutes, "m"), (rest_s, "s"))
    return "".join(f"{size:g}{unit}" for size, unit in parts if size) or "0s"


def instant(text: str, flag: str, now: datetime | None = None) -> str:
    """Return a moment as ISO-8601 UTC: ``10m`` is that long ago, ``today`` its midnight (UTC), else ISO-8601 itself."""
    now = now or datetime.now(UTC)
    if text == "today":
        return _iso(now.replace(hour=0, minute=0, second=0, microsecond=0))
    try:
        return _iso(now - timedelta(milliseconds=duration_ms(text)))
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise usage(f"{flag}: {text[:40]!r} is no time such as 10m, today or 2026-11-23T10:00Z") from None
    return _iso(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(text: object, now: datetime | None = None) -> str:
    """Return a moment relative to now: ``3 min ago``, ``in 2 h``; anything that is no moment as it is."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    seconds_past = ((now or datetime.now(UTC)) - moment).total_seconds()
    size = length(abs(seconds_past))
    if size is None:
        return "now"
    return f"{size} ago" if seconds_past > 0 else f"in {size}"


def length(length_s: float) -> str | None:
    """Return a duration in its largest unit: ``24 s``, ``3 min``, ``2 d``; None for less than a second."""
    for unit, unit_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if length_s >= unit_s * (2 if unit == "d" else 1):
            return f"{int(length_s // unit_s)} {unit}"
    return None


def clock(text: str) -> str:
    """Return the time of day of an ISO-8601 moment with its milliseconds, as timelines show it."""
    return text[11:23].rstrip("Z")
