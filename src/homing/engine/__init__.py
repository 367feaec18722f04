"""The engine: everything that happens, recorded in batches (`loop`), out of one set of queues (`intake`)."""

from homing.engine.loop import Engine

__all__ = ["Engine"]
