"""What a try means, in words for the owner of the endpoint."""

import msgspec
import pytest

from homing.callbacks.diagnosis import better_url, note
from homing.callbacks.guard import parse_url
from homing.callbacks.job import Done, EndpointView, Job, Phases, Reached
from homing.callbacks.verdict import Outcome, outcome
from homing.contract.forms import Form

QUICK = Phases(1, 2, 0, 3, 4)
HOOK = "http://hooks.example/in/hook"


def done(
    status: int = 0,
    error: Outcome | None = None,
    *,
    url: str = HOOK,
    target: str | None = None,
    body: bytes | None = b"{}",
    text: str = "",
    answer: bytes = b"",
    location: str | None = None,
    reached: Reached = Reached.ANSWER,
    phases: Phases = QUICK,
) -> Done:
    """A try that ended so."""
    view = EndpointView(id=1, url=parse_url(url), form=Form.JSON, signers=(), user_agent="Catapush")
    job = Job(view, [], body, target)
    return Done(job, status, error, text, None, answer, "192.0.2.1", phases, location, reached)


def redirect(location: str | None, url: str = HOOK, target: str | None = None, status: int = 302) -> str:
    said = note(done(status, url=url, target=target, location=location))
    assert said is not None
    return said


def test_every_failure_means_something() -> None:
    """For each error, whatever status it came with, and for each status that is no success, there is a sentence."""
    errors = set(Outcome) - {outcome(status) for status in range(200, 600)}
    for ended in errors:
        for status in (0, 102, 200, 304, 403, 404, 410, 429, 503, 600):
            assert note(done(status, ended)), (ended, status)
    for status in range(300, 1_000):
        assert note(done(status)), status


def test_no_sentence_names_the_address_or_what_operators_are_told() -> None:
    """What a network looks like inside is told to operators only."""
    for ended in Outcome:
        for reached in Reached:
            said = note(done(0, ended, text="Failed to connect to 10.1.2.3 port 80", reached=reached)) or ""
            assert "10.1.2.3" not in said
            assert "192.0.2.1" not in said


def test_a_success_is_worth_a_word_only_where_it_may_be_none() -> None:
    """A page, or an answer close to the deadline."""
    assert note(done(200, answer=b"ok")) is None
    for page in (b"<!DOCTYPE html>", b"\n <html lang=en>", b"<HEAD>", b"<body>"):
        assert "is a page" in (note(done(200, answer=page)) or "")
    late = Phases(0, 0, 0, 0, 5_001)
    assert (note(done(204, phases=late)) or "").startswith("settled after 5.0 s, close to the limit")
    assert note(done(204, phases=late._replace(total_ms=5_000))) is None


@pytest.mark.parametrize(
    "url,location,final",
    [
        (HOOK, "/in/hook/", f"{HOOK}/"),
        (HOOK, f"{HOOK}/", f"{HOOK}/"),
        (HOOK, "hook/", f"{HOOK}/"),
        (HOOK, "//hooks.example/in/hook/", f"{HOOK}/"),
        (HOOK, "HTTP://Hooks.Example:80/in/hook/", f"{HOOK}/"),
        (HOOK, "/in/hook/#top", f"{HOOK}/"),
        (f"{HOOK}/", "/in/hook", HOOK),
        (f"{HOOK}?k=v", "/in/hook/?k=v", f"{HOOK}/?k=v"),
    ],
)
def test_a_moved_slash_is_called_so_and_the_right_url_is_told(url: str, location: str, final: str) -> None:
    """However a framework spells where it leads."""
    assert redirect(location, url) == (
        f"your web framework moved the slash at the end: callbacks follow no redirects; set the URL to {final}"
    )


