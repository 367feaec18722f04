"""Bad input at the REST API of a served node: each kind gets its documented error, and never a 5xx or a traceback.

The absence of tracebacks is judged over the node's whole log when it stops (conftest).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import httpx
import pytest
from tests.acceptance.served import ADMIN, Served, made
from tests.acceptance.town import WITHIN_S, Town, town
from tests.waiting import again

Run = Callable[[Coroutine[Any, Any, None]], None]
JSON = {"content-type": "application/json"}


class Case(NamedTuple):
    """A body for ``POST /1/messages`` and what must come of it. APP stands for an application that exists."""

    name: str
    body: bytes
    status: int
    code: str = "invalid_request"


def sending(**changes: str) -> bytes:
    """The body of a good message with some properties as raw JSON instead, `None`-like ones left out."""
    properties = {"mobileAppId": "APP", "text": '"t"', "recipients": '[{"identifier":"ann"}]'} | changes
    return ("{" + ",".join(f'"{name}":{value}' for name, value in properties.items() if value) + "}").encode()


DEEP = "[" * 1000 + "]" * 1000
CASES = [
    Case("no body", b"", 400),
    Case("no JSON", b"hello", 400),
    Case("truncated", sending()[:-1], 400),
    Case("two values", sending() + b"{}", 400),
    Case("NaN", sending(ttlSeconds="NaN"), 400),
    Case("Infinity", sending(optionalData='{"a":-Infinity}'), 400),
    Case("a list", b"[]", 400),
    Case("null", b"null", 400),
    Case("depth 1000", DEEP.encode(), 400),
    Case("depth 1000 in free data", sending(optionalData=f'{{"a":{DEEP}}}'), 400),
    Case("depth 100000", b'{"a":' * 100_000, 400),
    Case("invalid UTF-8", sending(text='"t"').replace(b'"t"', b'"\xff"'), 400),
    Case("lone surrogate", sending(text='"\\ud800"'), 400),
    Case("a key twice", sending().replace(b'"text":"t"', b'"text":"t","text":"u"'), 400),
    Case("byte order mark", b"\xef\xbb\xbf" + sending(), 400),
    Case("text is a number", sending(text="1"), 400),
    Case("text is null", sending(text="null"), 400),
    Case("text is missing", sending(text=""), 400),
    Case("recipients is an object", sending(recipients="{}"), 400),
    Case("a recipient is a text", sending(recipients='["ann"]'), 400),
    Case("identifier is missing", sending(recipients="[{}]"), 400),
    Case("ttlSeconds is a text", sending(ttlSeconds='"60"'), 400),
    Case("ttlSeconds is no integer", sending(ttlSeconds="60.5"), 400),
    Case("a number without end", sending(ttlSeconds="9" * 5000), 400),
    Case("3 MiB", sending(text='"' + "x" * 3 * 2**20 + '"'), 413, "payload_too_large"),
    Case("text is empty", sending(text='""'), 422),
    Case("text is too long", sending(text='"' + "x" * 8193 + '"'), 422),
    Case("nobody", sending(recipients="[]"), 422),
    Case(
        "1001 recipients",
        sending(recipients=str([{"identifier": f"{n}"} for n in range(1001)]).replace("'", '"')),
        422,
    ),
    Case("a recipient twice", sending(recipients='[{"identifier":"ann"},{"identifier":"ANN"}]'), 422),
    Case("ttlSeconds is too small", sending(ttlSeconds="59"), 422),
    Case("a fallback of no such mode", sending(fallback='{"mode":"pigeon"}'), 422),
    Case("a later release's property", sending(attachmentId='"a"'), 422),
    Case("an unknown application", sending(mobileAppId="999999"), 404, "not_found"),
    Case("an unknown application, as text", sending(mobileAppId='"999999"'), 404, "not_found"),
]


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, after a look at its form."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    said = answer.json()
    assert said["status"] == answer.status_code
    assert {"type", "title", "detail"} <= said.keys()
    return answer.status_code, said["code"]


def test_bad_messages(node: Served, run: Run) -> None:
    """Each bad request for a message is refused as documented, nothing of it is stored, and a good one still goes."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            wrong = []
            for case in CASES:
                body = case.body.replace(b"APP", str(place.app["id"]).encode())
                answer = await place.http.post("/1/messages", content=body, headers=JSON)
                if (seen := problem(answer)) != (case.status, case.code):
                    wrong.append((case.name, seen, answer.text[:200]))
            assert wrong == []
            assert (await place.http.get("/1/messages", params={"mobileAppId": place.app["id"]})).json()[
                "items"
            ] == []
            await place.send("ann")

    run(story())


