"""One event to one endpoint as a request: what is in it, and what is not."""

import itertools
import json
import re
import time
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from standardwebhooks import Webhook
from tests.callbacks.naughty import NAUGHTY, of_category_c

from homing.callbacks.guard import UrlRefused, parse_url
from homing.callbacks.job import EndpointView, Job
from homing.callbacks.operations import OperationNotification
from homing.callbacks.request import HIDDEN, build, destination, shown, webhook_id
from homing.contract.errors import Unencodable
from homing.contract.forms import Form
from homing.contract.notification import IncomingNotification, StatusNotification, attachment_of
from homing.contract.signature import Signer, secret_from_bytes
from homing.contract.status import Status

SECRETS = [secret_from_bytes(bytes([number]) * 32) for number in (1, 2)]
NOW_S = 1_700_000_000
ID = webhook_id(bytes(range(18)), 3, 7)
DELIVERED = StatusNotification(
    1_464_098_227_042,
    "12",
    "0190b4a0-0000-7000-8000-000000000001",
    "ann@example.com",
    Status.DELIVERED,
    "ref 1&2",
)
QUERY = (
    "type=MessageStatus&timestamp=2016-05-24T13%3A57%3A07Z&applicationId=12"
    "&messageId=0190b4a0-0000-7000-8000-000000000001&recipient=ann%40example.com&status=delivered"
    "&messageRef=ref%201%262"
)


def view(form: Form = Form.JSON, url: str = "https://example.com/hook?k=v", secrets: int = 1) -> EndpointView:
    signers = tuple(Signer(secret) for secret in SECRETS[:secrets])
    return EndpointView(id=7, url=parse_url(url), form=form, signers=signers)


def headers_of(job: Job) -> dict[str, str]:
    pairs = [line.split(": ", 1) for line in job.headers]
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def test_get_puts_the_keys_behind_the_query_that_the_url_has() -> None:
    """GET: no body, no content type, one target with the configured query first and unchanged."""
    job = build(view(Form.GET), DELIVERED, ID, NOW_S, 3, 1)
    assert job.body is None
    assert job.target == f"/hook?k=v&{QUERY}"
    assert "content-type" not in headers_of(job)


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com/?"])
def test_get_begins_a_query_where_the_url_has_none(url: str) -> None:
    """GET to a URL without a query gets one, without a stray separator."""
    assert build(view(Form.GET, url), DELIVERED, ID, NOW_S, 3, 1).target == f"/?{QUERY}"


def test_form_and_json_post_to_the_url_as_it_is() -> None:
    """POST forms: the keys in the body, the endpoint's own URL, and the right content type."""
    form = build(view(Form.FORM), DELIVERED, ID, NOW_S, 3, 1)
    assert form.target is None
    assert form.body == QUERY.replace("%20", "+").encode()
    assert headers_of(form)["content-type"] == "application/x-www-form-urlencoded"
    json = build(view(Form.JSON), DELIVERED, ID, NOW_S, 3, 1)
    assert json.target is None
    assert json.body is not None
    assert json.body.startswith(b'{"type":"MessageStatus","timestamp":"2016-05-24T13:57:07Z"')
    assert headers_of(json)["content-type"] == "application/json"


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("secrets", [1, 2])
def test_the_signature_verifies_with_an_independent_library(form: Form, secrets: int) -> None:
    """Each secret in rotation verifies the request, over the exact body or the exact raw query."""
    now_s = int(time.time())
    job = build(view(form, secrets=secrets), DELIVERED, ID, now_s, 3, 1)
    payload = job.body if job.body is not None else urlsplit(job.target or "").query.encode()
    for secret in SECRETS[:secrets]:
        Webhook(secret).verify(payload, headers_of(job), json_parse=False)


