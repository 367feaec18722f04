"""How callbacks travel to one endpoint: said when it is made, changed by merge patch, shown without what is secret."""

import datetime as dt
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.api.world import World, app_with_users, world

Run = Callable[[Coroutine[Any, Any, Any]], Any]

URL = "http://127.0.0.1:9999/cb"
OPTIONS: dict[str, object] = {
    "ordered": False,
    "maxInFlight": 4,
    "ratePerSecond": 2.5,
    "retryDelaysSeconds": [1, 2.5, 30],
    "timeoutSeconds": 7,
}


def authority() -> str:
    """A certificate in PEM, made on the spot."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test authority")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1)
    ).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def made(w: World, **given: object) -> tuple[str, Any]:
    """Make an endpoint and return its path and the answer."""
    app = await app_with_users(w.client)
    endpoints = f"/1/apps/{app}/endpoints"
    answer = await w.client.made(endpoints, {"url": URL, "form": "json", **given})
    return f"{endpoints}/{answer['id']}", answer


def test_options_are_kept_and_shown(run: Run) -> None:
    """Each as it was given; what was left out is absent, and what has a default says it."""

    async def story() -> None:
        async with world() as w:
            path, answer = await made(w, **OPTIONS)
            shown = (await w.client.get(path)).json
            for one in (answer, shown):
                assert {name: one[name] for name in OPTIONS} == OPTIONS
            _, plain = await made(w)
            assert (plain["ordered"], plain["paused"], plain["state"]) == (True, False, "active")
            assert not set(plain) & {"headers", "auth", "tls", "maxInFlight", "timeoutSeconds", "missed"}

    run(story())


def test_secrets_are_sealed_and_never_shown(run: Run) -> None:
    """Neither the answer nor the store's row holds a header's value, a password or a bearer token in clear."""

    async def story() -> None:
        async with world() as w:
            canary = "canary-4711"
            path, answer = await made(
                w, headers={"X-Key": canary}, auth={"basic": {"username": "me", "password": canary}}
            )
            shown = await w.client.get(path)
            assert canary not in str(answer) + shown.body.decode()
            assert shown.json["headers"] == {"X-Key": "[hidden]"}
            assert shown.json["auth"] == {"basic": {"username": "me", "password": "[hidden]"}}
            [endpoint] = await w.store.endpoints(None)
            assert canary not in str(endpoint)
            view = w.directory.view(endpoint.id)
            assert view is not None
            assert view.headers == ("X-Key: canary-4711", "authorization: Basic bWU6Y2FuYXJ5LTQ3MTE=")

    run(story())


def test_a_patch_merges_headers_and_replaces_the_rest(run: Run) -> None:
    """null drops a header or an option; what the patch does not name stays."""

    async def story() -> None:
        async with world() as w:
            path, _ = await made(w, headers={"X-A": "1", "X-B": "2"}, auth={"bearer": "tok"}, **OPTIONS)
            patch = {"headers": {"x-a": None, "X-C": "3"}, "maxInFlight": None, "timeoutSeconds": 3}
            changed = (await w.client.ask("PATCH", path, patch)).json
            assert set(changed["headers"]) == {"X-B", "X-C"}
            assert "maxInFlight" not in changed
            assert (changed["timeoutSeconds"], changed["ratePerSecond"]) == (3, 2.5)
            assert changed["auth"] == {"bearer": "[hidden]"}
            bare = {"headers": None, "auth": None, "retryDelaysSeconds": None, "ordered": None}
            changed = (await w.client.ask("PATCH", path, bare)).json
            assert not set(changed) & {"headers", "auth", "retryDelaysSeconds"}
            assert changed["ordered"] is True

    run(story())


def test_pausing_is_shown_and_taken_back(run: Run) -> None:
    """A paused endpoint says so, and why; an endpoint can be born paused."""

    async def story() -> None:
        async with world() as w:
            path, answer = await made(w, paused=True)
            assert (answer["state"], answer["paused"]) == ("paused", True)
            assert answer["stateReason"] == "paused by its owner"
            again = (await w.client.ask("PATCH", path, {"paused": False})).json
            assert (again["state"], again["paused"], again["stateReason"]) == ("active", False, None)

    run(story())


def test_a_certificate_authority_is_taken_and_shown(run: Run) -> None:
    """PEM that is none is refused where it stands; the dangerous switch keeps its name."""

    async def story() -> None:
        async with world() as w:
            pem = authority()
            path, answer = await made(w, tls={"ca": pem})
            assert answer["tls"] == {"ca": pem, "dangerousSkipVerify": False}
            changed = (await w.client.ask("PATCH", path, {"tls": {"dangerousSkipVerify": True}})).json
            assert changed["tls"] == {"dangerousSkipVerify": True}
            bad = await w.client.ask("PATCH", path, {"tls": {"ca": "-----BEGIN CERTIFICATE-----\nx\n"}})
            assert (bad.status, bad.json["errors"][0]["path"]) == (422, "$.tls.ca")

    run(story())


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"headers": {"Host": "x"}}, "$.headers.Host"),
        ({"headers": {"webhook-id": "x"}}, "$.headers.webhook-id"),
        ({"headers": {"User-Agent": "x"}}, "$.headers.User-Agent"),
        ({"headers": {"Content-Length": "0"}}, "$.headers.Content-Length"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "$.headers.Transfer-Encoding"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "$.headers.X-A"),
        ({"headers": {"X-A": "ä"}}, "$.headers.X-A"),
        ({"headers": {"X A": "a"}}, "$.headers"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "$.headers.x-a"),
        ({"headers": {"Authorization": "x"}, "auth": {"bearer": "y"}}, "$.headers.Authorization"),
        ({"auth": {}}, "$.auth"),
        ({"auth": {"bearer": "x", "basic": {"username": "u", "password": "p"}}}, "$.auth"),
        ({"auth": {"bearer": "a\nb"}}, "$.auth.bearer"),
        ({"auth": {"basic": {"username": "a:b", "password": "p"}}}, "$.auth.basic.username"),
        ({"auth": {"basic": {"username": "a", "password": "p\0"}}}, "$.auth.basic.password"),
        ({"maxInFlight": 0}, "$.maxInFlight"),
        ({"ratePerSecond": 0}, "$.ratePerSecond"),
        ({"timeoutSeconds": 16}, "$.timeoutSeconds"),
        ({"retryDelaysSeconds": []}, "$.retryDelaysSeconds"),
        ({"retryDelaysSeconds": [0.01]}, "$.retryDelaysSeconds[0]"),
        ({"retryDelaysSeconds": [1] * 33}, "$.retryDelaysSeconds"),
        ({"tls": {"clientCert": "x"}}, "$.tls.clientCert"),
        ({"kind": "operations", "form": "get"}, "$.form"),
    ],
)
def test_what_may_not_be_is_refused_where_it_stands(run: Run, change: dict[str, object], path: str) -> None:
    """422 naming the place, when made and when patched; nothing is kept."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            endpoints = f"/1/apps/{app}/endpoints"
            answer = await w.client.post(endpoints, {"url": URL, "form": "json", **change})
            assert (answer.status, answer.json["errors"][0]["path"]) == (422, path), answer.body
            assert (await w.client.get(endpoints)).json["items"] == []
            if "kind" not in change:
                _, plain = await made(w)
                own = f"/1/apps/{int(app) + 1}/endpoints/{plain['id']}"
                answer = await w.client.ask("PATCH", own, change)
                assert (answer.status, answer.json["errors"][0]["path"]) == (422, path), answer.body
                del plain["secret"]
                assert (await w.client.get(own)).json == plain

    run(story())


def test_an_endpoint_for_operations_takes_json(run: Run) -> None:
    """Kind ``operations`` is made like any other; statuses mean nothing there and are named as ignored."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            wish = {"url": URL, "form": "json", "kind": "operations", "statuses": ["read"]}
            answer = await w.client.post(f"/1/apps/{app}/endpoints", wish)
            assert (answer.status, answer.json["kind"]) == (201, "operations")
            assert answer.headers["homing-ignored"] == "$.statuses"

    run(story())
