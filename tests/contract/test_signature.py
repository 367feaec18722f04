"""Standard Webhooks signatures: the public vector, the reference library both ways, every flipped bit."""

import base64
import hashlib
import hmac
import random
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from homing.contract.errors import (
    BadSecret,
    BadSignature,
    Malformed,
    NotVerified,
    TooNew,
    TooOld,
    Unencodable,
)
from homing.contract.forms import Form, encode
from homing.contract.notification import IncomingNotification, StatusNotification, attachment_of
from homing.contract.signature import (
    Headers,
    Signer,
    Verified,
    key_of,
    read_headers,
    secret_from_bytes,
    sign_all,
    verify,
)
from homing.contract.status import Status

PUBLIC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
PUBLIC_TIMESTAMP_S = 1_614_265_330
PUBLIC_PAYLOAD = b'{"test": 2432232314}'
PUBLIC_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

SECRET = secret_from_bytes(bytes(range(32)))
OTHER = secret_from_bytes(bytes(range(1, 33)))
NOW_S = 1_700_000_000
SIGNATURE = Signer(SECRET).sign("msg_1", NOW_S, b"payload")
HEADERS = ("msg_1", str(NOW_S), SIGNATURE)

IDS = st.text([chr(point) for point in range(0x21, 0x7F) if chr(point) != "."], min_size=1, max_size=64)
SECONDS = st.integers(0, 4_102_444_800)


def test_public_vector() -> None:
    """The Standard Webhooks v1 test vector is signed and verified exactly."""
    assert Signer(PUBLIC_SECRET).sign(PUBLIC_ID, PUBLIC_TIMESTAMP_S, PUBLIC_PAYLOAD) == PUBLIC_SIGNATURE
    headers = (PUBLIC_ID, str(PUBLIC_TIMESTAMP_S), PUBLIC_SIGNATURE)
    proven = verify(headers, PUBLIC_PAYLOAD, [PUBLIC_SECRET], PUBLIC_TIMESTAMP_S)
    assert proven == Verified(PUBLIC_ID, PUBLIC_TIMESTAMP_S, 0)


def test_public_vector_by_the_reference_library() -> None:
    """The reference library gives the same vector: what we compare with is not our memory."""
    moment = datetime.fromtimestamp(PUBLIC_TIMESTAMP_S, UTC)
    theirs = Webhook(PUBLIC_SECRET).sign(PUBLIC_ID, moment, PUBLIC_PAYLOAD.decode())
    assert theirs == PUBLIC_SIGNATURE


@given(st.binary(min_size=32, max_size=32), IDS, SECONDS, st.text())
def test_same_signature_as_the_reference_library(raw: bytes, webhook_id: str, second: int, text: str) -> None:
    """For any secret, id, second and text ours is the reference library's signature."""
    secret = secret_from_bytes(raw)
    theirs = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(second, UTC), text)
    assert Signer(secret).sign(webhook_id, second, text.encode()) == theirs
    proven = verify((webhook_id, str(second), theirs), text.encode(), [secret], second)
    assert proven == Verified(webhook_id, second, 0)