def test_the_headers_are_exactly_these() -> None:
    """Nothing beside the signature, the sequence, the try and the content type; the sender adds User-Agent."""
    assert set(headers_of(build(view(), DELIVERED, ID, NOW_S, 3, 2))) == {
        *(
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "homing-sequence",
            "homing-attempt",
            "content-type",
        )
    }
    said = headers_of(build(view(), DELIVERED, ID, NOW_S, 3, 2))
    assert (said["webhook-id"], said["webhook-timestamp"]) == (ID, str(NOW_S))
    assert (said["homing-sequence"], said["homing-attempt"]) == ("3", "2")


def test_replays_and_tests_say_so_in_a_header() -> None:
    """A replay and a test are told apart by a header, with the same id and body."""
    plain = build(view(), DELIVERED, ID, NOW_S, 3, 1)
    replayed = build(view(), DELIVERED, ID, NOW_S, 3, 1, "since", test=True)
    assert headers_of(replayed) == {**headers_of(plain), "homing-replay": "since", "homing-test": "true"}
    assert replayed.body == plain.body


def test_the_same_arguments_give_the_same_bytes_and_another_try_the_same_body() -> None:
    """A repeat is byte-equal; a later try differs in timestamp, signature and try only."""
    first, again = (build(view(), DELIVERED, ID, NOW_S, 3, 1) for _ in range(2))
    assert (first.headers, first.body) == (again.headers, again.body)
    later = build(view(), DELIVERED, ID, NOW_S + 5, 3, 2)
    assert later.body == first.body
    changed = {name for name, value in headers_of(later).items() if headers_of(first)[name] != value}
    assert changed == {"webhook-timestamp", "webhook-signature", "homing-attempt"}


def test_milliseconds_are_an_endpoints_option() -> None:
    """With precision ms the timestamp carries them."""
    precise = EndpointView(
        id=7,
        url=parse_url("https://example.com/"),
        form=Form.GET,
        signers=(Signer(SECRETS[0]),),
        precision="ms",
    )
    job = build(precise, DELIVERED, ID, NOW_S, 3, 1)
    assert dict(parse_qsl(urlsplit(job.target or "").query))["timestamp"] == "2016-05-24T13:57:07.042Z"


def test_an_attachment_is_posted_whatever_the_form() -> None:
    """An incoming message with a file is a multipart POST also at a GET inbox, to the inbox's own URL."""
    incoming = IncomingNotification(
        "ann", "look", "12", 0, "m", attachment=attachment_of("a.txt", "text/plain", b"hi")
    )
    job = build(view(Form.GET), incoming, ID, NOW_S, 1, 1)
    assert job.target is None
    assert job.body is not None
    assert headers_of(job)["content-type"].startswith("multipart/form-data; boundary=")


def test_ids_are_stable_and_unique_per_event_and_endpoint() -> None:
    """Every (dispatch, event, endpoint) has its own id, the same each time, without a full stop."""
    keys = [bytes(17) + bytes([number]) for number in range(3)]
    parts = list(itertools.product(keys, (1, 2, 11, 12), (1, 2, 11, 21)))
    ids = [webhook_id(*part) for part in parts]
    assert len(set(ids)) == len(parts)
    assert ids == [webhook_id(*part) for part in parts]
    assert not any("." in one or len(one) > 64 for one in ids)


def test_the_tag_travels_untouched() -> None:
    """The courier finds its own object back."""
    tag = object()
    assert build(view(), DELIVERED, ID, NOW_S, 3, 1, tag=tag).tag is tag


def test_a_messages_own_url_and_form_replace_the_endpoints() -> None:
    """`notifyCallback`: to its path, in its form, after the query it has; a URL that is refused is an error."""
    url, form = destination("get https://example.com/own?a=b")
    assert build(view(), DELIVERED, ID, NOW_S, 3, 1, url=url, form=form).target == f"/own?a=b&{QUERY}"
    url, form = destination("json https://example.com/own?a=b")
    job = build(view(Form.GET), DELIVERED, ID, NOW_S, 3, 1, url=url, form=form)
    assert (job.target, headers_of(job)["content-type"]) == ("/own?a=b", "application/json")
    with pytest.raises(UrlRefused):
        destination("json ftp://example.com/")


