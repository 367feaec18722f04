"""The diagnosis names what happened to a request, for each change it knows, and nothing when it cannot know."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.contract.diagnosis import USUAL_CAUSE, Mutation, diagnose
from homing.contract.errors import Malformed
from homing.contract.forms import Form, encode
from homing.contract.notification import IncomingNotification, StatusNotification, attachment_of
from homing.contract.signature import Headers, Signer, secret_from_bytes
from homing.contract.status import Status

SECRET = secret_from_bytes(bytes(range(32)))
OTHER = secret_from_bytes(bytes(range(1, 33)))
NOW_S = 1_700_000_000
NOTE = StatusNotification(0, "1", "m", "Zoë + é/è", Status.READ, message_ref='a "b" \\u c\n')
INCOMING = IncomingNotification("ann", "hi there", "1", 0, "m")
FILE = IncomingNotification("ann", "a\r\nb", "1", 0, "m", attachment=attachment_of("a", "a/b", b"\0\r\n"))
JSON = encode(NOTE, Form.JSON).payload
FORM = encode(NOTE, Form.FORM).payload
QUERY = encode(NOTE, Form.GET).payload
OWN = "k=%e9&flag"
OWN_QUERY = encode(NOTE, Form.GET, url_query=OWN).payload


def headers_for(
    payload: bytes, secret: str | bytes = SECRET, webhook_id: str = "msg_1", at_s: int = NOW_S
) -> Headers:
    """Return the headers a sender made for this payload."""
    return webhook_id, str(at_s), Signer(secret).sign(webhook_id, at_s, payload)


def named(sent: bytes, seen: bytes, url_query: str = "") -> tuple[Mutation, str] | None:
    """Return what the diagnosis says when `sent` was signed and `seen` was verified."""
    finding = diagnose(headers_for(sent), seen, [OTHER, SECRET], NOW_S, url_query=url_query)
    return None if finding is None else (finding.mutation, finding.what)


@pytest.mark.parametrize("payload", [JSON, FORM, QUERY, OWN_QUERY, b""])
def test_nothing_wrong(payload: bytes) -> None:
    """A genuine request has no finding."""
    assert named(payload, payload) is None


@pytest.mark.parametrize("payload", [b"x", b'{"type":1}', b"\xff", b"type=%zz", b"a=1"])
def test_nothing_explains_it(payload: bytes) -> None:
    """A payload that is simply another one is not explained away."""
    assert named(JSON, payload) is None


@pytest.mark.parametrize(
    "sent, seen, what",
    [
        (JSON, JSON + b"\n", "a newline was added"),
        (JSON, JSON + b"\r\n", "a newline was added"),
        (JSON, JSON + b"\n\n", "newlines were added"),
        (JSON + b"\n", JSON, "the newline at the end is missing"),
        (JSON + b"\r\n", JSON, "the CRLF at the end is missing"),
    ],
)
def test_trailing_newline(sent: bytes, seen: bytes, what: str) -> None:
    """A newline that was added or taken away at the end is named."""
    found = named(sent, seen)
    assert found is not None
    assert found[0] is Mutation.TRAILING_NEWLINE
    assert what in found[1]


def test_line_ends() -> None:
    """A body whose line ends were converted, either way, is named."""
    body = encode(FILE, Form.JSON).payload
    assert named(body, body.replace(b"\r\n", b"\n")) == (Mutation.LINE_ENDINGS, "CRLF became LF")
    assert named(b"a\nb", b"a\r\nb") == (Mutation.LINE_ENDINGS, "LF became CRLF")


FIELDS = json.loads(JSON)
BACKWARDS = dict(reversed(FIELDS.items()))


@pytest.mark.parametrize(
    "seen, changes",
    [
        (json.dumps(FIELDS, ensure_ascii=False), "spaces or line breaks stand between its parts"),
        (json.dumps(FIELDS, ensure_ascii=False, indent=1), "spaces or line breaks stand between its parts"),
        (json.dumps(BACKWARDS, ensure_ascii=False, separators=(",", ":")), "its keys are in another order"),
        (
            json.dumps(FIELDS, separators=(",", ":")),
            "characters are escaped that the sender sends as they are",
        ),
        (JSON.decode().replace("/", "\\/"), "characters are escaped that the sender sends as they are"),
        (
            json.dumps(BACKWARDS),
            (
                "spaces or line breaks stand between its parts, its keys are in another order, "
                "characters are escaped that the sender sends as they are"
            ),
        ),
        ('{"type":"x",' + JSON.decode()[1:], "a key stood twice"),
    ],
)
def test_json_written_anew(seen: str, changes: str) -> None:
    """JSON that was parsed and written again is named, with what changed."""
    assert named(JSON, seen.encode()) == (Mutation.JSON_RESERIALISED, f"the JSON was written anew: {changes}")


def test_incoming_json_written_anew() -> None:
    """The order of an incoming message's keys is known too, and unknown keys go last."""
    payload = encode(INCOMING, Form.JSON).payload
    seen = json.dumps(json.loads(payload), sort_keys=True).encode()
    found = named(payload, seen)
    assert found is not None
    assert found[0] is Mutation.JSON_RESERIALISED
    extended = payload[:-1] + b',"x":"y"}'
    assert named(extended, b'{"x":"y",' + payload[1:]) is not None


