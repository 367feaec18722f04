"""A message from a person to the application, on its way onto the disk."""

import uuid_utils

from homing.gateway.frames import SendMessage
from homing.gateway.ports import Recorder
from homing.model import Device, MessageId, uuid_text
from homing.store.batch import Incoming
from homing.telemetry import LogEvent, logger


async def take_in(recorder: Recorder, device: Device, message: SendMessage) -> MessageId:
    """Store a message that nothing is wrong with; on disk when it returns its id."""
    incoming = Incoming(
        message_id=MessageId(uuid_utils.uuid7().bytes),
        app=device.app,
        recipient=device.recipient,
        identifier=device.identifier,
        device=device.id,
        text=message.text,
        channel=message.channel,
        client_ref=message.client_ref,
    )
    message_id = await recorder.take_in(incoming)
    logger().debug(LogEvent.MESSAGE_INCOMING, app=device.app, message_id=uuid_text(message_id))
    return message_id
