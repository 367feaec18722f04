"""HTTP itself: methods, media types, sizes, unknown paths, pages, and errors that are ours."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.api.world import ADMIN, JSON, Client, app_with_users, message_to, world

from homing import errors
from homing.api.problems import TITLES, Code, problem_of
from homing.api.wire import MAX_BODY_BYTES

Run = Callable[[Coroutine[Any, Any, Any]], Any]

PUBLIC = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/")
NO_UUID = "01890000-0000-7000-8000-000000000000"


def test_a_wrong_method_is_a_405_that_names_the_right_ones(run: Run) -> None:
    """`Allow` lists every method of the path, with or without a token."""

    async def story() -> None:
        async with world() as w:
            for path, allowed in (
                ("/1/messages", "GET, HEAD, OPTIONS, POST"),
                ("/1/apps/1", "DELETE, GET, HEAD, OPTIONS, PATCH"),
                ("/1/auth/oauth", "OPTIONS, POST"),
                ("/healthz", "GET, HEAD, OPTIONS"),
            ):
                for client in (w.client, w.client.as_(None)):
                    answer = await client.ask("PUT", path)
                    assert (answer.status, answer.code) == (405, "method_not_allowed")
                    assert answer.headers["allow"] == allowed
                asked = await w.client.as_(None).ask("OPTIONS", path)
                assert (asked.status, asked.headers["allow"], asked.body) == (204, allowed, b"")

    run(story())


def test_head_is_get_without_the_body(run: Run) -> None:
    """Status and headers are those of GET."""

    async def story() -> None:
        async with world() as w:
            for path in ("/1/apps", "/healthz", "/1/nothing"):
                got, head = await w.client.get(path), await w.client.ask("HEAD", path)
                assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")

    run(story())


@pytest.mark.parametrize(
    "path",
    ["/x", "/1", "/1/", "/1/apps/", "/1//apps", "/1/apps/1/users//", "/2/apps", "/1/apps/%ff", "/docs/x"],
)
def test_an_unknown_path_is_a_404(run: Run, path: str) -> None:
    """Nothing is guessed: no trailing slash, no empty part, no other version."""

    async def story() -> None:
        async with world() as w:
            answer = await w.client.get(path)
            assert (answer.status, answer.code) == (404, "not_found")

    run(story())


@pytest.mark.parametrize(
    "content_type, status",
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("Application/JSON;charset=UTF-8", 201),
        ("", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=latin-1", 415),
    ],
)
def test_the_body_must_be_json_in_utf8(run: Run, content_type: str, status: int) -> None:
    """Another media type or charset is a 415; none at all is taken for JSON."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            headers = {"content-type": content_type} if content_type else {}
            body = b'{"mobileAppId":%d,"text":"x","recipients":[{"identifier":"ann"}]}' % app
            answer = await w.client.post("/1/messages", body=body, headers=headers)
            assert answer.status == status
            if status == 415:
                assert answer.code == "unsupported_media_type"

    run(story())


def test_a_compressed_body_is_a_415(run: Run) -> None:
    """No decompression: a bomb is not even opened."""

    async def story() -> None:
        async with world() as w:
            answer = await w.client.post("/1/messages", {}, headers={**JSON, "content-encoding": "gzip"})
            assert (answer.status, answer.code) == (415, "unsupported_media_type")

    run(story())


@pytest.mark.parametrize("path", ["/1/messages", "/1/apps", "/1/auth/oauth", f"/1/messages/{NO_UUID}/expire"])
def test_a_body_over_two_mebibytes_is_a_413_and_is_drained(run: Run, path: str) -> None:
    """Announced or not, in one part or many: 413, and nothing is left unread on the connection."""

    async def story() -> None:
        async with world() as w:
            parts = [b"x" * 2**20] * 3
            for headers in ({**JSON}, {**JSON, "content-length": str(3 * 2**20)}):
                answer = await w.client.post(path, body=parts, headers=headers)
                assert (answer.status, answer.code) == (413, "payload_too_large")
                assert w.client.unread[-1] == 0
            answer = await w.client.post(path, body=b"x" * (MAX_BODY_BYTES + 1), headers=JSON)
            assert answer.status == 413

    run(story())