@pytest.mark.parametrize(
    "sent, seen",
    [
        (FORM, FORM.replace(b"+", b"%20")),
        (FORM, QUERY),
        (QUERY, FORM),
        (QUERY, QUERY.replace(b"%C3", b"%c3")),
        (QUERY, quote(QUERY.decode(), safe="%=&").replace("%2F", "/").encode()),
        (QUERY, b"&".join(reversed(QUERY.split(b"&")))),
        (OWN_QUERY, QUERY.replace(b"%20", b"+") + b"&" + OWN.encode()),
    ],
)
def test_parameters_encoded_anew(sent: bytes, seen: bytes) -> None:
    """Form and query whose escapes or order changed are named."""
    found = named(sent, seen)
    assert found is not None
    assert found[0] is Mutation.REENCODED


@pytest.mark.parametrize(
    "seen, what",
    [
        (QUERY, "the part that the configured URL had already is missing"),
        (FORM, "is missing, and the parameters were encoded anew"),
        (b"?" + OWN_QUERY, "up to the question mark"),
        (b"/hook?" + OWN_QUERY, "up to the question mark"),
    ],
)
def test_the_urls_own_part(seen: bytes, what: str) -> None:
    """A query without the URL's own part, or with more of the URL, is named."""
    found = named(OWN_QUERY, seen, OWN)
    assert found is not None
    assert found[0] is Mutation.URL_PART
    assert what in found[1]


def test_odd_url_query_is_no_error() -> None:
    """A URL's own part that is no text only fails to match."""
    assert named(OWN_QUERY, QUERY, "\ud800") is None


def test_previous_secret() -> None:
    """A request signed with a secret of before is named."""
    finding = diagnose(headers_for(JSON, OTHER), JSON, [SECRET], NOW_S, previous_secrets=["bad", OTHER])
    assert finding is not None
    assert finding.mutation is Mutation.PREVIOUS_SECRET


@pytest.mark.parametrize(
    "signed_with, given_secret, what",
    [
        (SECRET.encode(), SECRET, "its whole text was used as the key"),
        (SECRET.encode(), SECRET + "\n", "its whole text was used as the key"),
        (SECRET[6:].encode(), SECRET, "the text behind whsec_ was used without decoding"),
        (SECRET, SECRET[6:], "is not exactly whsec_ and base64"),
        (SECRET, f" {SECRET}\n", "is not exactly whsec_ and base64"),
    ],
)
def test_misread_secrets(signed_with: str | bytes, given_secret: str, what: str) -> None:
    """A secret that one side did not decode, or gave without its prefix, is named."""
    finding = diagnose(headers_for(JSON, signed_with), JSON, [given_secret], NOW_S)
    assert finding is not None
    assert finding.mutation is Mutation.SECRET_MISREAD
    assert what in finding.what


@pytest.mark.parametrize(
    "off_s, tolerance_s, what",
    [
        (301, 300, "made 301 s ago"),
        (-301, 300, "made 301 s from now"),
        (300, 300, None),
        (-300, 300, None),
        (10**6, None, None),
    ],
)
def test_clock(off_s: int, tolerance_s: float | None, what: str | None) -> None:
    """A right signature of another time is a matter of clocks, told with how far they are apart."""
    finding = diagnose(headers_for(JSON), JSON, [SECRET], NOW_S + off_s, tolerance_s=tolerance_s)
    assert (finding is None) == (what is None)
    if finding is not None:
        assert what is not None
        assert what in finding.what
        assert finding.mutation is Mutation.CLOCK


def test_headers_of_another_request() -> None:
    """Headers that belong to a request nearby, whole or mixed, are named."""
    mine, theirs = (
        headers_for(JSON, webhook_id="msg_1"),
        headers_for(FORM, webhook_id="msg_2", at_s=NOW_S + 1),
    )
    finding = diagnose(theirs, JSON, [SECRET], NOW_S, other_headers=[headers_for(QUERY), mine])
    assert finding is not None
    assert finding.mutation is Mutation.OTHER_REQUEST
    assert finding.what == "the payload belongs to webhook-id msg_1"
    mixed = (
        (theirs[0], mine[1], theirs[2]) if isinstance(theirs, tuple) and isinstance(mine, tuple) else theirs
    )
    assert diagnose(mixed, JSON, [SECRET], NOW_S, other_headers=[mine]) == finding
    assert diagnose(theirs, JSON, [SECRET], NOW_S, other_headers=[headers_for(QUERY)]) is None


def test_empty_payload() -> None:
    """An empty payload is told as such, with the framework that is known for it."""
    finding = diagnose(headers_for(FORM), b"", [SECRET], NOW_S)
    assert finding is not None
    assert finding.mutation is Mutation.EMPTY_PAYLOAD
    assert "Flask" in finding.usual_cause


def test_every_mutation_has_a_usual_cause() -> None:
    """For each finding there is a sentence telling where it usually comes from."""
    assert list(USUAL_CAUSE) == list(Mutation)


@pytest.mark.parametrize("where", ["headers", "other_headers"])
def test_malformed_headers(where: str) -> None:
    """Headers that cannot be read are told as `verify` does."""
    bad = ("msg_1", "soon", "v1,x")
    with pytest.raises(Malformed):
        diagnose(
            bad if where == "headers" else headers_for(FORM),
            JSON,
            [SECRET],
            NOW_S,
            other_headers=[bad] if where == "other_headers" else [],
        )


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")), st.text(), st.text())
def test_never_another_error(payload: bytes, url_query: str, secret: str) -> None:
    """Whatever the payload, the URL and the secret are, the diagnosis ends in a finding or in None."""
    finding = diagnose(headers_for(JSON), payload, [secret], NOW_S, url_query=url_query)
    assert finding is None or finding.mutation is Mutation.EMPTY_PAYLOAD
