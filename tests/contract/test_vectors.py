"""The golden vectors: checked in, made without our code, equal to what we send, and read back by other parsers."""

import base64
import hashlib
import hmac
import json
from collections import Counter
from email import message_from_bytes
from email.message import Message
from email.policy import HTTP
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from tests.vectors import generate

from homing.contract.decode import read
from homing.contract.forms import Form, encode
from homing.contract.notification import (
    IncomingNotification,
    Notification,
    StatusNotification,
    attachment_of,
)
from homing.contract.signature import Signer, verify
from homing.contract.status import STATUSES, Status

Vector = dict[str, Any]
VECTORS = Path(generate.__file__).parent


def load(filename: str) -> dict[str, Any]:
    """Return a vector file."""
    loaded = json.loads((VECTORS / filename).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


CALLBACKS = load("callbacks.json")
INCOMING = load("incoming.json")
SECRET: str = CALLBACKS["secret"]
ALL: list[Vector] = CALLBACKS["vectors"] + INCOMING["vectors"]
WITH_FILE = [vector for vector in ALL if vector.get("boundary")]
WITHOUT_FILE = [vector for vector in ALL if not vector.get("boundary")]


def notification_of(vector: Vector) -> Notification:
    """Return the vector's input as our struct."""
    given = vector["input"]
    if "status" in given:
        return StatusNotification(
            given["timestampMs"],
            given["applicationId"],
            given["messageId"],
            given["recipient"],
            Status(given["status"]),
            given["messageRef"],
            given["recipientRef"],
            given["fallbackRef"],
        )
    file = given.get("attachment")
    return IncomingNotification(
        given["sender"],
        given["text"],
        given["applicationId"],
        given["timestampMs"],
        given["messageId"],
        given["channel"],
        given["inReplyToMessageId"],
        file and attachment_of(file["name"], file["type"], base64.b64decode(file["contentBase64"])),
    )


def body_of(vector: Vector) -> bytes | None:
    """Return the body as bytes."""
    if "bodyBase64" in vector:
        return base64.b64decode(vector["bodyBase64"])
    body: str | None = vector["body"]
    return None if body is None else body.encode()


def payload_of(vector: Vector) -> bytes:
    """Return what the vector's signature covers."""
    body = body_of(vector)
    query: str = vector["query"] or ""
    return query.encode() if body is None else body


def expected_keys(vector: Vector) -> dict[str, str]:
    """Return the keys a receiver must see, worked out from the input alone."""
    given = {key: value for key, value in vector["input"].items() if value and key != "attachment"}
    ms = given.pop("timestampMs")
    given["timestamp"] = generate.iso(ms, vector["precision"])
    given["type"] = "MessageStatus" if "status" in given else "IncomingMessage"
    return given


def test_the_files_are_what_the_generator_writes() -> None:
    """The checked-in files and their generator agree to the byte."""
    for filename, make in generate.DOCUMENTS.items():
        assert (VECTORS / filename).read_text(encoding="utf-8") == generate.document(make())


def test_the_generator_does_not_use_our_code() -> None:
    """The expectation is independent: the generator imports nothing of homing."""
    imports = [
        line for line in Path(generate.__file__).read_text(encoding="utf-8").splitlines() if "import" in line
    ]
    assert not [line for line in imports if line.startswith(("import", "from")) and "homing" in line]


def test_every_combination_is_there() -> None:
    """18 statuses × 3 forms × 8 combinations of optional keys, each once, with all the awkward characters."""
    seen = Counter(
        (
            vector["input"]["status"],
            vector["form"],
            *(vector["input"][key] is not None for key in ("messageRef", "recipientRef", "fallbackRef")),
        )
        for vector in CALLBACKS["vectors"]
    )
    assert len(seen) == len(STATUSES) * 3 * 8 == 432
    assert set(seen.values()) == {1}
    for form in Form:
        text = "".join(
            str(value)
            for vector in ALL
            if vector["form"] == form
            for value in vector["input"].values()
            if value
        )
        assert set(" +%&=?#/\\\"'\n\r\t\x07\x7fë東🎉\u2028\u200d") <= set(text)


@pytest.mark.parametrize(
    "vectors", [CALLBACKS["vectors"], INCOMING["vectors"]], ids=["callbacks", "incoming"]
)
def test_encoding_is_byte_equal(vectors: list[Vector]) -> None:
    """Each vector is encoded to exactly its method, query, Content-Type and body."""
    for vector in vectors:
        encoded = encode(
            notification_of(vector),
            Form(vector["form"]),
            vector["precision"],
            url_query=vector["urlQuery"],
            boundary=vector.get("boundary"),
        )
        seen = (encoded.method, encoded.query, encoded.content_type, encoded.body, encoded.payload)
        wire = (vector["method"], vector["query"], vector["contentType"], body_of(vector), payload_of(vector))
        assert seen == wire, vector["name"]


def test_signatures_are_equal_and_verify() -> None:
    """Each vector's signature is ours, verifies, and is what the standard library's HMAC gives."""
    signer = Signer(SECRET)
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    for vector in ALL:
        headers, payload = vector["headers"], payload_of(vector)
        webhook_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        mac = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + payload, hashlib.sha256)
        assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
        assert headers["webhook-signature"] == signer.sign(webhook_id, int(timestamp), payload)
        assert verify(headers, payload, [SECRET], int(timestamp)).webhook_id == webhook_id


