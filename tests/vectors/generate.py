"""Writes the golden vectors beside it with the standard library alone: it must never import homing.

Run ``python tests/vectors/generate.py`` after a change of the contract, and read the diff: these files are the promise
to every receiver.
"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

HERE = Path(__file__).parent

KEY = bytes(range(1, 33))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
TIMESTAMP_S = 1_795_464_427
BOUNDARY = "homing-vector-7f3a"

STATUSES = (
    *("enqueued", "delivered", "read", "expired"),
    *("fallbackOnUndelivered", "fallbackOnUnread", "fallbackSent", "fallbackDelivered", "fallbackExpired"),
    *("fallbackInvalidNumber", "fallbackPhoneError", "fallbackOperatorError"),
    *("iOSError", "iOSErrorInvalidToken", "AndroidError", "AndroidErrorInvalidToken", "PushSent"),
    "IdentifierNotFound",
)
FORMS = ("get", "form", "json")

NAMES = (
    "ann",
    "Mario Rossi",
    "ann+bank@example.org",
    "Zoë Müller-Łukasz",
    "東京 太郎",
    "👩‍👩‍👧 family 🎉",
    'O\'Neill "Bob" \\ Jr.',
    "a/b?c=d&e#f;g",
    "100% ~-._ sure",
    "été e\u0301te\u0301",
    "עברית العربية",
    "{[<|>]} ^`$!*(),:@",
    " leading and trailing ",
    "%20+%2B is not decoded twice",
)
MESSAGE_REFS = (
    "order-4711",
    "order 4711 / 2026",
    "1+1=2",
    "line one\nline two",
    "tab\there\r\nand CRLF",
    "bell \x07, escape \x1b, delete \x7f, unit \x1f",
    "line\u2028separator\u2029paragraph",
    "no-break\u00a0space, zero\u200bwidth, \ufeffmark",
    "🧾#9",
    "x" * 255,
)
RECIPIENT_REFS = (
    "42",
    "klant nr. 42",
    "a&b=c",
    "ключ",
    '"quoted"',
    "../../etc/passwd",
    "\U0010ffff end",
    "null",
)
FALLBACK_REFS = ("+393331234567", "393331234567", "+39 333 123 4567", "(0)333/123-45.67", "00 39 333")
URL_QUERIES = ("", "", "tenant=a%20b", "k=%e9&x=1+1&flag", "t=1&")

STATUS_ORDER = (
    *("type", "timestamp", "applicationId", "messageId", "recipient", "status"),
    *("messageRef", "recipientRef", "fallbackRef"),
)
INCOMING_ORDER = (
    *("sender", "text", "applicationId", "timestamp", "messageId", "type", "channel", "inReplyToMessageId"),
)

Vector = dict[str, Any]


def iso(ms: int, precision: str) -> str:
    """Return the contract's spelling of an instant."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    spelled = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{spelled}.{moment.microsecond // 1000:03d}Z" if precision == "ms" else f"{spelled}Z"


def signed(vector: Vector, webhook_id: str, payload: bytes) -> Vector:
    """Return the vector with its Standard Webhooks headers."""
    content = f"{webhook_id}.{TIMESTAMP_S}.".encode() + payload
    mac = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    vector["headers"] = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(TIMESTAMP_S),
        "webhook-signature": f"v1,{mac}",
    }
    return vector


def on_the_wire(form: str, pairs: list[tuple[str, str]], url_query: str) -> tuple[Vector, bytes]:
    """Return (method, query, contentType, body as far as they are) and the payload."""
    if form == "get":
        own = url_query if not url_query or url_query.endswith("&") else url_query + "&"
        query = own + "&".join(f"{key}={quote(value, safe='')}" for key, value in pairs)
        return {"method": "GET", "query": query, "contentType": None, "body": None}, query.encode()
    if form == "form":
        body = "&".join(f"{key}={quote_plus(value, safe='')}" for key, value in pairs)
        media_type = "application/x-www-form-urlencoded"
    else:
        body = json.dumps(dict(pairs), ensure_ascii=False, separators=(",", ":"))
        media_type = "application/json"
    return {"method": "POST", "query": None, "contentType": media_type, "body": body}, body.encode()


