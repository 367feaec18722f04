"""The document: whole, valid, true to what is declared; and schemathesis, which tries to prove it wrong."""

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop
from tests.api.world import ADMIN, app_with_users, message_to, world
from tests.serving import Serving

from homing.api.decode import shape
from homing.api.endpoint_schema import EndpointCreate
from homing.api.openapi import errors_of
from homing.api.schema import URL_PATTERN, Request
from homing.api.urls import SavedUrls
from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import check_saved_url

Run = Callable[[Coroutine[Any, Any, Any]], Any]

COMPATIBLE = {
    "POST /1/auth/oauth", "POST /1/messages", "GET /1/messages",
    "GET /1/apps/{appId}/users", "POST /1/apps/{appId}/users",
    "GET /1/apps/{appId}/users/{identifier}", "PATCH /1/apps/{appId}/users/{identifier}",
    "DELETE /1/apps/{appId}/users/{identifier}",
}  # fmt: skip


def test_every_operation_is_in_the_document_and_nothing_else(run: Run) -> None:
    """What answers "not yet" is not promised; everything else is, with where it comes from."""

    async def story() -> None:
        async with world("https://homing.example/") as w:
            document = (await w.client.get("/openapi.json")).json
            assert document["openapi"] == "3.1.0"
            assert document["servers"] == [{"url": "https://homing.example/"}]
            shown = {
                f"{method.upper()} {path}": operation["x-homing-origin"]
                for path, methods in document["paths"].items()
                for method, operation in methods.items()
            }
            declared = {f"{it.method} {it.path}" for it in w.api.operations if not it.is_not_yet}
            assert set(shown) == declared
            assert {name for name, origin in shown.items() if origin == "compatible"} == COMPATIBLE
            names = [it["operationId"] for methods in document["paths"].values() for it in methods.values()]
            assert len(names) == len(set(names))

    run(story())


def test_every_reference_leads_somewhere(run: Run) -> None:
    """No schema is named that is not there, and none is there that nobody names."""

    async def story() -> None:
        async with world() as w:
            document = (await w.client.get("/openapi.json")).body.decode()
            named = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', document))
            assert named == set(w.api.openapi["components"]["schemas"])

    run(story())


def test_every_error_is_documented_where_it_can_happen(run: Run) -> None:
    """Each operation lists the statuses that its declaration implies, as problems."""

    async def story() -> None:
        async with world() as w:
            for it in w.api.operations:
                if it.is_not_yet:
                    continue
                responses = w.api.openapi["paths"][it.path][it.method.lower()]["responses"]
                for error in errors_of(it):
                    assert "application/problem+json" in responses[str(error.http_status)]["content"]
                if not it.is_public:
                    assert {"401", "403", "503"} <= set(responses)

    run(story())


def test_properties_that_are_not_yet_there_are_named(run: Run) -> None:
    """A reader of the document learns what a later release brings."""

    async def story() -> None:
        async with world() as w:
            schemas = w.api.openapi["components"]["schemas"]
            assert schemas["SendRequest"]["x-homing-not-yet"] == [
                "inReplyTo",
                "attachmentId",
            ]
            assert schemas["Tls"]["x-homing-not-yet"] == ["clientCert", "clientKey"]
            assert all("additionalProperties" not in schemas[cls.__name__] for cls in (EndpointCreate,))

    run(story())


@pytest.mark.parametrize(
    "url", ["https://a.example", "http://shop.example.com/cb/x?a_=1", "https://x1.y2.example.org/~a/b.c"]
)
def test_a_url_as_documented_passes_the_guard(url: str) -> None:
    """The pattern promises no more than the guard keeps."""
    assert re.search(URL_PATTERN, url)
    assert check_saved_url(url, AddressPolicy()).rebuilt


def test_every_declared_request_can_be_decoded() -> None:
    """No declaration holds a type for which the careful decoder has no rule."""
    kinds = [cls for cls in Request.__subclasses__() if cls.__module__.startswith("homing")]
    assert len(kinds) > 10
    for cls in kinds:
        assert shape(cls) is shape(cls)


async def nothing_resolves(_self: object, url: str, _form: str) -> list[str]:
    check_saved_url(url, AddressPolicy())
    return []


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The API with something in it on a loopback port, in a thread of its own."""
    monkeypatch.setattr(SavedUrls, "__call__", nothing_resolves)
    started: list[Any] = []
    is_up = threading.Event()

    async def serve() -> None:
        async with world() as w:
            for name in "abc":
                await app_with_users(w.client, "ann", "bob", name=name)
            for _ in range(3):
                await w.client.made("/1/messages", message_to(1, "ann"))
            w.api.close()  # as a server that stops: no question waits
            config = uvicorn.Config(
                w.api,
                host="127.0.0.1",
                port=0,
                log_level="error",
                access_log=False,
                lifespan="off",
                http="httptools",
            )
            server = Serving(config)
            started.append(server)
            serving = asyncio.ensure_future(server.serve())
            await server.is_up.wait()
            is_up.set()
            await serving

    thread = threading.Thread(target=lambda: uvloop.run(serve()), daemon=True)
    thread.start()
    assert is_up.wait(20)
    port = started[0].servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    started[0].should_exit = True
    thread.join(20)
    assert not thread.is_alive()


# Rules that JSON Schema cannot say: a recipient is not named twice, a text is a certificate, either basic or bearer,
# a webhook-id is one of this message, "missed" needs a time or an endpoint that was disabled.
# That no text may hold U+0000 is said in words: as a pattern of every text it would make the tool too slow.
CONFIG = "[generation]\nallow-x00 = false\n" + "".join(
    f"""
[[operations]]
include-name = "{name}"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "404", "409", "422"]
"""
    for name in (
        "POST /1/messages",
        "POST /1/messages/{messageId}/callbacks/replay",
        "POST /1/apps/{appId}/endpoints",
        "PATCH /1/apps/{appId}/endpoints/{endpointId}",
        "POST /1/apps/{appId}/endpoints/{endpointId}/replay",
        "POST /1/apps/{appId}/endpoints/{endpointId}/replay/count",
    )
)


@pytest.mark.timeout(120)
def test_schemathesis_finds_nothing(served: str, tmp_path: Path) -> None:
    """All of its checks, over coverage, random and stateful cases, against a real server: not one finding."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    program = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    ended = subprocess.run(
        [
            sys.executable, "-c", program, "run", f"{served}/openapi.json",
            "-H", f"Authorization: Bearer {ADMIN}",
            "--max-examples", "8", "--seed", "20260301", "--generation-deterministic", "--workers", "1",
            "--continue-on-failure", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    selected, tested = (re.search(rf"{word}: *([0-9]+)", ended.stdout) for word in ("Selected", "Tested"))
    assert selected is not None
    assert tested is not None
    assert selected[1] == tested[1] != "0", ended.stdout[-2000:]
