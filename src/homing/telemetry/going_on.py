"""What is done again and again, or one thing after another, goes on whatever one of them comes to; that is logged."""

from collections.abc import Iterator
from contextlib import contextmanager

from homing.errors import HomingError
from homing.telemetry.events import LogEvent
from homing.telemetry.log import logger


@contextmanager
def going_on() -> Iterator[None]:
    """Log what is raised inside, and go on after it; a cancellation is none of it."""
    try:
        yield
    except HomingError as error:
        logger().warning(LogEvent.STORE_FAILED, error=str(error))
    except Exception:  # noqa: BLE001 - who stops here would be missed for good, and by nobody
        logger().exception(LogEvent.NODE_FAILED)
