"""Who may ask: tokens in header and parameter, scopes, expiry, revocation, and OAuth2 client credentials."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.api.world import ADMIN, JSON, Client, app_with_users, message_to, world

from homing.api.auth import id_in, mint

Run = Callable[[Coroutine[Any, Any, Any]], Any]

BAD_AUTHORIZATIONS = [
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    f"Bearer {ADMIN}x",
    f"Basic {ADMIN}",
    ADMIN,
    "Bearer hom_t_" + "A" * 48,
    "Bearer hom_t_" + "!" * 48,
    "Bearer \xff\xfe",
]


def test_without_a_good_token_the_answer_is_401_with_a_challenge(run: Run) -> None:
    """No header, a malformed one, an unknown token: all the same 401 `unauthorized`, with `WWW-Authenticate`."""

    async def story() -> None:
        async with world() as w:
            answers = [await w.client.as_(None).get("/1/apps")]
            answers += [
                await w.client.get("/1/apps", headers={"authorization": shown})
                for shown in BAD_AUTHORIZATIONS
            ]
            answers.append(await w.client.as_(None).get("/1/apps?access_token=wrong"))
            for answer in answers:
                assert (answer.status, answer.code) == (401, "unauthorized")
                assert answer.headers["www-authenticate"].startswith("Bearer")

    run(story())


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_is_taken_from_the_header_whatever_its_case(run: Run, scheme: str) -> None:
    """The scheme's name has no case (RFC 9110 §11.1)."""

    async def story() -> None:
        async with world() as w:
            answer = await w.client.get("/1/apps", headers={"authorization": f"{scheme} {ADMIN}"})
            assert answer.status == 200

    run(story())


