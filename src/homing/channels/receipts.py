"""Receipts of SMS on their way to their dispatch, also those that come before the answer to the submission.

A receipt is acknowledged to the carrier only when it is on disk; one that fits nothing known is kept for a minute.
"""

from typing import Final

import msgspec

from homing.channels.ports import Counts, Jobs, Recorder
from homing.channels.sms import SmsReceipt
from homing.clock import Alarm, Clock
from homing.lifecycle.dispatch import Fallback, SmsReport
from homing.model import DispatchKey
from homing.store.batch import Occurrence
from homing.telemetry import LogEvent, logger

PARK_MS: Final = 60_000
_PARKED_MOST: Final = 10_000


class _Parked(msgspec.Struct):
    receipt: SmsReceipt
    alarm: Alarm


class Receipts:
    """Finds the dispatch of each receipt and records it."""

    def __init__(self, recorder: Recorder, jobs: Jobs, clock: Clock, counts: Counts) -> None:
        self._recorder = recorder
        self._jobs = jobs
        self._clock = clock
        self._counts = counts
        self._parked: dict[tuple[str, str], _Parked] = {}

    async def take(self, receipt: SmsReceipt) -> bool:
        """Record a receipt; see `sms.ReceiptSink`. Raises what the engine raises when it cannot be stored."""
        key = await self._key_of(receipt)
        if key is None:
            self._park(receipt)
            return False
        await self._record(key, receipt)
        return True

    async def accepted(self, carrier: str, ids: tuple[str, ...]) -> None:
        """Record the receipts that came before these ids were known; to be called once the ids are on disk."""
        for one in ids:
            parked = self._parked.pop((carrier, one), None)
            if parked is not None:
                parked.alarm.cancel()
                await self.take(parked.receipt)

    @property
    def has_parked(self) -> bool:
        """Whether any receipt waits for its submission's answer."""
        return bool(self._parked)

    def close(self) -> None:
        """Forget what is parked: the carrier was not told that it arrived, and will repeat it."""
        for parked in self._parked.values():
            parked.alarm.cancel()
        self._parked.clear()

    async def _key_of(self, receipt: SmsReceipt) -> DispatchKey | None:
        found = await self._jobs.find_sms(receipt.carrier, [receipt.id])
        if receipt.id in found:
            return DispatchKey(found[receipt.id])
        if receipt.reference is None:
            return None
        # The answer to the submission, which brings the id, was lost: our own reference came back instead.
        jobs = await self._jobs.sms_jobs([receipt.reference])
        waits = [job.key for job in jobs if job.state.fallback == Fallback.DUE and job.state.sms_submitted_at]
        return DispatchKey(waits[0]) if waits else None

    async def _record(self, key: DispatchKey, receipt: SmsReceipt) -> None:
        said = {"carrier": receipt.carrier, "id": receipt.id, "outcome": receipt.outcome.name}
        if receipt.detail is not None:
            said["reason"] = receipt.detail
        self._counts.sms(receipt.carrier, f"receipt_{receipt.outcome.name.lower()}")
        logger().debug(LogEvent.SMS_REPORTED, carrier=receipt.carrier, outcome=receipt.outcome.name)
        await self._recorder.record(
            [
                Occurrence(
                    key,
                    SmsReport(receipt.outcome),
                    msgspec.json.encode(said).decode(),
                    ((receipt.carrier, receipt.id),),
                )
            ]
        )

    def _park(self, receipt: SmsReceipt) -> None:
        place = (receipt.carrier, receipt.id)
        if place in self._parked or len(self._parked) >= _PARKED_MOST:
            return
        alarm = self._clock.at(self._clock.now_ms() + PARK_MS, lambda: self._give_up(place))
        self._parked[place] = _Parked(receipt, alarm)

    def _give_up(self, place: tuple[str, str]) -> None:
        parked = self._parked.pop(place, None)
        if parked is not None:
            logger().warning(LogEvent.SMS_FAILED, carrier=place[0], reason="receipt_fits_no_sms")
