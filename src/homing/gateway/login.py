"""Logging in: App Key, identifier and password once, for a long-lived device token.

Whoever guesses is slowed down by name and by address, before any password is hashed; a name that is unknown costs as
much time as a wrong password. Beyond the hashes under way only so many may wait.
"""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Final

import msgspec
import uuid_utils

from homing.errors import Conflict, InvalidRequest, NotAcceptable, RateLimited, Unauthorized
from homing.gateway.limits import Buckets
from homing.gateway.ports import Devices
from homing.gateway.tokens import digest, mint
from homing.identifiers import fold_identifier
from homing.model import Credentials, Device
from homing.passwords import UNKNOWN_HASH, verify_password
from homing.store.changes import SaveDevice, SetPushToken
from homing.telemetry import LogEvent, logger, recipient_h

PLATFORMS: Final = ("ios", "android", "web", "other")
MAX_CHARS: Final = 255
NAME_BURST: Final = 5
"""Wrong passwords for one name before it has to wait, and how long until the next may be tried."""
NAME_EVERY_S: Final = 30.0
ADDRESS_BURST: Final = 50
"""From one address more, for a whole company may be behind it."""
ADDRESS_EVERY_S: Final = 1.0
MAX_WAITING: Final = 100
"""Log-ins that may wait for their hash: about a second's worth."""
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class DeviceFacts(msgspec.Struct, frozen=True):
    """What a device says about itself."""

    platform: str
    id: str | None = None
    name: str | None = None


class LoginRequest(msgspec.Struct, frozen=True, rename="camel"):
    """The body of ``POST /device/1/sessions``."""

    app_key: str
    identifier: str
    password: str
    device: DeviceFacts | None = None


class LoggedIn(msgspec.Struct, frozen=True, rename="camel"):
    """Its answer. The token is told this once."""

    token: str
    device_id: str
    epoch: str


class PushTokenRequest(msgspec.Struct, frozen=True):
    """The body of ``PUT /device/1/push-token``."""

    platform: str
    token: str | None = None
    environment: str | None = None
    subscription: dict[str, object] | None = None


class Login:
    """Checks credentials and hands out device tokens."""

    def __init__(
        self,
        devices: Devices,
        epoch: Callable[[], str],
        *,
        name_burst: int = NAME_BURST,
        address_burst: int = ADDRESS_BURST,
    ) -> None:
        self._devices = devices
        self._epoch = epoch
        self._by_name = Buckets(name_burst, 1 / NAME_EVERY_S)
        self._by_address = Buckets(address_burst, 1 / ADDRESS_EVERY_S)
        self._waiting = 0

    async def log_in(self, request: LoginRequest, address: str) -> LoggedIn:
        """Return a new token; `Unauthorized` for wrong credentials, `RateLimited` after several of those."""
        facts = request.device or DeviceFacts("other")
        _check(facts)
        credentials = await self._admit(request, address)
        token = mint()
        device = await self._save(credentials, facts, digest(token))
        logger().info(LogEvent.DEVICE_LOGGED_IN, app=device.app, device=device.id, platform=device.platform)
        return LoggedIn(token, device.id, self._epoch())

    async def _admit(self, request: LoginRequest, address: str) -> Credentials:
        folded = fold_identifier(request.identifier)
        now_s = asyncio.get_running_loop().time()
        if self._waiting >= MAX_WAITING:
            raise RateLimited("too many log-ins at once", retry_after_s=2)
        # Under the log's hash, so that a flood of long made-up names costs little memory.
        by_name = self._by_name.of(f"{request.app_key[:64]}:{recipient_h(0, folded)}", now_s)
        by_address = self._by_address.of(address, now_s)
        # The name's try is taken before the answer is known: many guesses at once count like many in a row.
        wait_s = by_address.wait_s(now_s) or by_name.take(1, now_s)
        if wait_s > 0:
            logger().warning(LogEvent.DEVICE_REFUSED, reason="too_many_attempts", address=address)
            raise RateLimited("too many wrong log-ins; wait", retry_after_s=math.ceil(wait_s))
        self._waiting += 1
        try:
            credentials = await self._devices.credentials(request.app_key, folded)
            known_hash = UNKNOWN_HASH if credentials is None else credentials.password_hash
            is_right = await verify_password(known_hash, request.password[: MAX_CHARS + 1])
        finally:
            self._waiting -= 1
        if credentials is None or not is_right:
            by_address.take(1, now_s)
            logger().info(LogEvent.DEVICE_REFUSED, reason="wrong_credentials", address=address)
            raise Unauthorized("App Key, identifier or password is wrong")
        by_name.give_back(1)
        return credentials

    async def _save(self, credentials: Credentials, facts: DeviceFacts, token_digest: bytes) -> Device:
        change = SaveDevice(
            id=facts.id or str(uuid_utils.uuid7()),
            recipient=credentials.recipient,
            app=credentials.app,
            platform=facts.platform,
            token_digest=token_digest,
            name=facts.name,
        )
        try:
            applied = await self._devices.apply(change)
        except Conflict:
            # The phone was somebody else's: it is a new device for this person, and learns its new id.
            fresh = msgspec.structs.replace(change, id=str(uuid_utils.uuid7()))
            applied = await self._devices.apply(fresh)
        if not isinstance(applied.value, Device):
            raise TypeError("the registry's promise for SaveDevice is a Device")
        return applied.value


def _check(facts: DeviceFacts) -> None:
    if facts.platform not in PLATFORMS:
        raise NotAcceptable(f"device.platform must be one of {', '.join(PLATFORMS)}")
    if facts.id is not None and not _ID.fullmatch(facts.id):
        raise NotAcceptable("device.id must have 1 to 64 letters, digits, '.', '_' or '-'")
    if facts.name is not None and not 1 <= len(facts.name) <= MAX_CHARS:
        raise NotAcceptable(f"device.name must have 1 to {MAX_CHARS} characters")


def push_token(device: str, request: PushTokenRequest) -> SetPushToken:
    """Return the change a device asks for with ``PUT /device/1/push-token``; raises `NotAcceptable`."""
    if request.platform not in {"ios", "android", "web"}:
        raise NotAcceptable("platform must be ios, android or web")
    if request.platform == "web":
        subscription = request.subscription
        if subscription is None:
            raise InvalidRequest("a web push token is given as subscription")
        keys, endpoint = subscription.get("keys"), subscription.get("endpoint")
        if not isinstance(endpoint, str) or not endpoint.startswith("https://") or not isinstance(keys, dict):
            raise NotAcceptable("subscription must be a PushSubscription in JSON: endpoint and keys")
        token = msgspec.json.encode(subscription).decode()
    elif request.token is None:
        raise InvalidRequest("token is missing")
    else:
        token = request.token
    if not 1 <= len(token) <= 4096:
        raise NotAcceptable("a push token must have 1 to 4096 characters")
    if request.environment is not None and request.environment not in {"production", "sandbox"}:
        raise NotAcceptable("environment must be production or sandbox")
    return SetPushToken(device, request.platform, token, request.environment)