def test_a_large_body_without_announced_length(node: Served, run: Run) -> None:
    """3 MiB in chunks is refused with 413 too, and the connection's client gets to see the answer."""

    async def chunks() -> Any:
        for _ in range(48):
            yield b" " * 2**16

    async def story() -> None:
        async with node.client() as http:
            answer = await http.post("/1/messages", content=chunks(), headers=JSON)
            assert problem(answer) == (413, "payload_too_large")

    run(story())


async def forbidden_things(place: Town) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Requests that touch another application's things: method, path, body."""
    await place.user("ann")
    endpoint = await made(
        place.http, f"{place.path}/endpoints", {"url": "http://127.0.0.1:8000/", "form": "json"}
    )
    message_id = await place.send("ann")
    of_endpoint = f"{place.path}/endpoints/{endpoint['id']}"
    return [
        ("GET", place.path, None),
        ("PATCH", place.path, {"name": "mine"}),
        ("DELETE", place.path, None),
        ("GET", f"{place.path}/users", None),
        ("POST", f"{place.path}/users", {"identifier": "eve", "password": "p"}),
        ("GET", f"{place.path}/users/ann", None),
        ("PATCH", f"{place.path}/users/ann", {"password": "mine"}),
        ("DELETE", f"{place.path}/users/ann", None),
        ("GET", f"{place.path}/endpoints", None),
        ("POST", f"{place.path}/endpoints", {"url": "http://127.0.0.1:8000/", "form": "json"}),
        ("GET", of_endpoint, None),
        ("PATCH", of_endpoint, {"form": "get"}),
        ("DELETE", of_endpoint, None),
        ("GET", f"{of_endpoint}/attempts", None),
        ("POST", "/1/messages", place.message("ann")),
        ("GET", f"/1/messages?mobileAppId={place.app['id']}", None),
        ("GET", f"/1/messages/{message_id}", None),
        ("GET", f"/1/messages/{message_id}/callbacks", None),
        ("GET", f"/1/messages/{message_id}/explain", None),
        ("POST", f"/1/messages/{message_id}/expire", None),
    ]


def test_another_applications_things(node: Served, run: Run) -> None:
    """A token of one application meets another's things exactly as it meets unknown ones: 404, the same bytes."""

    async def story() -> None:
        async with town(node) as place, town(node) as mine:
            value = {"name": "t", "scopes": ["send", "read", "manage"], "apps": [mine.app["id"]]}
            token = (await made(place.http, "/1/tokens", value))["token"]
            requests = await forbidden_things(place)
            nobodys = "018f4a00-0000-7000-8000-000000000000"
            async with node.client(token) as http:
                for method, path, body in requests:
                    foreign = await http.request(method, path, json=body)
                    assert problem(foreign) == (404, "not_found"), (method, path)
                    parts = path.split("/")
                    if parts[2] == "apps":
                        parts[3] = "999999"
                    elif len(parts) > 3:
                        parts[3] = nobodys
                    unknown_path = "/".join(parts).replace(f"={place.app['id']}", "=999999")
                    unknown_body: dict[str, Any] | None = body
                    if path == "/1/messages":
                        unknown_body = place.message("ann", mobileAppId=999_999)
                    unknown = await http.request(method, unknown_path, json=unknown_body)
                    assert (unknown.status_code, unknown.content) == (404, foreign.content), (method, path)
                assert (await http.get(mine.path)).status_code == 200
            assert (await place.http.get(place.path)).json()["name"] == "town"

    run(story())


def test_tokens(node: Served, run: Run) -> None:
    """Without a valid token 401; with too little scope 403; an expired or a revoked one counts for nothing."""

    async def story() -> None:
        async with town(node) as place:
            short = {"name": "t", "scopes": ["read"], "apps": "all", "expiresInSeconds": 1}
            expiring = await made(place.http, "/1/tokens", short)
            limited = await made(place.http, "/1/tokens", {"name": "t", "scopes": ["read"], "apps": "all"})
            for wrong in (None, "x", ADMIN + "x", limited["token"] + "x", limited["token"][:-1], "é"):
                headers = {} if wrong is None else {b"authorization": f"Bearer {wrong}".encode()}
                async with node.client(None) as http:
                    answer = await http.get("/1/apps", headers=headers)
                    assert problem(answer) == (401, "unauthorized"), wrong
                    assert answer.headers["www-authenticate"].startswith("Bearer")
            async with node.client(limited["token"]) as http:
                assert (await http.get("/1/apps")).status_code == 200
                assert problem(await http.post("/1/messages", json=place.message("ann"))) == (
                    403,
                    "forbidden",
                )
                assert problem(await http.post("/1/apps", json={"name": "n"})) == (403, "forbidden")
                assert (await place.http.delete(f"/1/tokens/{limited['id']}")).status_code == 204
                assert problem(await http.get("/1/apps")) == (401, "unauthorized")
            async with node.client(expiring["token"]) as http:
                why = "a token ends by the clock and tells nobody"
                answer = await again(lambda: http.get("/1/apps"), lambda it: it.status_code != 200, why)
                assert problem(answer) == (401, "unauthorized")

    run(story())