def test_a_token_may_come_as_the_parameter_access_token(run: Run) -> None:
    """The parameter works for reading and for sending, beside other parameters; a header goes before it."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            nobody = w.client.as_(None)
            assert (await nobody.get(f"/1/apps?limit=5&access_token={ADMIN}")).status == 200
            sent = await nobody.post(f"/1/messages?access_token={ADMIN}", message_to(app, "ann"))
            assert sent.status == 201
            wrong = {"authorization": "Bearer wrong"}
            assert (await nobody.get(f"/1/apps?access_token={ADMIN}", headers=wrong)).status == 401

    run(story())


def test_a_tokens_text_is_told_once_and_only_its_digest_is_kept(run: Run) -> None:
    """The text is in the answer to its making and nowhere else."""

    async def story() -> None:
        async with world() as w:
            made = await w.client.made("/1/tokens", {"name": "t", "scopes": ["read"], "apps": "all"})
            assert id_in(made["token"]) == made["id"]
            assert (await w.client.as_(made["token"]).get("/1/apps")).status == 200
            listed = await w.client.get("/1/tokens")
            assert made["token"].encode() not in listed.body
            kept = await w.store.token(made["id"])
            assert kept is not None
            assert made["token"] not in repr(kept)

    run(story())


SCOPED = [
    ("GET", "/1/apps", {"read", "manage"}),
    ("POST", "/1/apps", {"manage"}),
    ("PATCH", "/1/apps/1", {"manage"}),
    ("DELETE", "/1/apps/1", {"manage"}),
    ("GET", "/1/apps/1/users", {"read", "manage"}),
    ("POST", "/1/apps/1/users", {"manage"}),
    ("GET", "/1/apps/1/endpoints", {"read", "manage"}),
    ("POST", "/1/apps/1/endpoints", {"manage"}),
    ("GET", "/1/tokens", {"manage"}),
    ("POST", "/1/tokens", {"manage"}),
    ("POST", "/1/messages", {"send"}),
    ("GET", "/1/messages", {"read"}),
    ("POST", "/1/messages/01890000-0000-7000-8000-000000000000/expire", {"send"}),
    ("GET", "/1/events", {"read"}),
    ("GET", "/1/listeners", {"read"}),
    ("POST", "/1/listeners", {"read"}),
    ("POST", "/1/listeners/x/progress", {"read"}),
    ("DELETE", "/1/listeners/x", {"manage"}),
]


@pytest.mark.parametrize("scope", ["send", "read", "manage"])
def test_too_little_scope_is_a_403_before_anything_is_looked_at(run: Run, scope: str) -> None:
    """Each operation takes only tokens with one of its scopes, whatever the request says."""

    async def story() -> None:
        async with world() as w:
            made = await w.client.made("/1/tokens", {"name": "t", "scopes": [scope], "apps": "all"})
            client = w.client.as_(made["token"])
            for method, path, scopes in SCOPED:
                answer = await client.ask(method, path, headers=JSON)
                if scope in scopes:
                    assert answer.status != 403, (method, path)
                else:
                    assert (answer.status, answer.code) == (403, "forbidden"), (method, path)

    run(story())


def test_a_token_cannot_give_more_than_it_has(run: Run) -> None:
    """Neither scopes, nor applications, nor all of them; and it neither sees nor revokes what reaches further."""

    async def story() -> None:
        async with world() as w:
            for name in "ab":
                await app_with_users(w.client, name=name)
            other = await w.client.made("/1/tokens", {"name": "o", "scopes": ["read"], "apps": [2]})
            wide = await w.client.made("/1/tokens", {"name": "w", "scopes": ["read"], "apps": "all"})
            made = await w.client.made("/1/tokens", {"name": "m", "scopes": ["manage", "read"], "apps": [1]})
            client = w.client.as_(made["token"])
            for scopes, apps, status in (
                (["read"], [1], 201),
                (["send"], [1], 403),
                (["read"], "all", 403),
                (["read"], [2], 404),
                (["read"], [1, 99], 404),
            ):
                answer = await client.post("/1/tokens", {"name": "x", "scopes": scopes, "apps": apps})
                assert answer.status == status, (scopes, apps)
            assert (await client.post("/1/apps", {"name": "mine"})).status == 403
            seen = {item["name"] for item in (await client.get("/1/tokens")).json["items"]}
            assert seen == {"m", "x"}
            for token in (other, wide):
                assert (await client.ask("DELETE", f"/1/tokens/{token['id']}")).status == 404
            assert (await client.ask("DELETE", f"/1/tokens/{made['id']}")).status == 204

    run(story())


def test_a_revoked_token_is_refused_at_once(run: Run) -> None:
    """What is remembered about tokens is forgotten when one is revoked here."""

    async def story() -> None:
        async with world() as w:
            made = await w.client.made("/1/tokens", {"name": "t", "scopes": ["read"], "apps": "all"})
            client = w.client.as_(made["token"])
            assert (await client.get("/1/apps")).status == 200
            assert (await w.client.ask("DELETE", f"/1/tokens/{made['id']}")).status == 204
            assert (await client.get("/1/apps")).status == 401
            assert (await w.client.ask("DELETE", f"/1/tokens/{made['id']}")).status == 404

    run(story())


def test_an_expired_token_is_refused(run: Run) -> None:
    """`expiresInSeconds` counts on the node's clock, also for a token that is remembered."""

    async def story() -> None:
        async with world() as w:
            wanted = {"name": "t", "scopes": ["read"], "apps": "all", "expiresInSeconds": 60}
            made = await w.client.made("/1/tokens", wanted)
            assert made["expiresAt"] > made["createdAt"]
            client = w.client.as_(made["token"])
            assert (await client.get("/1/apps")).status == 200
            w.clock.ahead_ms += 60_000
            assert (await client.get("/1/apps")).status == 401

    run(story())


async def client_of(client: Client, **more: object) -> dict[str, str]:
    wanted = {"name": "c", "kind": "client", "scopes": ["read", "send"], "apps": "all", **more}
    made = await client.made("/1/tokens", wanted)
    assert "token" not in made
    return {
        "client_id": made["clientId"],
        "client_secret": made["clientSecret"],
        "grant_type": "client_credentials",
    }