@pytest.mark.parametrize(
    "status,url,location,better",
    [
        (301, HOOK, "/in/hook/", f"{HOOK}/"),
        (308, f"{HOOK}/?k=v", "/in/hook?k=v&type=MessageStatus", f"{HOOK}?k=v"),
        (302, HOOK, "https://hooks.example/in/hook", "https://hooks.example/in/hook"),
        (302, HOOK, "https://hooks.example/in/hook/", "https://hooks.example/in/hook/"),
        (302, HOOK, "https://hooks.example/", None),
        (302, HOOK, "https://other.example/in/hook", None),
        (302, HOOK, "//other.example/in/hook/", None),
        (302, HOOK, "/in/hook?session=1", None),
        (302, HOOK, "/login", None),
        (302, HOOK, "file:///in/hook/", None),
        (302, HOOK, None, None),
        (201, HOOK, "/in/hook/", None),
    ],
)
def test_a_better_url_is_the_same_one_but_for_slash_or_scheme(
    status: int, url: str, location: str | None, better: str | None
) -> None:
    """Only a redirect knows one, and only to the same host."""
    assert better_url(done(status, url=url, location=location)) == better


def test_what_a_callback_said_is_in_no_url_that_is_recommended() -> None:
    """A framework hands on the query that came; with GET that is the notification itself."""
    target = "/in/hook?k=v&type=MessageStatus&recipient=ann%40example.com"
    said = redirect("/in/hook/?k=v&type=MessageStatus&recipient=ann%40example.com", f"{HOOK}?k=v", target)
    assert said.endswith(f"set the URL to {HOOK}/?k=v")


def test_a_messages_own_url_is_the_one_that_was_asked() -> None:
    """Its path is the job's, not the one of the endpoint that stands for all such messages."""
    assert "moved the slash" in redirect("/own/", "http://hooks.example/", "/own?a=b")
    assert "to the same URL" in redirect("/own", "http://hooks.example/", "/own?a=b")


@pytest.mark.parametrize(
    "location,says",
    [
        (
            "https://hooks.example/in/hook",
            "wants https: callbacks follow no redirects; set the URL to https://hooks",
        ),
        ("https://hooks.example:8443/", "wants https"),
        ("https://other.example/in/hook", "redirect to https://other.example/in/hook, and"),
        (HOOK, "to the same URL: it may want a cookie back"),
        ("/in/hook?session=1", "to the same URL"),
        ("/login?next=/in/hook", "to a log-in page"),
        ("https://id.example/oauth2/authorize", "to a log-in page"),
        ("/lessons", "redirect to http://hooks.example/lessons, and"),
        ("/in/hook//", "redirect to http://hooks.example/in/hook//, and"),
        ("ftp://hooks.example/", "redirect to ftp://hooks.example/, and"),
        ("http://[", "redirect to http://[, and"),
        ("http://a/\x1b[31m\xad\x85", "redirect to http://a/?[31m??, and"),
        ("http://a/" + "x" * 5_000, "x" * 191 + ", and"),
        ("", "settles nothing"),
        (None, "settles nothing"),
    ],
)
def test_other_redirects_say_where_they_lead(location: str | None, says: str) -> None:
    """And never lead there; what is shown of it is printable and short."""
    said = redirect(location)
    assert says in said
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize(
    "status,answer,says",
    [
        (400, b"", "does not understand"),
        (400, b"<p>The CSRF token is missing.</p>", "CSRF token"),
        (400, b"400 The plain HTTP request was sent to HTTPS port", "wants https at this port"),
        (401, b"", "wants credentials"),
        (403, b"<title>403 Forbidden</title>", "refuses the User-Agent Catapush"),
        (403, b"CSRF verification failed", "CSRF token"),
        (404, b"csrf", "nothing is served"),
        (405, b"", "does not take POST"),
        (413, b"", "no bodies of this size"),
        (415, b"", "content type"),
        (418, b"", "refused the request"),
        (419, b"Page Expired", "CSRF token"),
        (410, b"", "gone for good"),
        (429, b"", "asks for fewer"),
        (500, b"", "its own log"),
        (503, b"", "not available now"),
        (600, b"", "knows no status 600"),
    ],
)
def test_a_status_means_what_it_usually_means(status: int, answer: bytes, says: str) -> None:
    """With what the answer adds to it."""
    assert says in (note(done(status, answer=answer)) or "")


