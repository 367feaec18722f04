"""Times and durations as people give and read them: ``10m``, ``today``, ISO-8601 in; "3 min ago" out."""

from datetime import UTC, datetime, timedelta

from homing.cli.exits import usage
from homing.simulator.durations import duration_ms


def seconds(text: str, flag: str) -> int:
    """Return a duration such as ``45s``, ``1h30m`` or ``2d`` in whole seconds, at least 1."""
    try:
        ms = duration_ms(text)
    except ValueError as error:
        raise usage(f"{flag}: {error}") from error
    if ms < 1000:
        raise usage(f"{flag}: at least one second")
    return ms // 1000


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
    size = _size(abs(seconds_past))
    if size is None:
        return "now"
    return f"{size} ago" if seconds_past > 0 else f"in {size}"


def _size(length_s: float) -> str | None:
    for unit, unit_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if length_s >= unit_s * (2 if unit == "d" else 1):
            return f"{int(length_s // unit_s)} {unit}"
    return None


def clock(text: str) -> str:
    """Return the time of day of an ISO-8601 moment with its milliseconds, as timelines show it."""
    return text[11:23].rstrip("Z")
