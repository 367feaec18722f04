"""The two things a node must have before it opens its doors: the master key, and the admin token.

A new embedded store gets both made; of a shared one the operator makes them, for no node can know that it is the first.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from homing.errors import ConfigError, WrongMasterKey
from homing.vault import Vault

_ADMIN_ENV: Final = "HOMING_ADMIN_TOKEN"
_ADMIN_MIN: Final = 32


def vault_of(store: Path, key: Path) -> Vault:
    """Return the vault of the master key; a new key is made for a new store, never beside one that was sealed already."""
    if not key.exists() and store.exists() and store.stat().st_size:
        told = f"the store's secrets are sealed under a master key, and {key} is missing: put it back from its copy"
        raise WrongMasterKey(f"{told}, or set [security] master_key_file")
    return Vault.load_or_create(key)


def shared_vault(key: Path) -> Vault:
    """Return the vault of the key that all nodes have; its operator makes it, for no node can know that it is the first."""
    if not key.exists():
        raise WrongMasterKey(
            f"{key} is missing: copy it from another node, or make it for a new store: "
            f"(umask 077; head -c 32 /dev/urandom | base64 > {key})"
        )
    return Vault.load_or_create(key)


def admin_token_of(data: Path | None, *, is_shared: bool = False) -> str:
    """Return the admin token: the environment's, else the one in ``DATA/admin-token``, made at the first start.

    Not where several nodes share a store: each would make another.
    """
    given = os.environ.get(_ADMIN_ENV)
    if given is not None:
        if len(given) < _ADMIN_MIN or not (given.isascii() and given.isprintable()):
            raise ConfigError(f"{_ADMIN_ENV} must be at least {_ADMIN_MIN} printable ASCII characters")
        return given
    if data is None:
        return "hom_a_" + secrets.token_urlsafe(30)
    path = data / "admin-token"
    if is_shared and not path.exists():
        raise ConfigError(
            f"{_ADMIN_ENV} or {path} must be given: all nodes of one store have the same admin token"
        )
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("hom_a_" + secrets.token_urlsafe(30) + "\n")
    return path.read_text("ascii").strip()