def test_a_body_of_just_two_mebibytes_is_read(run: Run) -> None:
    """The limit itself is allowed, however the body is cut."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            frame = b'{"mobileAppId":%d,"text":"x","recipients":[{"identifier":"ann"}]' % app
            frame += b',"optionalData":{"a":"'
            body = frame + b"y" * (MAX_BODY_BYTES - len(frame) - 3) + b'"}}'
            assert len(body) == MAX_BODY_BYTES
            assert (await w.client.post("/1/messages", body=body, headers=JSON)).status == 201
            parts = [body[:10], body[10:1_000_000], body[1_000_000:]]
            assert (await w.client.post("/1/messages", body=parts, headers=JSON)).status == 201

    run(story())


def test_a_401_drains_the_body_unless_the_client_waits(run: Run) -> None:
    """An answer sent early reads the rest; a client that waits for 100-continue is answered at once."""

    async def story() -> None:
        async with world() as w:
            nobody = w.client.as_(None)
            parts = [b"x" * 100_000] * 5
            assert (await nobody.post("/1/messages", body=parts, headers=JSON)).status == 401
            assert nobody.unread[-1] == 0
            waiting = {**JSON, "expect": "100-continue"}
            assert (await nobody.post("/1/messages", body=parts, headers=waiting)).status == 401
            assert nobody.unread[-1] == 5

    run(story())


def test_a_client_that_goes_away_leaves_no_trace(run: Run) -> None:
    """A request that ends in the middle of its body is not answered and stores nothing."""

    async def story() -> None:
        async with world() as w:
            sent: list[object] = []

            async def receive() -> Any:
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {
                "type": "http", "method": "POST", "path": "/1/apps", "raw_path": b"/1/apps", "query_string": b"",
                "headers": [(b"authorization", f"Bearer {ADMIN}".encode())],
            }  # fmt: skip
            await w.api(scope, receive, send)
            assert sent == []
            assert (await w.client.get("/1/apps")).json["items"] == []

    run(story())


def test_websockets_and_the_lifespan_are_answered(run: Run) -> None:
    """There is no WebSocket here, and a server that asks for the lifespan is told that all is well."""

    async def story() -> None:
        async with world() as w:
            for kind, asked, told in (
                ("websocket", ["websocket.connect"], ["websocket.close"]),
                (
                    "lifespan",
                    ["lifespan.startup", "lifespan.shutdown"],
                    ["lifespan.startup.complete", "lifespan.shutdown.complete"],
                ),
            ):
                sent: list[str] = []

                async def receive(asked: list[str] = asked) -> Any:
                    return {"type": asked.pop(0)}

                async def send(message: Any, sent: list[str] = sent) -> None:
                    sent.append(message["type"])

                await w.api({"type": kind}, receive, send)
                assert sent == told

    run(story())


def test_the_public_routes_need_no_token(run: Run) -> None:
    """Health, readiness, metrics, document and pages are for anyone."""

    async def story() -> None:
        async with world() as w:
            for path in PUBLIC:
                assert (await w.client.as_(None).get(path)).status == 200
            assert (await w.client.as_(None).get("/healthz")).json == {"status": "ok"}
            assert (await w.client.as_(None).get("/metrics")).body == b"homing_up 1\n"

    run(story())


def test_readiness_gives_its_reasons(run: Run) -> None:
    """Not ready is 503 with why, and it is not cached."""

    async def story() -> None:
        async with world() as w:
            assert (await w.client.get("/readyz")).json == {"ready": True, "reasons": []}
            w.reasons.append("stopping")
            answer = await w.client.get("/readyz")
            assert (answer.status, answer.json) == (503, {"ready": False, "reasons": ["stopping"]})
            assert answer.headers["cache-control"] == "no-store"

    run(story())


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_run_nothing_and_load_nothing(run: Run, path: str) -> None:
    """No script, no outside resource, and a policy that would stop one."""

    async def story() -> None:
        async with world() as w:
            answer = await w.client.as_(None).get(path)
            assert answer.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            page = answer.body.decode()
            for forbidden in ("<script", "http://", "https://", "javascript:", " on", "src=", "url("):
                if forbidden == " on":
                    assert " onclick" not in page
                    continue
                assert forbidden not in page, forbidden

    run(story())


def test_the_docs_page_shows_every_operation_shape_and_code(run: Run) -> None:
    """Nothing that is in the document is missing on its page."""

    async def story() -> None:
        async with world() as w:
            page = (await w.client.get("/docs")).body.decode()
            for path, methods in w.api.openapi["paths"].items():
                assert path in page
                for operation in methods.values():
                    assert f'id="{operation["operationId"]}"' in page
            for name in w.api.openapi["components"]["schemas"]:
                assert f'id="schema-{name}"' in page
            for error in TITLES:
                assert f'id="{error.code}"' in page
            assert "<code>Idempotency-Key</code>" in page
            assert "`" not in page

    run(story())


LATER = [
    ("PUT", "/1/apps/1/platforms/ios"),
    ("GET", "/1/apps/1/platforms/android"),
    ("DELETE", "/1/apps/1/platforms/web"),
]


@pytest.mark.parametrize("method, path", LATER)
def test_routes_of_a_later_release_say_so_to_those_who_may_ask(run: Run, method: str, path: str) -> None:
    """422 "not yet" with a token, 401 without; never silence."""

    async def story() -> None:
        async with world() as w:
            answer = await w.client.ask(method, path)
            assert (answer.status, answer.code) == (422, "invalid_request")
            assert "not yet" in answer.json["detail"]
            assert (await w.client.as_(None).ask(method, path)).status == 401

    run(story())


class Broken:
    """An engine that fails in every way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def accept(self, accept: object) -> Any:
        raise self.error

    async def record(self, occurrences: object) -> Any:
        raise self.error


