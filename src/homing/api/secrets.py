"""Draws the secrets that sign callbacks, as Standard Webhooks has them: ``whsec_`` and 32 random bytes in base64."""

import base64
import secrets

from homing.api.ports import Vault
from homing.callbacks.directory import secret_context


def draw_secret() -> str:
    """Return a new one."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def new_secret(vault: Vault, uid: str) -> tuple[str, bytes]:
    """Return a new one for an endpoint: as receivers know it, and sealed."""
    secret = draw_secret()
    return secret, vault.seal(secret.encode("ascii"), secret_context(uid))
