"""Every receiver we know, as a table: what it does to a callback, and what must come of that.

A row says how the try ends, what follows for the event, whether it counts against the endpoint, whether the connection
is used again, how long a Retry-After makes it wait, whether the whole endpoint waits, and what the owner is told.
"""

import gzip
import ssl
import zlib

from tests.callbacks.habitats import (
    answers,
    closed_port,
    closed_port_beside_a_refused_address,
    demanding_a_certificate,
    dials,
    full_backlog,
    good_tls,
    greets,
    greets_tls,
    of_2006,
    silent_tls,
    tls,
    without_a_shared_cipher,
)
from tests.callbacks.misdeeds import (
    CHUNKED,
    HEAD,
    breaks,
    drips,
    half_closes,
    hangs_up,
    pours,
    spells,
    stalls,
)
from tests.callbacks.row import (
    DAY_MS,
    Row,
    alive,
    busy,
    cut,
    ill,
    lined,
    malformed,
    no_tls,
    padded,
    said,
    settled,
    slow,
    to,
)
from tests.callbacks.zoo import OK, answer, hang, reset, says

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import ParsedUrl
from homing.callbacks.verdict import Outcome, Verdict

NGINX = b"<title>400 The plain HTTP request was sent to HTTPS port</title>"
DJANGO = b"<h1>Forbidden</h1><p>CSRF verification failed. Request aborted.</p>"
LOG_INS = ("WWW-Authenticate: Basic", "WWW-Authenticate: NTLM", "WWW-Authenticate: Negotiate")
ELSEWHERE = 'Alt-Svc: h2=":1"; ma=99\r\nStrict-Transport-Security: max-age=99\r\nRefresh: 0; url=/x\r\nUpgrade: h2c\r\n'
GONE = answer("410 Gone", body=b"no")
CHUNKS = CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"
BOMB = gzip.compress(bytes(50_000_000))
"""50 MB in 49 KB."""
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nRetry-After: 9\r\n\r\n"
FRAMES = (
    b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d\x00\x04\x00\x10\x00\x00\x00\x06\x00\x00@\x00"
)
LONG_NAME = ParsedUrl("http", f"{'a' * 64}.invalid", 80, "/", None, literal=False)
"""No resolver asks the network for a name with such a label."""

