"""Why a signature does not fit: tries the ways a request is usually changed on its way, and names the one that matches.

For `homing verify` and the receiver's developer; never for deciding whether to trust a request.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import product
from typing import Final

import msgspec

from homing.contract.decode import split_urlencoded
from homing.contract.errors import BadSecret, Undecodable
from homing.contract.forms import append_query, encode_form, encode_json, encode_query
from homing.contract.notification import INCOMING_KEYS, INCOMING_MESSAGE, STATUS_KEYS, Pairs
from homing.contract.signature import (
    SECRET_PREFIX,
    TOLERANCE_S,
    Headers,
    SignedHeaders,
    Signer,
    fits,
    read_headers,
)


class Mutation(StrEnum):
    """What happened to a request, in the order it is looked for."""

    TRAILING_NEWLINE = "trailing_newline"
    LINE_ENDINGS = "line_endings"
    JSON_RESERIALISED = "json_reserialised"
    REENCODED = "reencoded"
    URL_PART = "url_part"
    PREVIOUS_SECRET = "previous_secret"  # noqa: S105 - a name, no secret
    SECRET_MISREAD = "secret_misread"  # noqa: S105 - a name, no secret
    CLOCK = "clock"
    OTHER_REQUEST = "other_request"
    EMPTY_PAYLOAD = "empty_payload"


USUAL_CAUSE: Final[dict[Mutation, str]] = {
    Mutation.TRAILING_NEWLINE: "an editor or `echo` added a newline when the body was saved, or a strip() took one away",
    Mutation.LINE_ENDINGS: "the body went through text mode or a tool that converts line endings",
    Mutation.JSON_RESERIALISED: "a framework parsed the JSON and the code signed json.dumps() of it; use the raw body",
    Mutation.REENCODED: "the parameters were parsed and encoded again; use the raw body or the raw query string",
    Mutation.URL_PART: "the payload of a GET is the whole raw query, with the part the configured URL had already, without ?",
    Mutation.PREVIOUS_SECRET: "the secret was rotated and this side still uses, or the sender still used, the old one",
    Mutation.SECRET_MISREAD: "the key is the base64-decoded part behind whsec_, not the text of the secret",
    Mutation.CLOCK: "one of the two clocks is off, or this is an old capture; check NTP, or allow any age for captures",
    Mutation.OTHER_REQUEST: "headers and body were taken from different requests, or the log line beside",
    Mutation.EMPTY_PAYLOAD: "Flask's request.get_data() after request.form returns 0 bytes; read the raw body first",
}


_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SPACE: Final = re.compile(rb"\s")
_NEEDLESS_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\(?:u(?!00[01])|/)")


class Finding(msgspec.Struct, frozen=True):
    """What happened, told for this request, and where that usually comes from."""

    mutation: Mutation
    what: str

    @property
    def usual_cause(self) -> str:
        """One sentence for the receiver's developer."""
        return USUAL_CAUSE[self.mutation]


def diagnose(
    headers: Headers,
    payload: bytes,
    secrets: Sequence[str],
    now_s: float,
    *,
    tolerance_s: float | None = TOLERANCE_S,
    url_query: str = "",
    previous_secrets: Sequence[str] = (),
    other_headers: Iterable[Headers] = (),
) -> Finding | None:
    """Return the first change that explains why `verify` refuses, or None: it does not refuse, or nothing explains it.

    Secrets that are none are passed over, then tried as other readings. `url_query` is the query of the configured
    URL; `other_headers` are those of requests nearby. Raises Malformed for headers that `verify` calls so, or among
    the others.
    """
    signed = read_headers(headers)
    signers = _signers(secrets)
    if _any_fits(signers, signed, payload):
        return _clock(now_s - signed.timestamp_s, tolerance_s)
    for mutation, what, candidate in _payloads(payload, url_query):
        if _any_fits(signers, signed, candidate):
            return Finding(mutation, what)
    if _any_fits(_signers(previous_secrets), signed, payload):
        return Finding(Mutation.PREVIOUS_SECRET, "it is signed with a previous secret")
    for what, signer in _readings(secrets):
        if fits(signer, signed, payload):
            return Finding(Mutation.SECRET_MISREAD, what)
    pool = [signed, *map(read_headers, other_headers)]
    every = tuple(entry for headers_read in pool for entry in headers_read.signatures)
    for one, two in product(pool, pool):
        if _any_fits(signers, SignedHeaders(one.webhook_id, two.timestamp_s, every), payload):
            return Finding(Mutation.OTHER_REQUEST, f"the payload belongs to webhook-id {one.webhook_id}")
    if not payload:
        return Finding(Mutation.EMPTY_PAYLOAD, "the payload is empty, a callback's never is")
    return None


