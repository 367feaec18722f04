"""How long, how large and when, as people read it in a line."""

from datetime import UTC, datetime
from typing import Final

_SPANS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))
_SIZES: Final = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def span(seconds: float) -> str:
    """Return a length of time in its largest unit: ``3 min``, ``2 d``."""
    for unit, unit_s in _SPANS:
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)} {unit}"
    return f"{seconds:.1f} s"


def size(count: int) -> str:
    """Return a number of bytes in its largest unit: ``1.5 GiB``."""
    for unit, unit_bytes in _SIZES:
        if count >= unit_bytes:
            return f"{count / unit_bytes:.1f} {unit}"
    return f"{count} B"


def moment(at_ms: int) -> str:
    """Return an instant as ISO-8601 UTC, to the second."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat().replace("+00:00", "Z")


def since(at_ms: int, now_ms: int) -> str:
    """Return since when, and how long that is."""
    return f"since {moment(at_ms)} ({span(max(0, now_ms - at_ms) / 1000)})"