@pytest.mark.parametrize(
    "error, status, code",
    [
        (errors.Unavailable("the disk is full", retry_after_s=30), 503, "unavailable"),
        (errors.CommitUnknown("who knows"), 503, "unavailable"),
        (errors.RateLimited("slowly", retry_after_s=3), 429, "rate_limited"),
        (ZeroDivisionError("/secret/path.py"), 500, "internal"),
    ],
)
def test_what_breaks_behind_the_api_is_a_problem_too(
    run: Run, error: Exception, status: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """503 and 429 say when to come back; a fault of ours says nothing of the inside."""

    async def story() -> None:
        async with world() as w:
            sending = next(it for it in w.api.operations if it.path == "/1/messages" and it.method == "POST")
            sending.handler.__self__._engine = Broken(error)  # type: ignore[attr-defined]
            answer = await w.client.post("/1/messages", message_to(1, "ann"))
            assert (answer.status, answer.code) == (status, code)
            assert ("retry-after" in answer.headers) == (status in {429, 503})
            assert b"secret" not in answer.body
            assert b"Traceback" not in answer.body

    run(story())
    assert ("ZeroDivisionError" in capsys.readouterr().err) == (status == 500)


def subclasses(kind: type[errors.HomingError]) -> set[type[errors.HomingError]]:
    found = {kind}
    for below in kind.__subclasses__():
        found |= subclasses(below)
    return found


def test_every_error_for_a_caller_has_a_title_and_a_code_that_is_documented() -> None:
    """The tree of errors and the problem's declaration name the same codes."""
    documented = set(Code.__args__)  # type: ignore[attr-defined]
    raised = set()
    for kind in (subclasses(errors.RequestError) | subclasses(errors.Unavailable)) - {errors.RequestError}:
        if not kind.__module__.startswith("homing.errors"):
            continue
        status, _, body = problem_of(kind())
        assert status == kind.http_status
        assert kind.code.encode() in body
        assert b"Something of ours" not in body
        raised.add(kind.code)
    assert raised | {"internal"} == documented


async def tells_where(client: Client) -> None:
    answer = await client.post("/1/apps", {"name": ""})
    assert answer.json["errors"] == [{"path": "$.name", "message": "must have 1 to 255 characters, not 0"}]
    assert answer.json["type"] == "/docs#invalid_request"


def test_a_problem_names_the_place_and_leads_to_its_page(run: Run) -> None:
    """`errors` has JSON paths, `type` the page where the code is explained."""

    async def story() -> None:
        async with world() as w:
            await tells_where(w.client)

    run(story())