def _signers(secrets: Iterable[str]) -> list[Signer]:
    signers = []
    for secret in secrets:
        try:
            signers.append(Signer(secret))
        except BadSecret:
            continue
    return signers


def _any_fits(signers: Iterable[Signer], signed: SignedHeaders, payload: bytes) -> bool:
    return any(fits(signer, signed, payload) for signer in signers)


def _clock(age_s: float, tolerance_s: float | None) -> Finding | None:
    if tolerance_s is None or abs(age_s) <= tolerance_s:
        return None
    where = "ago" if age_s > 0 else "from now"
    return Finding(Mutation.CLOCK, f"the signature is right, but it was made {abs(age_s):.0f} s {where}")


def _payloads(payload: bytes, url_query: str) -> Iterator[tuple[Mutation, str, bytes]]:
    """Yield (mutation, what happened, what may have been signed)."""
    newline = Mutation.TRAILING_NEWLINE
    yield newline, "a newline was added at the end", payload.removesuffix(b"\n").removesuffix(b"\r")
    yield newline, "newlines were added at the end", payload.rstrip(b"\r\n")
    yield newline, "the newline at the end is missing", payload + b"\n"
    yield newline, "the CRLF at the end is missing", payload + b"\r\n"
    with_lf = payload.replace(b"\r\n", b"\n")
    yield Mutation.LINE_ENDINGS, "LF became CRLF", with_lf
    yield Mutation.LINE_ENDINGS, "CRLF became LF", with_lf.replace(b"\n", b"\r\n")
    yield from _json_again(payload)
    yield from _encoded_again(payload, url_query)


def _json_again(payload: bytes) -> Iterator[tuple[Mutation, str, bytes]]:
    try:
        fields = msgspec.json.decode(payload, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    ordered = _in_order(fields)
    signs = {
        "spaces or line breaks stand between its parts": _SPACE.search(_STRING.sub(b"", payload)) is not None,
        "its keys are in another order": ordered != list(fields.items()),
        "characters are escaped that the sender sends as they are": _NEEDLESS_ESCAPE.search(payload)
        is not None,
    }
    changes = ", ".join(change for change, is_so in signs.items() if is_so) or "a key stood twice"
    yield Mutation.JSON_RESERIALISED, f"the JSON was written anew: {changes}", encode_json(ordered)


def _encoded_again(payload: bytes, url_query: str) -> Iterator[tuple[Mutation, str, bytes]]:
    text = payload.decode("utf-8", "replace")
    try:
        fields, others = split_urlencoded(text)
    except Undecodable:
        fields, others = {}, []
    pairs = _in_order(fields)
    again = "the parameters were encoded anew (+ or %20, case of hex digits, or order)"
    if pairs:
        yield Mutation.REENCODED, again, encode_form(pairs)
        yield Mutation.REENCODED, again, append_query("&".join(others), encode_query(pairs)).encode()
    _, mark, query = payload.partition(b"?")
    if mark:
        yield Mutation.URL_PART, "what stands up to the question mark is not signed", query
    if url_query:
        missing = "the part that the configured URL had already is missing"
        yield Mutation.URL_PART, missing, append_query(url_query, text).encode("utf-8", "replace")
        anew = append_query(url_query, encode_query(pairs)).encode("utf-8", "replace")
        yield Mutation.URL_PART, f"{missing}, and {again}", anew


def _in_order(fields: dict[str, str]) -> Pairs:
    order = INCOMING_KEYS if fields.get("type") == INCOMING_MESSAGE else STATUS_KEYS
    known = [(key, fields[key]) for key in order if key in fields]
    return known + [(key, value) for key, value in fields.items() if key not in order]


def _readings(secrets: Iterable[str]) -> Iterator[tuple[str, Signer]]:
    """Yield (what the matching signer means, signer): how each secret may have been misread, here or by the sender."""
    for secret in secrets:
        bare = secret.strip()
        yield "its whole text was used as the key", Signer(bare.encode("utf-8", "replace"))
        text = bare.removeprefix(SECRET_PREFIX)
        yield (
            f"the text behind {SECRET_PREFIX} was used without decoding",
            Signer(text.encode("utf-8", "replace")),
        )
        for signer in _signers((SECRET_PREFIX + text,)):
            yield f"the secret given here is not exactly {SECRET_PREFIX} and base64", signer
