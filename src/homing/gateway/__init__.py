"""The devices' door: WebSocket ``homing.v1``, the same verbs over plain HTTP, log-ins (API.md §2, DESIGN.md §8)."""

from homing.gateway.server import Gateway

__all__ = ["Gateway"]
