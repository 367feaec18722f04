"""The door for back ends: REST over ASGI. It decides who may do what; what becomes of it the engine and the store know."""

from homing.api.app import Api
from homing.api.ports import Settings
from homing.api.urls import SavedUrls

__all__ = ["Api", "SavedUrls", "Settings"]
