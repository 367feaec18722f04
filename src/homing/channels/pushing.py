"""One wake-up push: to each of a person's devices, once each, with what the services answered told to the engine.

A push wakes and proves nothing; it is dropped when the message no longer waits. No push error ends a message.
"""

import asyncio
import random
from typing import Final

import msgspec

from homing.channels.ports import ChannelsFor, Counts, Devices, Recorder
from homing.channels.push import (
    PATIENCE_MS,
    Platform,
    PushOutcome,
    PushRequest,
    PushService,
    PushVerdict,
    platform_of,
)
from homing.channels.retry import push_delay_ms
from homing.clock import Clock
from homing.errors import HomingError
from homing.lifecycle.dispatch import Message, PushAccepted, PushRefused
from homing.model import CommandKind, Device, DispatchKey, uuid_text
from homing.store.batch import CommandDone, CommandWork, Note, Occurrence
from homing.store.changes import RetirePushToken
from homing.store.views import PushJob
from homing.telemetry import LogEvent, logger

NOT_CONFIGURED: Final = "push_not_configured"
PUT_OFF: Final = "push_put_off"


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a push command remembers between its tries: when it began, and which devices are done with."""

    since_ms: int
    done: tuple[str, ...] = ()


class Pusher:
    """Carries out push commands. It never raises for a service's fault: that is an outcome."""

    def __init__(
        self,
        recorder: Recorder,
        devices: Devices,
        clock: Clock,
        channels_for: ChannelsFor,
        rng: random.Random,
        counts: Counts,
    ) -> None:
        self._recorder = recorder
        self._devices = devices
        self._clock = clock
        self._channels_for = channels_for
        self._rng = rng
        self._counts = counts

    async def push(self, work: CommandWork, job: PushJob) -> None:
        """Push to every device that is not done with, tell the outcomes, and finish or put off the command."""
        now_ms = self._clock.now_ms()
        if job.message != Message.ENQUEUED or now_ms >= job.expires_at_ms:
            self._recorder.finish([CommandDone(work.key, CommandKind.PUSH)])
            return
        progress = _progress(work.detail) or Progress(now_ms)
        services = self._channels_for(job.app_mode).push
        asks: list[tuple[PushService, PushRequest]] = []
        missing: set[Platform] = set()
        for device in job.devices:
            platform = platform_of(device)
            if platform is None or device.push_token is None or device.id in progress.done:
                continue
            service = services.get(platform)
            if service is None:
                missing.add(platform)
                continue
            asks.append((service, _request(job, device, platform, device.push_token)))
        if missing:
            detail = msgspec.json.encode({"platforms": sorted(missing)}).decode()
            self._recorder.note([Note(work.key, NOT_CONFIGURED, detail)])
        outcomes = await asyncio.gather(*(self._ask(service, request) for service, request in asks))
        requests = [request for _, request in asks]
        await self._tell(work, job, progress, list(zip(requests, outcomes, strict=True)))

    async def _ask(self, service: PushService, request: PushRequest) -> PushOutcome:
        try:
            return await service.push(request)
        except Exception as error:  # noqa: BLE001 - a service's bug must not cost anybody's message
            logger().exception(LogEvent.PUSH_FAILED, platform=request.platform, error=repr(error))
            return PushOutcome(PushVerdict.TRY_LATER, reason=type(error).__name__)

    async def _tell(
        self,
        work: CommandWork,
        job: PushJob,
        progress: Progress,
        answers: list[tuple[PushRequest, PushOutcome]],
    ) -> None:
        occurrences: list[Occurrence] = []
        waits: list[tuple[int, PushRequest, PushOutcome]] = []
        done = list(progress.done)
        now_ms = self._clock.now_ms()
        for request, outcome in answers:
            self._counts.push(request.platform, outcome.verdict.name.lower())
            if outcome.verdict is PushVerdict.TRY_LATER:
                until_ms = min(job.expires_at_ms, progress.since_ms + PATIENCE_MS[request.platform])
                wait_ms = push_delay_ms(
                    request.platform, work.tries, outcome.retry_after_ms, self._rng.random()
                )
                if now_ms + wait_ms < until_ms:
                    waits.append((now_ms + wait_ms, request, outcome))
                    continue
            done.append(request.device.id)
            occurrences.append(_occurrence(work.key, request, outcome))
        self._recorder.submit(occurrences)
        if waits:
            at_ms = min(when for when, _, _ in waits)
            detail = msgspec.json.encode(Progress(progress.since_ms, tuple(done))).decode()
            if not work.tries:
                self._recorder.note([Note(work.key, PUT_OFF, _detail(waits[0][1], waits[0][2]))])
            self._recorder.finish([CommandDone(work.key, CommandKind.PUSH, at_ms, detail, work.tries)])
        else:
            self._recorder.finish([CommandDone(work.key, CommandKind.PUSH)])
        for request, outcome in answers:
            if outcome.verdict is PushVerdict.TOKEN_INVALID:
                await self._retire(request)

    async def _retire(self, request: PushRequest) -> None:
        try:
            await self._devices.apply(RetirePushToken(request.device.id, request.token))
        except HomingError as error:
            # The next push will be refused for the same reason, and retire it then.
            logger().warning(LogEvent.PUSH_FAILED, platform=request.platform, error=str(error))


def _request(job: PushJob, device: Device, platform: Platform, token: str) -> PushRequest:
    text = job.body.notification_text or job.text
    return PushRequest(job.key, device, platform, token, text, job.expires_at_ms)


def _occurrence(key: DispatchKey, request: PushRequest, outcome: PushOutcome) -> Occurrence:
    detail = _detail(request, outcome)
    message_id = uuid_text(key)
    if outcome.verdict is PushVerdict.ACCEPTED:
        logger().debug(LogEvent.PUSH_SENT, message_id=message_id, platform=request.platform)
        return Occurrence(key, PushAccepted(), detail)
    is_dead = outcome.verdict is PushVerdict.TOKEN_INVALID
    logger().info(
        LogEvent.PUSH_REFUSED,
        message_id=message_id,
        platform=request.platform,
        token_invalid=is_dead,
        reason=outcome.reason,
    )
    return Occurrence(key, PushRefused(request.platform, is_dead), detail)


def _detail(request: PushRequest, outcome: PushOutcome) -> str:
    said: dict[str, str] = {"device": request.device.id, "platform": request.platform}
    if outcome.reason is not None:
        said["reason"] = outcome.reason
    return msgspec.json.encode(said).decode()


def _progress(detail: str | None) -> Progress | None:
    if detail is None:
        return None
    try:
        return msgspec.json.decode(detail, type=Progress)
    except msgspec.DecodeError:
        return None