def test_405_names_the_method_that_was_used() -> None:
    """A GET endpoint's is GET."""
    assert "does not take GET" in (note(done(405, body=None)) or "")


def test_a_status_says_nothing_where_the_exchange_broke() -> None:
    """An answer that broke off is that, whatever its first line said."""
    assert "no complete HTTP answer" in (note(done(404, Outcome.MALFORMED)) or "")


@pytest.mark.parametrize(
    "reached,says",
    [
        (Reached.NOTHING, "name was not resolved in time"),
        (Reached.ADDRESS, "no connection in time"),
        (Reached.CONNECTION, "TLS handshake was not over in time"),
        (Reached.READY, "connected, but no answer in time"),
        (Reached.ANSWER, "answer began, but was not over in time"),
    ],
)
def test_a_timeout_says_how_far_it_came(reached: Reached, says: str) -> None:
    """However short the phases were: on a fast network all of them are 0 ms."""
    assert says in (note(done(0, Outcome.TIMEOUT, reached=reached, phases=Phases(0, 0, 0, 0, 15_000))) or "")


def test_a_connection_that_was_never_made_is_told_from_one_that_was_cut() -> None:
    """And over TLS a cut may mean that a certificate is wanted."""
    assert (
        note(done(0, Outcome.CONNECT, reached=Reached.ADDRESS))
        == "nothing takes connections at this address and port"
    )
    assert note(done(0, Outcome.CONNECT, reached=Reached.READY)) == "the connection was cut without an answer"
    secure = done(0, Outcome.CONNECT, url="https://hooks.example/", reached=Reached.READY)
    assert "client certificate" in (note(secure) or "")


@pytest.mark.parametrize(
    "text,says",
    [
        ("SSL certificate OpenSSL verify result: self-signed certificate (18)", "signed by itself"),
        ("verify result: self-signed certificate in certificate chain (19)", "signed by itself"),
        ("verify result: unable to get local issuer certificate (20)", "authority unknown"),
        ("verify result: certificate has expired (10)", "has expired"),
        ("verify result: certificate is not yet valid (9)", "is not valid yet"),
        ("SSL: certificate subject name 'a' does not match target hostname 'b'", "another name"),
        ("SSL: no alternative certificate subject name matches target hostname 'b'", "another name"),
        (
            "TLS connect error: error:0A000458:SSL routines::tlsv1 unrecognized name",
            "no certificate for this name",
        ),
        ("TLS connect error: error:0A00010B:SSL routines::wrong version number", "speaks no TLS"),
        ("TLS connect error: error:0A00042E:SSL routines::tlsv1 alert protocol version", "no TLS 1.2"),
        ("TLS connect error: error:0A000102:SSL routines::unsupported protocol", "no TLS 1.2"),
        ("SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate required", "client certificate"),
        (
            "TLS connect error: error:0A000410:SSL routines::ssl/tls alert handshake failure",
            "no cipher in common",
        ),
        ("TLS connect error: error:0A000126:SSL routines::unexpected eof while reading", "hung up during"),
        ("Recv failure: Connection reset by peer", "hung up during"),
        ("something new", "no TLS connection could be made"),
    ],
)
def test_a_tls_error_says_what_is_wrong(text: str, says: str) -> None:
    """In the words of libcurl and OpenSSL that stand for it."""
    assert says in (note(done(0, Outcome.TLS, text=text)) or "")


def test_the_words_are_fit_to_be_shown() -> None:
    """One line, no full stop at the end, and short enough for a table."""
    for status in range(200, 700):
        said = note(done(status, location="/x")) or "x"
        assert said == msgspec.json.decode(msgspec.json.encode(said))
        assert said.isprintable()
        assert not said.endswith(".")
        assert len(said) < 200