def test_decoding_gives_the_input_back() -> None:
    """Each vector is decoded to its input, less what whole seconds cannot say; the URL's own part is extra."""
    for vector in ALL:
        note = notification_of(vector)
        if vector["precision"] == "s":
            note = msgspec.structs.replace(note, timestamp_ms=note.timestamp_ms // 1000 * 1000)
        seen = read(vector["method"], vector["query"] or "", vector["contentType"], body_of(vector) or b"")
        assert (seen.notification, seen.precision) == (note, vector["precision"]), vector["name"]
        own = [piece for piece in vector["urlQuery"].split("&") if piece]
        assert [name for name, _ in seen.extra] == [piece.partition("=")[0] for piece in own]


def test_independent_parsers_read_the_same() -> None:
    """urllib.parse and json see exactly the keys of the input, and nothing else."""
    for vector in WITHOUT_FILE:
        if vector["form"] == "json":
            seen = list(json.loads(vector["body"]).items())
        else:
            text = vector["query"] or vector["body"]
            own = parse_qsl(vector["urlQuery"], keep_blank_values=True)
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict" if not own else "replace")
            assert pairs[: len(own)] == own
            seen = pairs[len(own) :]
        assert len(seen) == len(dict(seen))
        assert dict(seen) == expected_keys(vector), vector["name"]
        order = generate.STATUS_ORDER if "status" in vector["input"] else generate.INCOMING_ORDER
        assert [key for key, _ in seen] == [key for key in order if key in dict(seen)]


def test_an_independent_parser_reads_the_files() -> None:
    """The standard library's MIME parser sees the keys, the facts and the file of each multipart vector."""
    for vector in WITH_FILE:
        head = f"Content-Type: {vector['contentType']}\r\n\r\n".encode()
        parts = message_from_bytes(head + (body_of(vector) or b""), policy=HTTP).get_payload()
        assert isinstance(parts, list)
        seen = {}
        for part in parts:
            assert isinstance(part, Message)
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            seen[part.get_param("name", header="content-disposition")] = content
        file = vector["input"]["attachment"]
        content = base64.b64decode(file["contentBase64"])
        expected = {key: value.encode() for key, value in expected_keys(vector).items()}
        expected |= {
            "attachmentName": file["name"].encode(),
            "attachmentType": file["type"].encode(),
            "attachmentSize": str(len(content)).encode(),
            "attachmentSha256": hashlib.sha256(content).hexdigest().encode(),
            "attachment": content,
        }
        assert seen == expected, vector["name"]
