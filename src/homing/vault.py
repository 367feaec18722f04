"""Secrets at rest: what the store keeps for us is sealed under one master key, which the store never sees.

AES-256-GCM with a random nonce; the key's id stands in front, the context (what the secret is for) is authenticated,
so that a sealed secret is worthless in any other place. It must not know what it seals.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homing.errors import ConfigError, HomingError, WrongMasterKey
from homing.telemetry import LogEvent, logger

KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_SETTING: Final = "[security] master_key_file"


class Vault:
    """Seals and opens under one master key of 32 bytes; ``key_id`` tells keys apart and tells nothing about them."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != KEY_BYTES:
            raise ConfigError(f"a master key has {KEY_BYTES} bytes, not {len(master_key)}: see {_SETTING}")
        self._master_key = master_key
        self._id = self.derive("key id")[:_KEY_ID_BYTES]
        self._aead = AESGCM(self.derive("seal"))
        self.key_id: Final = self._id.hex()

    def __repr__(self) -> str:
        return f"Vault({self.key_id})"

    @classmethod
    def load_or_create(cls, path: Path) -> "Vault":
        """Return the vault of the key in ``path`` (base64 of 32 bytes); a missing file is made, mode 0600.

        `ConfigError` for a file that holds anything else or cannot be read or made.
        """
        try:
            if not path.exists():
                _create(path)
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError as error:
            raise ConfigError(f"the master key cannot be read or made: {error} (see {_SETTING})") from error
        if mode & 0o077:
            logger().warning(LogEvent.CONFIG_WARNED, setting=_SETTING, mode=f"{mode:04o}", wanted="0600")
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> "Vault":
        """Return the vault of the key in ``path``; nothing is made. `ConfigError` as `load_or_create`."""
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"the master key cannot be read: {error} (see {_SETTING})") from error
        try:
            master_key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error as error:
            raise ConfigError(f"{path} is not base64: see {_SETTING}") from error
        return cls(master_key)

    def seal(self, plain: bytes, context: str) -> bytes:
        """Return key id, nonce and ciphertext: 36 bytes more than ``plain``, never twice the same."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._id + nonce + self._aead.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return what was sealed for this context.

        `WrongMasterKey` when another key sealed it, `HomingError` when it was sealed for another context or altered.
        """
        if not hmac.compare_digest(sealed[:_KEY_ID_BYTES], self._id):
            raise WrongMasterKey(f"a secret is sealed under another master key: check {_SETTING}")
        nonce, body = sealed[_KEY_ID_BYTES:][:_NONCE_BYTES], sealed[_KEY_ID_BYTES + _NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, body, context.encode())
        except (InvalidTag, ValueError) as error:
            raise HomingError(f"the sealed secret of {context} is damaged") from error

    def derive(self, purpose: str) -> bytes:
        """Return 32 bytes that only this master key gives for this purpose (HKDF-Expand's first block, RFC 5869)."""
        return hmac.new(self._master_key, b"homing " + purpose.encode() + b"\x01", hashlib.sha256).digest()


def _create(path: Path) -> None:
    """Write a new key so that the file is whole or absent, and never replaces one made meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
