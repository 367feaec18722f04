"""Another application's things answer exactly as things that do not exist: every route, byte for byte."""

from collections.abc import Callable, Coroutine
from typing import Any

from tests.api.world import JSON, Answer, Client, World, app_with_users, message_to, world

from homing.api.schema import Nothing

Run = Callable[[Coroutine[Any, Any, Any]], Any]

NO_UUID = "01890000-0000-7000-8000-000000000000"
BODIES: dict[str, object] = {
    "AppPatch": {"name": "changed"},
    "UserCreate": {"identifier": "new", "password": "pw"},
    "UserPatch": {"mobileNumber": "39333"},
    "EndpointCreate": {"url": "http://127.0.0.1:9999/", "form": "json"},
    "EndpointPatch": {"description": "changed"},
    "Rotate": {},
    "Enable": {"replayMissed": True},
    "Test": {"status": "read"},
    "Replay": {"which": "all"},
    "MessageReplay": {},
    "JobPatch": {"ratePerSecond": 5},
    "ListenerProgress": {"lease": "lease", "cursor": "00"},
}


class Things:
    """One application with one of everything, by the names that paths use."""

    def __init__(self, app: int, endpoint: str, message: str, token: str, text: str, job: str) -> None:
        self.params = {
            "appId": str(app),
            "identifier": "ann",
            "endpointId": endpoint,
            "messageId": message,
            "tokenId": token,
            "platform": "ios",
            "jobId": job,
            "listener": f"of-{app}",
        }
        self.text = text

    def path(self, template: str, **changes: str) -> str:
        return template.format(**{**self.params, **changes})


async def things(client: Client, name: str) -> Things:
    app = await app_with_users(client, "ann", name=name)
    endpoint = await client.made(
        f"/1/apps/{app}/endpoints", {"url": "http://127.0.0.1:9999/", "form": "json"}
    )
    message = await client.made("/1/messages", message_to(app, "ann"))
    wanted = {"name": name, "scopes": ["send", "read", "manage"], "apps": [app]}
    token = await client.made("/1/tokens", wanted)
    replay = f"/1/apps/{app}/endpoints/{endpoint['id']}/replay"
    job = (await client.post(replay, {"which": "all"})).json["jobId"]
    opening = {"name": f"of-{app}", "holder": name, "lease": "lease"}
    assert (await client.as_(token["token"]).post("/1/listeners", opening)).status == 200
    return Things(app, endpoint["id"], message["messageId"], token["id"], token["token"], job)


def routes(w: World) -> list[tuple[str, str, object]]:
    """Every route that names something, with a body that it takes."""
    found = []
    for operation in w.api.operations:
        if "{" in operation.path and not operation.is_not_yet:
            body = None if operation.body is Nothing else BODIES[operation.body.__name__]
            found.append((operation.method, operation.path, body))
    return found


def same(one: Answer, other: Answer) -> bool:
    return (one.status, one.headers, one.body) == (other.status, other.headers, other.body)


def test_foreign_things_answer_as_unknown_ones(run: Run) -> None:
    """For every route and every part of its path: foreign is 404 and identical to unknown, own is a success."""

    async def story() -> None:
        async with world() as w:
            mine, theirs = await things(w.client, "mine"), await things(w.client, "theirs")
            client = w.client.as_(mine.text)
            checked = 0
            # Deletions come last, so that all the others find something.
            for method, path, body in sorted(
                routes(w), key=lambda route: (route[0] == "DELETE", -len(route[1]))
            ):
                foreign = await client.ask(method, theirs.path(path), body)
                nothing = {
                    "appId": "99",
                    "endpointId": NO_UUID,
                    "messageId": NO_UUID,
                    "tokenId": NO_UUID,
                    "jobId": NO_UUID,
                    "listener": "nobody",
                }
                unknown = await client.ask(method, theirs.path(path, **nothing), body)
                assert (foreign.status, foreign.code) == (404, "not_found"), (method, path)
                assert same(foreign, unknown), (method, path)
                if "{appId}/" in path and path.count("{") == 2 and "identifier" not in path:
                    # Their endpoint, looked for in my application.
                    crossed = await client.ask(method, theirs.path(path, appId=mine.params["appId"]), body)
                    inner = await client.ask(method, mine.path(path, endpointId=NO_UUID), body)
                    assert crossed.status == 404, (method, path)
                    assert same(crossed, inner), (method, path)
                own = await client.ask(method, mine.path(path), body)
                assert own.status < 300, (method, path, own.body)
                checked += 1
                if path == "/1/tokens/{tokenId}":
                    client = w.client.as_((await things(w.client, "again")).text)
                    wanted = {
                        "name": "m",
                        "scopes": ["send", "read", "manage"],
                        "apps": [int(mine.params["appId"])],
                    }
                    client = w.client.as_((await w.client.made("/1/tokens", wanted))["token"])
            assert checked >= 30

    run(story())