STATUSES = (
    *[settled(f"{n}", answers(answer(f"{n} Fine", body=b"ok")), n) for n in (200, 201, 202, 205, 206, 299)],
    settled("204", answers(b"HTTP/1.1 204 No Content\r\n\r\n"), 204),
    settled("200 without a reason", answers(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")),
    settled("200 with a page", answers(answer("200 OK", body=b"<!DOCTYPE html><html>hi")), note="is a page"),
    settled("200 with Retry-After", busy(200, "Retry-After: 60"), wait_ms=60_000),
    *[alive(f"{n} adds a slash", to("/hook/", n), n, "moved the slash") for n in (301, 302, 303, 307, 308)],
    alive("301 takes a slash", to("/hook", 301, path="hook/"), 301, "moved the slash"),
    alive("302 to another path", to("/other"), 302, "redirect to http://127.0.0.1:"),
    alive("302 to https", to("https://127.0.0.1/hook"), 302, "wants https"),
    alive("302 to another host", to("http://other.example/"), 302, "redirect to http://other.example/"),
    alive("302 to metadata", to("http://169.254.169.254/latest/"), 302, "redirect to http://169.254"),
    alive("302 to itself", to("/hook"), 302, "to the same URL"),
    alive("302 to a log-in page", to("/accounts/login/?next=/hook"), 302, "log-in page"),
    alive("302 to control characters", to("http://a/\x1b[31m"), 302, "redirect to http://a/?[31m"),
    alive("302 to nowhere", to(""), 302, "settles nothing"),
    alive("302 without Location", busy(302), 302, "settles nothing"),
    alive("307 to another scheme", to("file:///etc/passwd", 307), 307, "redirect to file:///etc/passwd"),
    alive("300", busy(300), 300, "settles nothing"),
    alive("304", answers(b"HTTP/1.1 304 Not Modified\r\n\r\n"), 304, "settles nothing"),
    alive("400", busy(400), 400, "does not understand"),
    alive("400 of nginx", answers(answer("400 No", body=NGINX), hangs_up=True), 400, "wants https", kept=False),
    alive("401 in three ways", busy(401, *LOG_INS), 401, "wants credentials"),
    alive("403", busy(403), 403, "firewall refuses the User-Agent Catapush"),
    alive("403 of Django", answers(answer("403 No", body=DJANGO)), 403, "CSRF token"),
    alive("404", busy(404), 404, "nothing is served"),
    alive("405", busy(405), 405, "does not take POST"),
    alive("407 of no proxy", busy(407, "Proxy-Authenticate: Basic"), 407, "refused the request"),
    alive("408 and hangs up", answers(answer("408 Late"), hangs_up=True), 408, "refused the request", kept=False),
    *[alive(f"{n}", busy(n), n, "refused the request") for n in (409, 417, 418, 422, 425, 426, 451, 499)],
    Row("410", busy(410), Outcome.GONE, Verdict.DISABLE, False, 410, True, "gone for good"),
    alive("413", busy(413), 413, "no bodies of this size"),
    alive("415", busy(415), 415, "content type"),
    alive("419 of Laravel", busy(419), 419, "CSRF token"),
    *[ill(f"{n}", busy(n), Outcome.SERVER_ERROR, "its own log", n, kept=True) for n in (500, 501, 502, 504, 511, 599)],
    *[ill(f"{n}", busy(n), Outcome.MALFORMED, f"knows no status {n}", n, kept=True) for n in (600, 999)],
    malformed("000", answers(b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n")),
    malformed("20", answers(b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n")),
    malformed("-200", answers(b"HTTP/1.1 -200 OK\r\nContent-Length: 0\r\n\r\n")),
    malformed("no status", answers(b"HTTP/1.1 OK\r\n\r\n")),
)  # fmt: skip

RETRY_AFTER = (
    *[
        ill(f"{n}, Retry-After {name}", busy(n, *lines), ended, note, n, kept=True, wait_ms=wait_ms, pauses=bool(wait_ms))
        for n, ended, note in (
            (429, Outcome.THROTTLED, "asks for fewer"), (503, Outcome.SERVER_ERROR, "not available now"),
        )
        for name, wait_ms, lines in (
            ("absent", None, ()),
            ("in seconds", 120_000, ("Retry-After: 120",)),
            ("as a date", 60_000, ("retry-after: Sun, 06 Nov 1994 08:50:37 GMT",)),
            ("as a date of RFC 850", 60_000, ("RETRY-AFTER: Sunday, 06-Nov-94 08:50:37 GMT",)),
            ("as a date of asctime", 60_000, ("Retry-After: Sun Nov  6 08:50:37 1994",)),
            ("in the past", 0, ("Retry-After: Sun, 06 Nov 1994 08:00:00 GMT",)),
            ("garbage", None, ("Retry-After: soon",)),
            ("negative", None, ("Retry-After: -5",)),
            ("empty", None, ("Retry-After:",)),
            ("huge", DAY_MS, (f"Retry-After: 1{30 * '0'}",)),
            ("beyond reading", None, (f"Retry-After: 1{300 * '0'}",)),
            ("of the year 9999", DAY_MS, ("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT",)),
            ("twice", 99_000, ("Retry-After: 99", "X: y", "Retry-After: 5")),
            ("twice, one of it garbage", 5_000, ("Retry-After: 5", "Retry-After: soon")),
            ("folded", 17_000, ("Retry-After:", " 17")),
        )
    ],
    alive("404, Retry-After in seconds", busy(404, "Retry-After: 60"), 404, "nothing is served", wait_ms=60_000),
    ill("500, Retry-After in seconds", busy(500, "Retry-After: 60"), Outcome.SERVER_ERROR, "its own log", 500,
        kept=True, wait_ms=60_000),
    ill("503, Retry-After, and breaks off", answers(answer("503 No", "Retry-After: 60\r\n", b"abc")[:-1], hangs_up=True),
        Outcome.MALFORMED, "no complete HTTP answer", 503, wait_ms=60_000, pauses=True),
    ill("503, Retry-After in a trailer", answers(CHUNKS.replace(b"200", b"503")[:-2] + b"Retry-After: 60\r\n\r\n"),
        Outcome.SERVER_ERROR, "not available now", 503, kept=True),
    ill("503 behind hints with a Retry-After", answers(HINTS + answer("503 No")), Outcome.SERVER_ERROR,
        "not available now", 503, kept=True),
)  # fmt: skip

SHAPES = (
    settled("HTTP/1.0", answers(b"HTTP/1.0 200 OK\r\n\r\nall of it", hangs_up=True), kept=False),
    settled("HTTP/1.0, kept", answers(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")),
    settled("bare line feeds", answers(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")),
    settled("says that it closes", said(b"Connection: close\r\nContent-Length: 2\r\n\r\nok", hangs_up=True), kept=False),
    settled("closes without saying so", answers(OK, hangs_up=True), kept=False),
    settled("resets behind its answer", answers(breaks(OK)), kept=False),
    settled("a body until it closes", said(b"\r\nall of it", hangs_up=True), kept=False),
    settled("byte by byte", answers(spells(OK))),
    settled("chunked", answers(CHUNKS)),
    settled("chunks with extensions", answers(CHUNKED + b"5;a=b\r\nhello\r\n0;c\r\n\r\n")),
    settled("chunked with trailers", answers(CHUNKS[:-2] + b"x: y\r\nRetry-After: 60\r\n\r\n")),
    settled("a body of exactly 64 KiB", answers(answer("200 OK", body=b"x" * 65_536))),
    settled("a byte more than 64 KiB", answers(answer("200 OK", body=b"x" * 65_537)), kept=False),
    settled("an endless body", answers(pours(b"x" * 16_384, HEAD + b"\r\n")), kept=False),
    settled("a body of 99999999999 bytes", answers(pours(b"x" * 16_384, HEAD + b"Content-Length: 99999999999\r\n\r\n")), kept=False),
    settled("endless chunks of a byte", answers(pours(b"1\r\nx\r\n" * 4_096, CHUNKED)), kept=False),
    ill("500 with an endless body", answers(pours(b"x" * 16_384, b"HTTP/1.1 500 No\r\n\r\n")), Outcome.SERVER_ERROR,
        "its own log", 500),
    settled("gzip", answers(answer("200 OK", "Content-Encoding: gzip\r\n", gzip.compress(b"z" * 100_000)))),
    settled("a bomb in gzip", answers(answer("200 OK", "Content-Encoding: gzip\r\n", BOMB))),
    settled("deflate", answers(answer("200 OK", "Content-Encoding: deflate\r\n", zlib.compress(b"z" * 100_000)))),
    settled("br, and it is none", answers(answer("200 OK", "Content-Encoding: br\r\n", b"\xff" * 100))),
    settled("an unknown encoding", answers(answer("200 OK", "Content-Encoding: x, gzip\r\n", b"ok"))),
    settled("sets cookies", answers(answer("200 OK", "Set-Cookie: a=b; Path=/\r\n" * 20))),
    settled("wants to be elsewhere next time", answers(answer("200 OK", ELSEWHERE))),
    settled("other letters in a header", answers(answer("200 OK", "x: \xe4\x01\x1b[31m\x7f\r\n"))),
    settled("a header without a name", answers(answer("200 OK", ": x\r\n"))),
    settled("a space before the colon", answers(answer("200 OK", "x : y\r\n"))),
    settled("folded headers", answers(answer("200 OK", "x: a\r\n b\r\n\tc\r\n"))),
    settled("headers of exactly 16 KiB", answers(padded(16_384))),
    settled("a hundred lines of headers", answers(lined(100))),
    settled("the same Content-Length twice", said(b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok")),
    settled("Content-Length beside chunks", said(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS[len(CHUNKED):])),
    settled("a body longer than it says", said(b"Content-Length: 1\r\n\r\nok"), kept=False),
    settled("204 with a body", answers(answer("204 No Content", body=b"ok")), 204, kept=False),
    alive("304 with a body", answers(answer("304 Not Modified", body=b"ok")), 304, "settles nothing", kept=False),
    settled("a second answer behind the first", answers(OK + GONE), kept=False),
    settled("a second answer behind no body", answers(answer("200 OK") + GONE), kept=False),
    settled("a second answer behind 204", answers(b"HTTP/1.1 204 No Content\r\n\r\n" + GONE), 204, kept=False),
    settled("a second answer behind chunks", answers(CHUNKS + GONE)),
    settled("a thousand answers", answers(OK + GONE * 1_000), kept=False),
    *[settled(f"{n} before the answer", answers(f"HTTP/1.1 {n} Wait\r\n\r\n".encode() + OK)) for n in (100, 102, 103)],
    settled("8 hints before the answer", answers(HINTS * 8 + OK)),
    settled("answers before it is asked", greets(half_closes(OK)), kept=False),
)  # fmt: skip

BROKEN = (
    malformed("9 hints before the answer", answers(HINTS * 9 + OK), 103),
    malformed("endless hints", answers(pours(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)), 102),
    malformed("endless hints in small letters", answers(pours(b"http/1.1 102 Processing\r\n\r\n" * 100)), 200),
    malformed("another protocol", answers(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), 101),
    malformed("another protocol, and an answer in it", answers(b"HTTP/1.1 101 Switching\r\n\r\n" + OK), 101),
    malformed("hints and no answer", answers(HINTS, hangs_up=True), 103),
    malformed("HTTP/0.9", answers(b"<html>hello</html>", hangs_up=True)),
    malformed("HTTP/2 frames", answers(FRAMES)),
    # libcurl takes the first two for a 200.
    malformed("http in small letters, and it failed", answers(b"http/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), 200),
    malformed("HTTP/2.0 in the first line, and it failed", answers(b"HTTP/2.0 500 No\r\nContent-Length: 0\r\n\r\n"), 200),
    malformed("HTTP/2 in the first line", answers(OK.replace(b"/1.1", b"/2"))),
    malformed("HTTP/1.2 in the first line", answers(OK.replace(b"/1.1", b"/1.2"))),
    malformed("HTTP/9.9 in the first line", answers(OK.replace(b"/1.1", b"/9.9"))),
    malformed("ICY in the first line", answers(OK.replace(b"HTTP/1.1", b"ICY"))),
    malformed("a status of four digits", answers(OK.replace(b"200", b"2000")), 200),
    malformed("no space behind the status", answers(OK.replace(b"200 ", b"200")), 200),
    malformed("a tab before the status", answers(OK.replace(b" 200", b"\t200")), 200),
    malformed("an empty line first", answers(b"\r\n" + OK)),
    malformed("endless empty lines", answers(pours(b"\r\n" * 8_192))),
    malformed("garbage", answers(b"\x00\xff\x17 what?\r\n\r\n" + b"z" * 100)),
    malformed("endless garbage", answers(pours(b"\x00\xff\x17\n" * 4_096))),
    malformed("mail", answers(b"220 mail.example ESMTP\r\n")),
    malformed("a TLS alert", answers(b"\x15\x03\x03\x00\x02\x02\x46")),
    cut("ends in the status line", answers(b"HTTP/1.1 200 OK", hangs_up=True)),
    malformed("ends behind the status line", said(b"", hangs_up=True), 200),
    malformed("ends in the headers", said(b"Content-Length: 2\r\nx: ", hangs_up=True), 200),
    malformed("ends before the empty line", said(b"Content-Length: 0\r\n", hangs_up=True), 200),
    malformed("ends in the body", said(b"Content-Length: 5\r\n\r\nok", hangs_up=True), 200),
    malformed("ends in a chunk", answers(CHUNKS[:-8], hangs_up=True), 200),
    malformed("ends before the last chunk", answers(CHUNKS[:-5], hangs_up=True), 200),
    malformed("ends in the trailers", answers(CHUNKS[:-2] + b"x: y\r\n", hangs_up=True), 200),
    malformed("resets in the headers", answers(breaks(HEAD + b"x: ")), 200),
    malformed("resets in the body", answers(breaks(HEAD + b"Content-Length: 5\r\n\r\nok")), 200),
    malformed("resets in a body until it closes", answers(breaks(HEAD + b"\r\nall of")), 200),
    malformed("half closes in the body", answers(half_closes(HEAD + b"Content-Length: 5\r\n\r\nok")), 200),
    malformed("headers of 16 KiB and a byte", answers(padded(16_385)), 200),
    malformed("a line of headers too many", answers(lined(101)), 200),
    malformed("10,000 headers", said(b"x: y\r\n" * 10_000 + b"\r\n"), 200),
    malformed("endless headers", answers(pours(b"x: y\r\n" * 1_000, HEAD)), 200),
    malformed("a header of 1 MB", said(b"x: " + b"y" * 1_000_000 + b"\r\n\r\n"), 200),
    malformed("an endless header", answers(pours(b"y" * 16_384, HEAD + b"x: ")), 200),
    malformed("an endless folded header", answers(pours(b" y\r\n" * 1_000, HEAD + b"x: y\r\n")), 200),
    malformed("an endless status line", answers(pours(b"y" * 16_384, b"HTTP/1.1 200 "))),
    malformed("a header without a colon", said(b"what is this\r\nContent-Length: 2\r\n\r\nok"), 200),
    malformed("NUL in a header", said(b"x: a\x00b\r\nContent-Length: 2\r\n\r\nok"), 200),
    malformed("a bare carriage return", said(b"x: a\rb: c\r\nContent-Length: 2\r\n\r\nok"), 200),
    malformed("a bare carriage return first in a line", said(b"x: y\r\n\rx\n\r\nok", hangs_up=True), 200),
    malformed("ends in the empty line", said(b"x: y\r\n\r", hangs_up=True), 200),
    malformed("two Content-Lengths", said(b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nhello"), 200),
    *[malformed(f"Content-Length {value!r}", said(f"Content-Length: {value}\r\n\r\nok".encode()), 200)
      for value in ("-2", "+2", "0x2", "")],
    malformed("a chunk of 2 to the 72", answers(CHUNKED + b"f" * 18 + b"\r\nhello"), 200),
    malformed("a chunk of 2 to the 63 that ends", answers(CHUNKED + b"7fffffffffffffff\r\nhello", hangs_up=True), 200),
    malformed("a chunk of a negative size", answers(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"), 200),
    malformed("a chunk of no number", answers(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), 200),
    malformed("a chunk longer than it says", answers(CHUNKED + b"4\r\nhello\r\n0\r\n\r\n"), 200),
    malformed("an endless chunk extension", answers(pours(b"a=b;" * 4_096, CHUNKED + b"1;")), 200),
    malformed("endless zeros before a chunk's size", answers(pours(b"0" * 16_384, CHUNKED)), 200),
    malformed("endless trailers", answers(pours(b"x: y\r\n" * 1_000, CHUNKS[:-2])), 200),
    malformed("an endless trailer", answers(pours(b"y" * 16_384, CHUNKS[:-2] + b"x: ")), 200),
    malformed("gzip as transfer encoding", said(b"Transfer-Encoding: gzip, chunked\r\n\r\n" + b"%x\r\n" % len(BOMB) + BOMB), 200),
    malformed("an unknown transfer encoding", said(b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS[len(CHUNKED):]), 200),
)  # fmt: skip

SILENT = (
    cut("hangs up without an answer", answers(hangs_up)),
    cut("hangs up at once", greets(hangs_up)),
    cut("resets without an answer", answers(reset)),
    cut("resets at once", greets(reset)),
    cut("half closes without an answer", answers(half_closes())),
    cut("half closes at once", greets(half_closes())),
    cut("ends in the word HTTP", answers(b"HTT", hangs_up=True)),
    slow("hangs at once", greets(hang), "connected, but no answer"),
    slow("hangs without an answer", answers(hang), "connected, but no answer"),
    slow("hangs in the status line", answers(stalls(b"HTTP/1.1 2")), "connected, but no answer"),
    slow("hangs in the headers", answers(stalls(HEAD + b"x: ")), "answer began", 200),
    slow("hangs behind the headers", answers(stalls(HEAD + b"Content-Length: 2\r\n\r\n")), "answer began", 200),
    slow("hangs in the body", answers(stalls(HEAD + b"Content-Length: 99999999999\r\n\r\nok")), "answer began", 200),
    slow("hangs in a body until it closes", answers(stalls(b"HTTP/1.0 200 OK\r\n\r\nok")), "answer began", 200),
    slow("hangs behind a hint", answers(stalls(HINTS)), "answer began", 103),
    slow("drips its status line", answers(drips(b"HTTP/1.1 200 ")), "connected, but no answer"),
    slow("drips its headers", answers(drips(HEAD, b"x: y\r\n")), "answer began", 200),
    slow("drips one header", answers(drips(HEAD + b"x: ")), "answer began", 200),
    slow("drips its body", answers(drips(HEAD + b"Content-Length: 1000000\r\n\r\n")), "answer began", 200),
    slow("drips chunks", answers(drips(CHUNKED, b"1\r\nx\r\n")), "answer began", 200),
    slow("drips a chunk extension", answers(drips(CHUNKED + b"1;")), "answer began", 200),
    slow("bare carriage returns only", answers(b"HTTP/1.1 200 OK\rContent-Length: 2\r\rok"), "connected, but no answer"),
    slow("no lines but a colon", answers(stalls(HEAD + b":")), "answer began", 200),
    slow("accepts nobody", full_backlog, "no connection in time"),
    slow("TLS that stalls", silent_tls, "TLS handshake was not over"),
    slow("TLS that drips", greets_tls(drips(b"\x16\x03\x03\x40\x00", b"\x02")), "TLS handshake was not over"),
    ill("nobody listens", closed_port, Outcome.CONNECT, "nothing takes connections"),
    ill("nobody listens, beside a refused address", closed_port_beside_a_refused_address, Outcome.CONNECT,
        "nothing takes connections"),
    ill("a name that nobody looks up", dials("http://nothing.onion/"), Outcome.DNS, "could not be resolved"),
    ill("a name that no resolver knows", dials(LONG_NAME), Outcome.DNS, "could not be resolved"),
    ill("a refused address", dials("http://[::1]:1999/"), Outcome.REFUSED_BY_GUARD, "not a public one"),
    ill("a name of refused addresses", dials("http://localhost:1999/", AddressPolicy()), Outcome.REFUSED_BY_GUARD,
        "not a public one"),
)  # fmt: skip

BEHIND_TLS = (
    settled("TLS", good_tls),
    settled("TLS with a body until it closes", tls(answer=b"HTTP/1.1 200 OK\r\n\r\nall"), kept=False),
    malformed("TLS cut in a body until it closes", tls(answer=b"HTTP/1.1 200 OK\r\n\r\nal", says_goodbye=False), 200),
    malformed("TLS that ends in the headers", tls(answer=b"HTTP/1.1 200 OK\r\nx: "), 200),
    cut("TLS cut without an answer", tls(answer=b"", says_goodbye=False)),
    no_tls("TLS, expired", tls(expired=True), "has expired"),
    no_tls("TLS, another name", tls(name="other.example"), "for another name"),
    no_tls("TLS, unknown authority", tls(is_trusted=False), "authority unknown"),
    no_tls("TLS, signed by itself", tls(signs_itself=True, is_trusted=False), "signed by itself"),
    no_tls("TLS 1.1", tls(of_2006), "no TLS 1.2"),
    no_tls("TLS without a shared cipher", tls(without_a_shared_cipher), "no cipher in common"),
    no_tls("TLS 1.2, a client certificate", tls(demanding_a_certificate(ssl.TLSVersion.TLSv1_2)), "client certificate"),
    no_tls("TLS 1.3, a client certificate", tls(demanding_a_certificate(ssl.TLSVersion.TLSv1_3)), "client certificate"),
    no_tls("http where TLS is expected", greets_tls(says(b"HTTP/1.1 400 No\r\n\r\n")), "speaks no TLS"),
    no_tls("mail where TLS is expected", greets_tls(says(b"220 mail.example ESMTP\r\n")), "speaks no TLS"),
    no_tls("hangs up where TLS is expected", greets_tls(hangs_up), "hung up during"),
    no_tls("resets where TLS is expected", greets_tls(reset), "hung up during"),
    cut("TLS where http is expected", tls(scheme="http")),
)  # fmt: skip

ROWS = (*STATUSES, *RETRY_AFTER, *SHAPES, *BROKEN, *SILENT, *BEHIND_TLS)