ODD = [
    ("GET", "/1/nothing", {}, 404, "not_found"),
    ("GET", "/1/apps/not-a-number", {}, 404, "not_found"),
    ("GET", "/1/apps/-1", {}, 404, "not_found"),
    ("GET", "/1/apps/" + "9" * 400, {}, 404, "not_found"),
    ("GET", "/1/messages/not-an-id", {}, 404, "not_found"),
    ("GET", "/1/messages/%00", {}, 404, "not_found"),
    ("GET", "/1/messages/%ff%fe", {}, 404, "not_found"),
    ("GET", "/1/messages/" + "x" * 5000, {}, 404, "not_found"),
    ("PUT", "/1/messages", {}, 405, "method_not_allowed"),
    ("DELETE", "/1/messages", {}, 405, "method_not_allowed"),
    ("GET", "/1/apps?limit=0", {}, 422, "invalid_request"),
    ("GET", "/1/apps?limit=201", {}, 422, "invalid_request"),
    ("GET", "/1/apps?limit=ten", {}, 400, "invalid_request"),
    ("GET", "/1/apps?limit=1&limit=2", {}, 400, "invalid_request"),
    ("GET", "/1/messages?since=yesterday", {}, 422, "invalid_request"),
    ("POST", "/1/messages", {"content": b"<a/>", "headers": {"content-type": "text/xml"}}, 415, "unsupported_media_type"),
    ("POST", "/1/messages", {"content": b"{}", "headers": JSON | {"content-encoding": "gzip"}}, 415, "unsupported_media_type"),
    ("POST", "/1/messages", {"content": b"{}", "headers": JSON | {"idempotency-key": "k" * 256}}, 400, "invalid_request"),
    ("POST", "/device/1/sessions", {"content": b"{", "headers": JSON}, 400, "invalid_request"),
    ("POST", "/device/1/sessions", {"content": b" " * 3 * 2**20, "headers": JSON}, 413, "payload_too_large"),
    ("POST", "/device/1/sessions", {"json": {"appKey": "x", "identifier": "a", "password": "b"}}, 401, "unauthorized"),
    ("GET", "/device/1/messages", {}, 401, "unauthorized"),
    ("POST", "/device/1/receipts", {"json": {"received": 1}}, 401, "unauthorized"),
    ("GET", "/device/1/nothing", {}, 404, "not_found"),
    ("POST", "/sim/1/clock/advance", {"json": {"by": "1s"}}, 404, "not_found"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"), ODD, ids=[f"{one[0]} {one[1][:40]} {one[3]}" for one in ODD]
)
def test_odd_requests(
    node: Served, run: Run, method: str, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    """What does not exist, is not allowed or cannot be read is answered as documented."""

    async def story() -> None:
        async with node.client() as http:
            answer = await http.request(method, path, **more)
            assert problem(answer) == (status, code), answer.text
            if status == 405:
                assert "POST" in answer.headers["allow"]

    run(story())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://user@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/?status=x",
        "http://127.0.0.1/#part",
        "127.0.0.1",
    ],
)
def test_refused_urls(node: Served, run: Run, url: str) -> None:
    """An endpoint's URL that the guard refuses is refused when it is saved."""

    async def story() -> None:
        async with town(node) as place:
            answer = await place.http.post(f"{place.path}/endpoints", json={"url": url, "form": "json"})
            assert problem(answer) == (422, "url_refused")

    run(story())


async def raw(node: Served, request: bytes) -> bytes:
    """Send bytes and return what comes back until the node closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(WITHIN_S):
            return await reader.read(4096)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: minus\r\n\r\n",
        b"POST /1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["no HTTP", "version", "path", "length", "chunk", "TLS"],
)
def test_what_is_no_http(node: Served, run: Run, request_: bytes) -> None:
    """Bytes that are no HTTP are answered 4xx or not at all, and the node goes on."""

    async def story() -> None:
        answer = await raw(node, request_)
        assert answer[:10] in {b"", b"HTTP/1.1 4"}, answer
        async with node.client(None) as http:
            assert (await http.get("/healthz")).status_code == 200

    run(story())
