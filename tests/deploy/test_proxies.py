"""A node behind Caddy and behind nginx, as deploy/ sets them up: TLS outside, and HTTP, long polls and WebSockets inside."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.served import ADMIN, Served, made
from tests.deploy.proxies import DEPLOY, Proxy, caddy, nginx, seconds, tool
from tests.waiting import again

from homing.device import Device, Disconnected, Message

Run = Callable[[Coroutine[Any, Any, None]], None]
WITHIN_S = 15.0
LONGEST_POLL_S = 30
PING_EVERY_S = 55
LOGINS = 40


@pytest.fixture
def served(tmp_path: Path, run: Run) -> Iterator[Served]:
    """A node of the test's own."""
    node = Served(tmp_path / "data")
    node.start()

    async def ready() -> None:
        await node.ready()

    try:
        run(ready())
        yield node
        assert node.faults() == []
    finally:
        node.close()


@pytest.fixture(params=[caddy, nginx], ids=["caddy", "nginx"])
def proxy(
    request: pytest.FixtureRequest, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """The node, seen through a proxy whose certificate this process believes."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    with request.param(folder, served.port) as started:
        monkeypatch.setenv("SSL_CERT_FILE", str(started.ca))
        yield started


def client(proxy: Proxy) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {ADMIN}"}
    return httpx.AsyncClient(
        base_url=proxy.url, headers=headers, verify=proxy.trust, timeout=WITHIN_S, trust_env=False
    )


async def settle_in(http: httpx.AsyncClient) -> dict[str, Any]:
    """Make an application with Ann."""
    app = await made(http, "/1/apps", {"name": "town"})
    await made(http, f"/1/apps/{app['id']}/users", {"identifier": "ann", "password": "secret"})
    return app


async def send(http: httpx.AsyncClient, app: dict[str, Any], **more: object) -> str:
    recipients = [{"identifier": "ann"}]
    body = {"mobileAppId": app["id"], "text": "hello", "recipients": recipients} | more
    return str((await made(http, "/1/messages", body))["messageId"])


async def statuses(http: httpx.AsyncClient, message_id: str) -> list[str]:
    shown = (await http.get(f"/1/messages/{message_id}")).raise_for_status().json()
    return [event["status"] for event in shown["recipients"][0]["events"]]


def test_the_api_goes_through(proxy: Proxy, served: Served, run: Run) -> None:
    """Bodies, answers and headers as without a proxy; the metrics stay inside; without TLS there is nothing."""

    async def story() -> None:
        async with client(proxy) as http, served.client() as inside:
            assert (await http.get("/healthz")).json() == (await inside.get("/healthz")).json()
            assert (await http.get("/metrics")).status_code == 404
            assert (await inside.get("/metrics")).status_code == 200
            app = await settle_in(http)
            body = {"mobileAppId": app["id"], "txt": 1, "text": "é", "recipients": [{"identifier": "ann"}]}
            key = {"idempotency-key": "once"}
            answers = [await http.post("/1/messages", json=body, headers=key) for _ in range(2)]
            assert [one.status_code for one in answers] == [201, 201]
            assert answers[0].content == answers[1].content
            assert answers[0].headers["homing-ignored"] == "$.txt"
            assert answers[1].headers["idempotency-replayed"] == "true"
            wrong = await http.get("/1/apps", headers={"authorization": "Bearer wrong"})
            assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthorized")
            large = await http.post("/1/messages", content=b" " * (2 * 2**20 + 1))
            assert (large.status_code, large.json()["code"]) == (413, "payload_too_large")
            with pytest.raises(httpx.HTTPError):
                (await http.get(proxy.url.replace("https:", "http:") + "/healthz")).raise_for_status()

    run(story())


def test_a_live_link_goes_through(proxy: Proxy, served: Served, run: Run) -> None:
    """A device is pushed to over its WebSocket, its receipts come back, and it hears that the server goes away."""

    async def story() -> None:
        async with client(proxy) as http, asyncio.timeout(WITHIN_S * 2):
            app = await settle_in(http)
            async with Device(proxy.url, app["appKey"]) as phone:
                await phone.login("ann", "secret")
                await phone.connect()
                heard = phone.events()
                for _ in range(3):
                    message_id = await send(http, app)
                    event = await anext(heard)
                    assert isinstance(event, Message)
                    assert event.id == message_id
                    await phone.read(message_id)
                    await again(
                        lambda it=message_id: statuses(http, it),  # type: ignore[misc]
                        lambda it: it == ["enqueued", "delivered", "read"],
                        "a receipt is answered by nothing",
                    )
                assert await asyncio.to_thread(served.stop) == 0
                with pytest.raises(Disconnected) as ended:
                    await anext(heard)
                assert ended.value.code == 4503
                assert ended.value.retry_after_s is not None
            assert (await http.get("/healthz")).status_code == 502

    run(story())


def test_a_long_poll_goes_through(proxy: Proxy, run: Run) -> None:
    """It waits as long as nothing comes, and answers at once when something does; receipts are taken."""

    async def story() -> None:
        async with client(proxy) as http, asyncio.timeout(WITHIN_S * 2):
            app = await settle_in(http)
            phone = Device(proxy.url, app["appKey"])
            await phone.login("ann", "secret")
            assert await phone.poll(wait_s=1) == []
            waiting = asyncio.create_task(phone.poll(wait_s=LONGEST_POLL_S))
            message_id = await send(http, app)
            (heard,) = await waiting
            assert isinstance(heard, Message)
            assert heard.id == message_id
            await phone.receipts(read=[message_id])
            assert await statuses(http, message_id) == ["enqueued", "delivered", "read"]

    run(story())


def test_nginx_slows_down_who_logs_in_too_often(
    served: Served, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the client's own address, which Homing does not see behind a proxy; the rest of the API is not concerned."""

    async def story(proxy: Proxy) -> None:
        async with client(proxy) as http:
            app = await settle_in(http)
            login = {"appKey": app["appKey"], "identifier": "ann", "password": "secret"}
            answers = [await http.post("/device/1/sessions", json=login) for _ in range(LOGINS)]
            refused = [one for one in answers if one.status_code == 429]
            assert {one.status_code for one in answers} == {201, 429}
            assert {one.headers["content-type"] for one in refused} == {"text/html"}, (
                "nginx said it, not Homing"
            )
            assert (await http.get("/1/apps")).status_code == 200

    with nginx(tmp_path, served.port) as proxy:
        run(story(proxy))


def test_the_proxies_wait_longer_than_homing_makes_them() -> None:
    """Longer than the longest poll, and than two pings of a live link are apart."""
    for name, directive in (("nginx.conf", "proxy_read_timeout"), ("Caddyfile", "response_header_timeout")):
        waits = seconds((DEPLOY / name).read_text("utf-8"), directive)
        assert waits
        assert min(waits) > max(LONGEST_POLL_S, PING_EVERY_S)


def test_the_caddyfile_is_as_caddy_writes_it(tmp_path: Path) -> None:
    """It is valid without anything in the environment, names the example's host, and is formatted."""
    file = DEPLOY / "Caddyfile"
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    told = subprocess.run(
        [tool("caddy"), "adapt", "--config", str(file), "--adapter", "caddyfile", "--validate"],
        capture_output=True, check=True, env=environment, text=True,
    )  # fmt: skip
    assert "warn" not in told.stderr.lower()
    server = json.loads(told.stdout)["apps"]["http"]["servers"]["srv0"]
    assert server["routes"][0]["match"] == [{"host": ["homing.example"]}]
    formatted = subprocess.run(
        [tool("caddy"), "fmt", str(file)], capture_output=True, text=True, env=environment, check=False
    )
    assert formatted.stdout == file.read_text("utf-8")
