"""What Homing tells its operator: logs here, metrics in `homing.telemetry.metrics`. It must never stop any work."""

from homing.telemetry.events import LogEvent
from homing.telemetry.going_on import going_on
from homing.telemetry.log import configure, logger, recipient_h

__all__ = ["LogEvent", "configure", "going_on", "logger", "recipient_h"]