@pytest.mark.parametrize("form", list(Form))
def test_reference_library_verifies_ours(form: Form) -> None:
    """The reference library accepts a callback of ours in each form, and refuses it when altered."""
    now_s = int(datetime.now(UTC).timestamp())
    payload = encode(StatusNotification(0, "1", "m", "Zoë +1 🎉", Status.READ), form, url_query="a=1").payload
    signature = sign_all([Signer(OTHER), Signer(SECRET)], "msg_1", now_s, payload)
    headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(now_s), "Webhook-Signature": signature}
    Webhook(SECRET).verify(payload, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(payload + b" ", headers, json_parse=False)


@given(st.binary(max_size=200), IDS, SECONDS, st.binary())
def test_same_mac_as_the_standard_library(key: bytes, webhook_id: str, second: int, payload: bytes) -> None:
    """The pads hashed once give HMAC-SHA256 for keys of any length, and a signer can be used again."""
    signer = Signer(key)
    content = f"{webhook_id}.{second}.".encode() + payload
    expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    assert signer.sign(webhook_id, second, payload) == f"v1,{expected}"
    assert signer.sign(webhook_id, second, payload) == f"v1,{expected}"


@given(st.binary(min_size=32, max_size=32))
def test_secret_round_trip(raw: bytes) -> None:
    """A secret is whsec_ and base64 of its 32 bytes, and gives them back as the key."""
    secret = secret_from_bytes(raw)
    assert secret == "whsec_" + base64.b64encode(raw).decode()
    assert key_of(secret) == raw


@pytest.mark.parametrize("size", [0, 31, 33])
def test_secret_of_another_length(size: int) -> None:
    """Secrets are made from exactly 32 bytes."""
    with pytest.raises(BadSecret, match="32 bytes"):
        secret_from_bytes(bytes(size))


@pytest.mark.parametrize("size", [24, 64])
def test_secrets_of_others(size: int) -> None:
    """The standard's 24 to 64 bytes are accepted."""
    assert key_of("whsec_" + base64.b64encode(bytes(size)).decode()) == bytes(size)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        SECRET.upper(),
        SECRET + "\n",
        " " + SECRET,
        SECRET[:-1],
        SECRET.replace("A", "-"),
        "whsec_ü" + "A" * 43,
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_bad_secrets(secret: str) -> None:
    """What is not exactly a secret is refused, and the message does not give it away."""
    with pytest.raises(BadSecret) as caught:
        key_of(secret)
    assert secret.removeprefix("whsec_")[:8] not in str(caught.value) or len(secret) < 8


def test_a_signer_hides_its_secret() -> None:
    """Neither repr nor attributes of a signer show the secret or its key."""
    signer = Signer(SECRET)
    shown = repr(signer) + repr([getattr(signer, name) for name in Signer.__slots__])
    assert SECRET[6:20] not in shown
    assert not hasattr(signer, "__dict__")


@pytest.mark.parametrize("webhook_id", ["", "a.b", "a b", "é", "a\n", "\ud800", "x" * 257])
def test_ids_that_cannot_be_signed(webhook_id: str) -> None:
    """An id with a full stop, a space, anything but printable ASCII, or without end is not signed."""
    with pytest.raises(Unencodable, match="webhook-id"):
        Signer(SECRET).sign(webhook_id, NOW_S, b"")


def test_rotation() -> None:
    """While a secret rotates both entries are sent; who holds either verifies, and is told which it was."""
    header = sign_all([Signer(SECRET), Signer(OTHER)], "msg_1", NOW_S, b"x")
    assert header.count("v1,") == 2
    headers = ("msg_1", str(NOW_S), header)
    assert verify(headers, b"x", [SECRET], NOW_S).secret_number == 0
    assert verify(headers, b"x", [Signer(OTHER)], NOW_S).secret_number == 0
    lone = ("msg_1", str(NOW_S), Signer(OTHER).sign("msg_1", NOW_S, b"x"))
    assert verify(lone, b"x", [SECRET, Signer(OTHER)], NOW_S).secret_number == 1


def test_headers_in_any_case() -> None:
    """Header names are found in any case, beside others."""
    headers = {
        "WEBHOOK-ID": "msg_1",
        "Webhook-Timestamp": str(NOW_S),
        "webhook-signature": SIGNATURE,
        "x": "y",
    }
    assert verify(headers, b"payload", [SECRET], NOW_S) == Verified("msg_1", NOW_S, 0)


def test_other_versions_are_passed_over() -> None:
    """Entries of another version than v1 neither help nor harm."""
    headers = ("msg_1", str(NOW_S), f"v1a,xyz v2,{SIGNATURE[3:]} {SIGNATURE} v1,é")
    assert verify(headers, b"payload", [SECRET], NOW_S).webhook_id == "msg_1"


@pytest.mark.parametrize("gone", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_missing_headers(gone: str, value: str | None) -> None:
    """A missing or empty header is named."""
    headers = dict(zip(["webhook-id", "webhook-timestamp", "webhook-signature"], HEADERS, strict=True))
    del headers[gone]
    if value is not None:
        headers[gone] = value
    with pytest.raises(Malformed, match=f"without header {gone}"):
        verify(headers, b"payload", [SECRET], NOW_S)


@pytest.mark.parametrize(
    "timestamp", ["", "x", "01", "+1", "-1", "1.0", " 1", "1_0", "1e3", "١", "1" * 16, "1\n"]
)
def test_malformed_timestamps(timestamp: str) -> None:
    """Only plain seconds are a timestamp."""
    with pytest.raises(Malformed, match="number of seconds"):
        verify(("msg_1", timestamp, SIGNATURE), b"payload", [SECRET], NOW_S)


@pytest.mark.parametrize("webhook_id", ["", "a.b", "a b", "é", "\ud800"])
def test_malformed_ids(webhook_id: str) -> None:
    """An id that could not have been signed is malformed."""
    with pytest.raises(Malformed, match="webhook-id"):
        verify((webhook_id, str(NOW_S), SIGNATURE), b"payload", [SECRET], NOW_S)


@pytest.mark.parametrize("signature", ["", "v2,abc", SIGNATURE[3:], "V" + SIGNATURE[1:], " "])
def test_signatures_without_a_v1_entry(signature: str) -> None:
    """A signature header without any v1 entry is malformed."""
    with pytest.raises(Malformed, match="no v1 entry"):
        verify(("msg_1", str(NOW_S), signature), b"payload", [SECRET], NOW_S)


@pytest.mark.parametrize(
    "signature", ["v1,", "v1,é", "v1,\ud800", SIGNATURE[:-1], SIGNATURE + "=", SIGNATURE + ",x"]
)
def test_signatures_that_do_not_fit(signature: str) -> None:
    """An entry must be the expected one, character by character."""
    with pytest.raises(BadSignature, match="7 bytes with 1 secret"):
        verify(("msg_1", str(NOW_S), signature), b"payload", [SECRET], NOW_S)


def test_no_secret_verifies_nothing() -> None:
    """Without a secret nothing is genuine; a bad one is told as such."""
    with pytest.raises(BadSignature):
        verify(HEADERS, b"payload", [], NOW_S)
    with pytest.raises(BadSecret):
        verify(HEADERS, b"payload", ["whsec_"], NOW_S)


@pytest.mark.parametrize("off_s", [-300, 0, 300])
def test_within_tolerance(off_s: int) -> None:
    """Up to the tolerance, inclusive, either way, a request is accepted."""
    assert verify(HEADERS, b"payload", [SECRET], NOW_S + off_s).timestamp_s == NOW_S


def test_outside_tolerance() -> None:
    """Beyond it the request is too old or too new, and None accepts any age."""
    with pytest.raises(TooOld, match="301 s ago"):
        verify(HEADERS, b"payload", [SECRET], NOW_S + 301)
    with pytest.raises(TooNew, match="11 s from now"):
        verify(HEADERS, b"payload", [SECRET], NOW_S - 11, tolerance_s=10)
    assert verify(HEADERS, b"payload", [SECRET], 0, tolerance_s=None).timestamp_s == NOW_S


def test_age_is_judged_after_the_signature() -> None:
    """An old forgery is a forgery: TooOld is said of genuine requests only."""
    with pytest.raises(BadSignature):
        verify(HEADERS, b"other", [SECRET], NOW_S + 10_000)


def flips(data: bytes) -> Iterator[bytes]:
    """Yield the data with each single bit flipped."""
    for place in range(len(data)):
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


NOTES = {
    "get": encode(StatusNotification(0, "1", "m", "Zoë + 🎉", Status.READ), Form.GET, url_query="a=b"),
    "form": encode(StatusNotification(0, "1", "m", "Zoë + 🎉", Status.READ), Form.FORM),
    "json": encode(StatusNotification(0, "1", "m", "Zoë + 🎉", Status.READ), Form.JSON),
    "multipart": encode(
        IncomingNotification("ann", "", "1", 0, "m", attachment=attachment_of("a", "a/b", b"\0")), Form.JSON
    ),
}


@pytest.mark.parametrize("form", NOTES)
def test_every_flipped_bit_is_refused(form: str) -> None:
    """Whichever single bit of signature, id, timestamp or payload is flipped, the request is not verified."""
    payload = NOTES[form].payload
    signer = Signer(SECRET)
    parts = [
        b"msg_0190f0c0-0001_1",
        str(NOW_S).encode(),
        signer.sign("msg_0190f0c0-0001_1", NOW_S, payload).encode(),
    ]

    def attempt(header_bytes: list[bytes], body: bytes) -> None:
        webhook_id, timestamp, signature = (part.decode("latin-1") for part in header_bytes)
        verify((webhook_id, timestamp, signature), body, [signer], NOW_S, tolerance_s=None)

    attempt(parts, payload)
    for number, part in enumerate(parts):
        for flipped in flips(part):
            with pytest.raises(NotVerified):
                attempt([*parts[:number], flipped, *parts[number + 1 :]], payload)
    for flipped in flips(payload):
        with pytest.raises(BadSignature):
            attempt(parts, flipped)


def test_moved_full_stops_are_refused() -> None:
    """No other split of the same signed bytes into id, timestamp and payload verifies."""
    signer = Signer(SECRET)
    signature = signer.sign("msg_1", 2, b"3.4")
    for headers, payload in (
        (("msg_1.2", "3", signature), b"4"),
        (("msg_1", "2.3", signature), b"4"),
        (("msg_1.2.3", "4", signature), b""),
    ):
        with pytest.raises(Malformed):
            verify(headers, payload, [signer], 2)


HEADER_TEXT = st.text() | st.sampled_from(["v1,", "v1,a v1,b", "1700000000", "msg_1", "\ud800"])


@given(
    st.tuples(HEADER_TEXT, HEADER_TEXT, HEADER_TEXT)
    | st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), HEADER_TEXT)
)
def test_only_documented_errors(headers: Headers) -> None:
    """Whatever stands in the headers, it is refused with one of the documented errors."""
    with pytest.raises(NotVerified):
        verify(headers, b"payload", [SECRET], NOW_S)


def test_random_signatures_never_fit() -> None:
    """Ten thousand guessed signatures of the right shape are all refused."""
    guess = random.Random(7)
    entries = ["v1," + base64.b64encode(guess.randbytes(32)).decode() for _ in range(10_000)]
    headers = ("msg_1", str(NOW_S), " ".join(entries))
    assert len(read_headers(headers).signatures) == 10_000
    with pytest.raises(BadSignature):
        verify(headers, b"payload", [SECRET], NOW_S)
