"""What the operator decides: one frozen `Settings` from defaults, ``homing.toml``, the environment and flags.

An unknown key is an error that names the nearest known one; a key whose subject does not exist yet is refused, never
silently ignored. Nothing here opens what a setting names.
"""

from homing.config.load import Loaded, Option, Origin, load
from homing.config.settings import (
    KEYS,
    LATER,
    ROLES,
    Callbacks,
    Role,
    Secret,
    Security,
    Server,
    Settings,
    Store,
    Telemetry,
)

__all__ = [
    "KEYS", "LATER", "ROLES", "Callbacks", "Loaded", "Option", "Origin", "Role", "Secret", "Security", "Server", "Settings",
    "Store", "Telemetry", "load",
]  # fmt: skip