def test_a_fact_about_an_endpoint_is_posted_as_json_whatever_the_form() -> None:
    """What endpoints of kind operations are told; signed like the rest."""
    fact = OperationNotification("endpoint.resting", 1_464_098_227_042, "12", "ep_1", "timeout")
    job = build(view(Form.GET), fact, ID, int(time.time()), 3, 1)
    assert job.target is None
    assert headers_of(job)["content-type"] == "application/json"
    assert job.body is not None
    assert json.loads(job.body) == {
        "type": "endpoint.resting",
        "timestamp": "2016-05-24T13:57:07Z",
        "applicationId": "12",
        "endpointId": "ep_1",
        "reason": "timeout",
    }
    Webhook(SECRETS[0]).verify(job.body, headers_of(job), json_parse=False)


def test_the_owners_headers_go_with_every_request_and_are_hidden_in_the_log() -> None:
    """They come last, as they are; of what is shown, only what is no secret is readable."""
    owned = msgspec.structs.replace(view(), headers=("x-key: s3cr3t", "authorization: Bearer s3cr3t"))
    job = build(owned, DELIVERED, ID, NOW_S, 3, 1)
    assert job.headers[-2:] == ["x-key: s3cr3t", "authorization: Bearer s3cr3t"]
    line, headers = shown(job)
    assert line == "POST /hook?k=v HTTP/1.1"
    assert headers == {
        "host": "example.com",
        "user-agent": "Catapush",
        **headers_of(job),
        "webhook-signature": HIDDEN,
        "x-key": HIDDEN,
        "authorization": HIDDEN,
    }
    line, _ = shown(build(view(Form.GET, "http://example.com:8080/"), DELIVERED, ID, NOW_S, 3, 1))
    assert line == f"GET /?{QUERY} HTTP/1.1"


def said(text: str) -> StatusNotification:
    """A status in whose every free field a text stands."""
    return StatusNotification(0, "12", "m", text, Status.DELIVERED, text, text, text)


def parts(text: str, form: Form) -> dict[str, str]:
    """Return what a receiver reads of such a status, after checking that nothing of it is out of its place."""
    job = build(view(form), said(text), ID, NOW_S, 3, 1)
    plain = build(view(form), DELIVERED, ID, NOW_S, 3, 1)
    assert set(headers_of(job)) == set(headers_of(plain))
    assert all(re.fullmatch(r"[ -~]+", line) for line in job.headers)
    if form is Form.JSON:
        assert job.body is not None
        assert min(job.body) >= 0x20
        read = json.loads(job.body, object_pairs_hook=list)
    else:
        raw = job.target if job.body is None else job.body.decode("ascii")
        assert raw is not None
        assert re.fullmatch(r"[A-Za-z0-9\-._~%+/?&=]+", raw)
        read = parse_qsl(
            urlsplit(raw).query if job.body is None else raw, keep_blank_values=True, strict_parsing=True
        )
        read = [pair for pair in read if pair[0] != "k"]
    assert len(dict(read)) == len(read)
    return dict(read)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("text", [text for text in NAUGHTY if text])
def test_no_text_of_a_message_leaves_its_place(text: str, form: Form) -> None:
    """No line, header, key or value comes of it; the receiver reads what was said."""
    read = parts(text, form)
    assert len(read) == 9
    for key in ("recipient", "messageRef", "recipientRef", "fallbackRef"):
        assert read[key] == text


@pytest.mark.parametrize("form", Form)
def test_nothing_of_unicodes_category_c_leaves_its_place(form: Form) -> None:
    """Controls, formats, private and unassigned ones; a surrogate is no text, and nothing is sent."""
    everything = of_category_c(every=97)
    surrogates = {c for c in everything if "\ud800" <= c <= "\udfff"}
    text = "".join(c for c in everything if c not in surrogates)
    assert parts(text, form)["messageRef"] == text
    for c in surrogates:
        with pytest.raises(Unencodable):
            build(view(form), said(f"a{c}b"), ID, NOW_S, 3, 1)