def test_malformed_ids_answer_404_as_unknown_ones(run: Run) -> None:
    """An id that cannot be one is no other answer than an id that is not there."""

    async def story() -> None:
        async with world() as w:
            mine = await things(w.client, "mine")
            bad = ("0", "-1", "x", "1.0", "9" * 40, "%00", "1%2F2", "%D9%A1")
            unknown = await w.client.get("/1/apps/99")
            for app in bad:
                assert same(await w.client.get(f"/1/apps/{app}"), unknown), app
            for template in ("/1/messages/{}", "/1/apps/1/endpoints/{}", "/1/messages/{}/explain"):
                unknown = await w.client.get(template.format(NO_UUID))
                assert unknown.status == 404
                for one in ("x", "1", NO_UUID[:-1], NO_UUID.replace("-", ""), "%ff"):
                    answer = await w.client.get(template.format(one))
                    assert (answer.status, answer.code) == (404, "not_found"), one
            upper = mine.params["messageId"].upper()
            assert (await w.client.get(f"/1/messages/{upper}")).status == 200

    run(story())


def test_sending_for_a_foreign_application_answers_as_for_an_unknown_one(run: Run) -> None:
    """POST /1/messages: foreign, unknown and impossible application ids are one answer, whatever else is wrong."""

    async def story() -> None:
        async with world() as w:
            mine, theirs = await things(w.client, "mine"), await things(w.client, "theirs")
            client = w.client.as_(mine.text)
            answers = [
                await client.post("/1/messages", message_to(app, "ann"))
                for app in (
                    int(theirs.params["appId"]),
                    theirs.params["appId"],
                    99,
                    "99",
                    0,
                    -1,
                    "x",
                    "",
                    10**30,
                )
            ]
            assert all(same(answer, answers[0]) for answer in answers)
            assert (answers[0].status, answers[0].code) == (404, "not_found")
            admin = await w.client.post("/1/messages", message_to(99, "ann"))
            assert same(admin, answers[0])
            again = await w.client.post("/1/messages", message_to(int(mine.params["appId"]), "ann"))
            assert again.status == 201

    run(story())


def test_lists_hold_only_what_is_within_reach(run: Run) -> None:
    """Applications, messages and tokens of others do not appear, and cannot be filtered for."""

    async def story() -> None:
        async with world() as w:
            mine, theirs = await things(w.client, "mine"), await things(w.client, "theirs")
            client = w.client.as_(mine.text)
            apps = (await client.get("/1/apps")).json["items"]
            assert [app["name"] for app in apps] == ["mine"]
            messages = (await client.get("/1/messages")).json["items"]
            assert [message["messageId"] for message in messages] == [mine.params["messageId"]]
            foreign = await client.get(f"/1/messages?mobileAppId={theirs.params['appId']}")
            unknown = await client.get("/1/messages?mobileAppId=99")
            assert (foreign.status, foreign.body) == (404, unknown.body)
            assert len((await w.client.get("/1/messages")).json["items"]) == 2
            jobs = (await client.get("/1/jobs")).json["items"]
            assert [job["id"] for job in jobs] == [mine.params["jobId"]]
            foreign = await client.get(f"/1/jobs?mobileAppId={theirs.params['appId']}")
            assert same(foreign, await client.get("/1/jobs?mobileAppId=99"))
            assert foreign.status == 404

    run(story())


def test_a_token_reaches_no_application_that_gets_its_id_later(run: Run) -> None:
    """Deleting an application and making another gives the other a new id."""

    async def story() -> None:
        async with world() as w:
            mine = await things(w.client, "mine")
            assert (await w.client.ask("DELETE", mine.path("/1/apps/{appId}"), headers=JSON)).status == 204
            again = await app_with_users(w.client, name="again")
            assert str(again) != mine.params["appId"]
            assert (await w.client.as_(mine.text).get(f"/1/apps/{again}")).status == 404

    run(story())
