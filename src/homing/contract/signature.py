"""Standard Webhooks 1.0.0 signatures: secrets, sign, verify, rotation. The payload is always the exact bytes on the wire.

Signed content is ``id.timestamp.payload``; the payload is the exact body, or for GET the exact raw query string.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Final, TypeAlias

import msgspec

from homing.contract.errors import BadSecret, BadSignature, Malformed, TooNew, TooOld, Unencodable

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix, no secret
SECRET_BYTES: Final = 32
TOLERANCE_S: Final = 300

Headers: TypeAlias = Mapping[str, str] | tuple[str, str, str]
"""The request's headers in any case of letters, or (webhook-id, webhook-timestamp, webhook-signature)."""

_BLOCK_BYTES: Final = 64  # of SHA-256, RFC 2104
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))

# A full stop in the id would let one signature fit two splittings of the same bytes.
_is_id: Final = re.compile(r"[!-\-/-~]{1,256}", re.ASCII).fullmatch
_is_timestamp: Final = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII).fullmatch


def secret_from_bytes(raw32: bytes) -> str:
    """Return ``whsec_…`` for 32 random bytes; ContractError for any other length."""
    if len(raw32) != SECRET_BYTES:
        raise BadSecret(f"a secret is made from {SECRET_BYTES} bytes, not {len(raw32)}")
    return SECRET_PREFIX + b2a_base64(raw32, newline=False).decode("ascii")


def key_of(secret: str) -> bytes:
    """Return the HMAC key of a secret: the base64 behind ``whsec_``, 24 to 64 bytes; BadSecret for anything else."""
    if not secret.startswith(SECRET_PREFIX):
        raise BadSecret(f"a secret begins with {SECRET_PREFIX}")
    try:
        key = a2b_base64(secret[len(SECRET_PREFIX) :], strict_mode=True)
    except (Base64Error, ValueError) as fault:
        raise BadSecret(f"what follows {SECRET_PREFIX} is not base64") from fault
    if not 24 <= len(key) <= _BLOCK_BYTES:
        raise BadSecret(f"a secret holds 24 to 64 bytes, not {len(key)}")
    return key


class Signer:
    """One secret, ready to sign: both HMAC pads are hashed once and copied for each signature."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: str | bytes) -> None:
        """Take a secret, or a raw HMAC key of any length as bytes; BadSecret for a text that is no secret."""
        key = key_of(secret) if isinstance(secret, str) else secret
        block = (key if len(key) <= _BLOCK_BYTES else sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(block.translate(_INNER_PAD))
        self._outer = sha256(block.translate(_OUTER_PAD))

    def sign(self, webhook_id: str, timestamp_s: int, payload: bytes) -> str:
        """Return one ``v1,…`` entry for the webhook-signature header.

        `webhook_id` is 1 to 256 printable ASCII characters without space and full stop, else Unencodable.
        """
        if _is_id(webhook_id) is None:
            raise Unencodable(
                "webhook-id must be 1 to 256 printable ASCII characters without space or full stop"
            )
        inner = self._inner.copy()
        inner.update(f"{webhook_id}.{timestamp_s}.".encode("ascii"))
        inner.update(payload)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return "v1," + b2a_base64(outer.digest(), newline=False).decode("ascii")


def sign_all(signers: Sequence[Signer], webhook_id: str, timestamp_s: int, payload: bytes) -> str:
    """Return the webhook-signature header: one entry per signer, while a secret rotates there are two."""
    return " ".join([signer.sign(webhook_id, timestamp_s, payload) for signer in signers])


class SignedHeaders(msgspec.Struct, frozen=True):
    """The three headers, of the right grammar but not yet proven."""

    webhook_id: str
    timestamp_s: int
    signatures: tuple[bytes, ...]


class Verified(msgspec.Struct, frozen=True):
    """What was proven: id and time of the try, and which of the given secrets it was signed with (0 = the first)."""

    webhook_id: str
    timestamp_s: int
    secret_number: int


def read_headers(headers: Headers) -> SignedHeaders:
    """Return the three headers parsed; Malformed when one is missing or of another grammar.

    Only ``v1`` entries of the signature count; other versions are passed over, as the standard says.
    """
    if isinstance(headers, tuple):
        webhook_id, timestamp, signature = headers
    else:
        found = {name.lower(): value for name, value in headers.items()}
        missing = [name for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER) if not found.get(name)]
        if missing:
            raise Malformed(f"without header {', '.join(missing)}")
        webhook_id, timestamp, signature = (
            found[ID_HEADER],
            found[TIMESTAMP_HEADER],
            found[SIGNATURE_HEADER],
        )
    if _is_id(webhook_id) is None:
        raise Malformed(f"{ID_HEADER} is not 1 to 256 printable ASCII characters without space or full stop")
    if _is_timestamp(timestamp) is None:
        raise Malformed(f"{TIMESTAMP_HEADER} is not a number of seconds")
    # Compared as bytes: compare_digest takes no non-ASCII text, and a header may hold any.
    entries = tuple(
        entry.encode("utf-8", "replace") for entry in signature.split(" ") if entry.startswith("v1,")
    )
    if not entries:
        raise Malformed(f"{SIGNATURE_HEADER} has no v1 entry")
    return SignedHeaders(webhook_id, int(timestamp), entries)


def fits(signer: Signer, headers: SignedHeaders, payload: bytes) -> bool:
    """True when one of the signatures is this signer's for id, timestamp and payload; in constant time per entry."""
    expected = signer.sign(headers.webhook_id, headers.timestamp_s, payload).encode("ascii")
    return any([compare_digest(expected, entry) for entry in headers.signatures])  # noqa: C419 - all, always


def verify(
    headers: Headers,
    payload: bytes,
    secrets: Iterable[str | Signer],
    now_s: float,
    tolerance_s: float | None = TOLERANCE_S,
) -> Verified:
    """Return what is proven about a request, or raise Malformed, BadSignature, TooOld or TooNew.

    `payload` is the exact body, for GET the exact raw query. Any of `secrets` may match (rotation); BadSecret when one
    is no secret. The age is judged after the signature, so TooOld and TooNew are about genuine requests;
    `tolerance_s` None accepts any age, for old captures.
    """
    signed = read_headers(headers)
    signers = [Signer(secret) if isinstance(secret, str) else secret for secret in secrets]
    numbers = [number for number, signer in enumerate(signers) if fits(signer, signed, payload)]
    if not numbers:
        raise BadSignature(
            f"no signature fits this payload of {len(payload)} bytes with {len(signers)} secret(s)"
        )
    if tolerance_s is not None:
        age_s = now_s - signed.timestamp_s
        if age_s > tolerance_s:
            raise TooOld(f"sent {age_s:.0f} s ago, {tolerance_s:.0f} s are allowed")
        if age_s < -tolerance_s:
            raise TooNew(f"sent {-age_s:.0f} s from now, {tolerance_s:.0f} s are allowed")
    return Verified(signed.webhook_id, signed.timestamp_s, numbers[0])