@pytest.mark.parametrize("way", ["query", "form", "json"])
def test_client_credentials_get_a_token_from_query_form_or_json(run: Run, way: str) -> None:
    """The OAuth2 grant gives a short-lived token of the client's scopes, however the credentials come."""

    async def story() -> None:
        async with world() as w:
            given = await client_of(w.client)
            pairs = "&".join(f"{name}={value}" for name, value in given.items())
            nobody = w.client.as_(None)
            if way == "query":
                answer = await nobody.post(f"/1/auth/oauth?{pairs}")
            elif way == "form":
                form = {"content-type": "application/x-www-form-urlencoded"}
                answer = await nobody.post("/1/auth/oauth", body=pairs.encode(), headers=form)
            else:
                answer = await nobody.post("/1/auth/oauth", given)
            granted = answer.json
            assert (answer.status, granted["token_type"], granted["expires_in"]) == (200, "Bearer", 3600)
            assert set(granted["scope"].split()) == {"read", "send"}
            assert answer.headers["cache-control"] == "no-store"
            client = w.client.as_(granted["access_token"])
            assert (await client.get("/1/messages")).status == 200
            assert (await client.post("/1/apps", {"name": "x"})).status == 403
            w.clock.ahead_ms += 3_600_000
            assert (await client.get("/1/messages")).status == 401

    run(story())


def test_a_clients_tokens_die_with_it(run: Run) -> None:
    """Revoking a client revokes what it was granted; granted tokens are nowhere listed."""

    async def story() -> None:
        async with world() as w:
            given = await client_of(w.client)
            granted = (await w.client.as_(None).post("/1/auth/oauth", given)).json
            client = w.client.as_(granted["access_token"])
            assert (await client.get("/1/messages")).status == 200
            listed = (await w.client.get("/1/tokens")).json["items"]
            assert [(item["kind"], item["clientId"]) for item in listed] == [("client", given["client_id"])]
            assert (await w.client.ask("DELETE", f"/1/tokens/{given['client_id']}")).status == 204
            assert (await client.get("/1/messages")).status == 401
            assert (await w.client.as_(None).post("/1/auth/oauth", given)).status == 401

    run(story())


def test_a_clients_secret_is_no_token(run: Run) -> None:
    """A client's secret only gets tokens; shown as one it is refused."""

    async def story() -> None:
        async with world() as w:
            given = await client_of(w.client)
            assert (await w.client.as_(given["client_secret"]).get("/1/messages")).status == 401

    run(story())


@pytest.mark.parametrize(
    "change, status, error",
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "01890000-0000-7000-8000-000000000000"}, 401, "invalid_client"),
        ({"client_id": "\ud7ff"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 422, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"client_id": 5}, 400, "invalid_request"),
    ],
)
def test_bad_credentials_are_refused_in_both_languages(
    run: Run, change: dict[str, object], status: int, error: str
) -> None:
    """The answer is a problem like any other, and says `error` in the words of RFC 6749 too."""

    async def story() -> None:
        async with world() as w:
            given = {**await client_of(w.client), **change}
            answer = await w.client.as_(None).post("/1/auth/oauth", given)
            assert answer.code
            assert (answer.status, answer.json["error"]) == (status, error)

    run(story())


def test_an_expired_client_gets_nothing_and_gives_no_more_than_its_own_time(run: Run) -> None:
    """A granted token does not outlive its client."""

    async def story() -> None:
        async with world() as w:
            given = await client_of(w.client, expiresInSeconds=100)
            granted = (await w.client.as_(None).post("/1/auth/oauth", given)).json
            assert 0 < granted["expires_in"] <= 100
            w.clock.ahead_ms += 100_000
            assert (await w.client.as_(None).post("/1/auth/oauth", given)).status == 401

    run(story())


def test_minted_tokens_are_long_different_and_name_their_id() -> None:
    """A token's text holds its id and 160 random bits."""
    first, second = mint("token"), mint("token")
    assert first.text != second.text
    assert first.text[:6] == "hom_t_"
    assert len(first.text) == 54
    assert id_in(first.text) == first.id
    assert id_in("hom_t_" + "A" * 47) is None
    assert id_in("xyz_t_" + "A" * 48) is None