def callbacks() -> list[Vector]:
    """Return 18 statuses × 3 forms × 8 combinations of the optional keys."""
    vectors = []
    for index in range(len(STATUSES) * len(FORMS) * 8):
        rest, combination = divmod(index, 8)
        status_number, form_number = divmod(rest, len(FORMS))
        form, status = FORMS[form_number], STATUSES[status_number]
        precision = "ms" if combination % 4 == status_number % 4 else "s"
        given: dict[str, Any] = {
            "timestampMs": 1_464_098_227_000 + index * 86_399_977,
            "applicationId": str(318 + status_number),
            "messageId": f"0190f0c0-{index:04x}-7abc-8def-0123456789ab",
            "recipient": NAMES[index % len(NAMES)],
            "status": status,
            "messageRef": MESSAGE_REFS[index % len(MESSAGE_REFS)] if combination & 4 else None,
            "recipientRef": RECIPIENT_REFS[index // 3 % len(RECIPIENT_REFS)] if combination & 2 else None,
            "fallbackRef": FALLBACK_REFS[index // 5 % len(FALLBACK_REFS)] if combination & 1 else None,
        }
        url_query = URL_QUERIES[index % len(URL_QUERIES)] if form == "get" else ""
        values = {**given, "type": "MessageStatus", "timestamp": iso(given["timestampMs"], precision)}
        pairs = [(key, values[key]) for key in STATUS_ORDER if values[key]]
        wire, payload = on_the_wire(form, pairs, url_query)
        vector: Vector = {
            "name": f"{status}/{form}/{combination:03b}",
            "form": form,
            "precision": precision,
            "urlQuery": url_query,
            "input": given,
            **wire,
        }
        vectors.append(signed(vector, f"msg_{given['messageId']}_{status_number + 1}", payload))
    return vectors


FILES = (
    ("photo.jpg", "image/jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00 \r\n--homing\r\n \x00\xff\xd9"),
    ("Übersicht „Q3“ 🎉.pdf", "application/pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    ('a "quoted"\r\nname.txt', "text/plain; charset=utf-8", b"line\r\n\r\nline\r\n"),
    ("empty", "application/octet-stream", b""),
    ("odd", "text/html\r\nX-Injected: 1", b"<b>"),
)


def parts_of(pairs: list[tuple[str, str]], name: str, media_type: str, content: bytes) -> bytes:
    """Return the multipart body, written out by hand."""
    facts = [
        ("attachmentName", name),
        ("attachmentType", media_type),
        ("attachmentSize", str(len(content))),
        ("attachmentSha256", hashlib.sha256(content).hexdigest()),
    ]
    body = b""
    for key, value in pairs + facts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
    filename = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    part_type = "application/octet-stream" if "\r" in media_type else media_type
    body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="attachment"; filename="{filename}"\r\n'.encode()
    return body + f"Content-Type: {part_type}\r\n\r\n".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def incoming() -> list[Vector]:
    """Return 3 forms × 4 combinations of the optional keys × 4 senders, and 4 × 5 with an attachment."""
    vectors = []
    for index in range(4 * (len(FORMS) * 4 + len(FILES))):
        rest, combination = divmod(index, 4)
        file = FILES[rest % len(FILES)] if rest >= len(FORMS) * 4 else None
        form = FORMS[rest % len(FORMS)]
        precision = "ms" if index % 4 == 0 else "s"
        given: dict[str, Any] = {
            "sender": NAMES[index % len(NAMES)],
            "text": "" if file and combination == 3 else f"{MESSAGE_REFS[index % len(MESSAGE_REFS)]} – ok?",
            "applicationId": "318",
            "timestampMs": 1_464_098_227_042 + index * 999_983,
            "messageId": f"0190f0c1-{index:04x}-7abc-8def-0123456789ab",
            "channel": NAMES[(index + 5) % len(NAMES)] if combination & 2 else None,
            "inReplyToMessageId": "0190f0c0-0001-7abc-8def-0123456789ab" if combination & 1 else None,
        }
        values = {**given, "type": "IncomingMessage", "timestamp": iso(given["timestampMs"], precision)}
        pairs = [(key, values[key]) for key in INCOMING_ORDER if values[key]]
        if file is None:
            url_query = URL_QUERIES[index % len(URL_QUERIES)] if form == "get" else ""
            wire, payload = on_the_wire(form, pairs, url_query)
        else:
            url_query = ""
            payload = parts_of(pairs, *file)
            content_type = f"multipart/form-data; boundary={BOUNDARY}"
            wire = {"method": "POST", "query": None, "contentType": content_type, "body": None}
            wire["bodyBase64"] = base64.b64encode(payload).decode()
            name, media_type, content = file
            given["attachment"] = {
                "name": name,
                "type": media_type,
                "contentBase64": base64.b64encode(content).decode(),
            }
        vector: Vector = {
            "name": f"incoming/{form}{'+file' if file else ''}/{index}",
            "form": form,
            "precision": precision,
            "urlQuery": url_query,
            "boundary": BOUNDARY if file else None,
            "input": given,
            **wire,
        }
        vectors.append(signed(vector, f"msg_{given['messageId']}", payload))
    return vectors


def document(vectors: list[Vector]) -> str:
    """Return the file's text: one vector a line."""
    lines = ",\n".join(json.dumps(vector, ensure_ascii=True) for vector in vectors)
    return f'{{"secret": "{SECRET}", "vectors": [\n{lines}\n]}}\n'


DOCUMENTS = {"callbacks.json": callbacks, "incoming.json": incoming}


if __name__ == "__main__":
    for filename, make in DOCUMENTS.items():
        (HERE / filename).write_text(document(make()), encoding="utf-8")
