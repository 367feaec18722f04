"""The process from outside: how it stops, what a restart keeps, and how it refuses to start."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.served import Served
from tests.acceptance.town import Town, arrival, hear, say, told, town, until, until_told
from tests.waiting import again
from websockets import ConnectionClosed

Run = Callable[[Coroutine[Any, Any, None]], None]
LIFE = ["enqueued", "delivered", "read"]


@pytest.fixture
def own(tmp_path: Path, run: Run) -> Any:
    """A node of the test's own, running."""
    served = Served(tmp_path / "data")
    served.start()
    try:
        run(_ready(served))
        yield served
        assert served.faults() == []
    finally:
        served.close()


async def _ready(served: Served) -> None:
    await served.ready()


def refused(served: Served) -> tuple[int, str]:
    """Start what must not start; return its exit code and the last line it printed."""
    served.start()
    code = served.end()
    assert served.faults() == []
    return code, served.log.strip().splitlines()[-1]


def test_sigterm_drains(own: Served, run: Run) -> None:
    """SIGTERM ends readiness and acceptance at once, lets a try under way end, says bye to devices, and exits with 0."""

    async def story() -> None:
        async with town(own) as place:
            await place.user("ann")
            receiver = await place.receiver("json", "slow:700ms")
            is_asked = arrival(receiver)
            async with place.phone(await place.log_in("ann")) as phone:
                message_id = await place.send("ann")
                assert (await hear(phone))["messageId"] == message_id
                await is_asked.wait()
                stopping = asyncio.create_task(asyncio.to_thread(own.stop))
                ready = await again(
                    lambda: place.http.get("/readyz"),
                    lambda it: it.status_code != 200,
                    "readiness is only asked for",
                )
                assert ready.status_code == 503
                late = await place.http.post("/1/messages", json=place.message("ann"))
                assert (late.status_code, late.json()["code"]) == (503, "unavailable")
                assert int(late.headers["retry-after"]) > 0
                code = await stopping
                bye = await hear(phone)
                assert (bye["type"], bye["code"]) == ("bye", 4503)
                assert 0 <= bye["retryAfter"] <= 60
                with pytest.raises(ConnectionClosed) as closed:
                    await phone.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4503
            assert code == 0
            assert [one.answered for one in receiver.caught] == [204]
            own.start()
            await own.ready()
            second = await place.send("ann")
            await until_told(receiver, second, "enqueued")
            assert [told(one) for one in receiver.caught] == [
                (message_id, "ann", "enqueued"),
                (second, "ann", "enqueued"),
            ]

    run(story())


def test_a_restart_keeps_everything(own: Served, run: Run) -> None:
    """After a stop and a start there is all that was accepted, and what could not be told before is told then."""

    async def story() -> None:
        async with town(own) as place:
            await place.user("ann", attributes={"tier": 1})
            receiver = await place.receiver("json", "cuts")
            key = {"idempotency-key": "before the restart"}
            body = place.message("ann", messageRef="r")
            first = await place.http.post("/1/messages", json=body, headers=key)
            message_id = first.json()["messageId"]
            token = await place.log_in("ann")
            async with place.phone(token) as phone:
                assert (await hear(phone))["messageId"] == message_id
                await say(phone, {"type": "ack", "messageIds": [message_id]})
                before = await until_delivered(place, message_id)
            await until(receiver, lambda caught: len(caught) >= 2)
            things = ["", "/users/ann", "/endpoints"]
            shown = [(await place.http.get(place.path + thing)).json() for thing in things]

            assert await asyncio.to_thread(own.stop) == 0
            await receiver.becomes("ok")
            own.start()
            await own.ready()

            assert [(await place.http.get(place.path + thing)).json() for thing in things] == shown
            assert (await place.http.get(f"/1/messages/{message_id}")).json() == before
            again = await place.http.post("/1/messages", json=body, headers=key)
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["idempotency-replayed"] == "true"
            async with place.phone(token) as phone:
                await say(phone, {"type": "read", "messageIds": [message_id]})
                caught = await until_told(receiver, message_id, *LIFE)
            statuses = [told(one)[2] for one in caught]
            assert list(dict.fromkeys(statuses)) == LIFE
            assert statuses == sorted(statuses, key=LIFE.index)
            for status in LIFE:
                assert len({(one.webhook_id, one.body) for one in caught if told(one)[2] == status}) == 1

    run(story())


async def until_delivered(place: Town, message_id: str) -> Any:
    """The message as the API shows it, as soon as it is delivered."""

    async def shown() -> Any:
        return (await place.http.get(f"/1/messages/{message_id}")).json()

    return await again(
        shown,
        lambda it: it["recipients"][0]["message"] == "delivered",
        "a receipt is written after it was sent",
    )


def test_address_in_use(tmp_path: Path) -> None:
    """When the address is taken the process ends with 2 and one line, and leaves no new store behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = Served(tmp_path / "data", port=port)
        code, line = refused(served)
    assert code == 2
    assert f"127.0.0.1:{port}" in line
    assert len(served.log.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_data_directory_in_use(own: Served) -> None:
    """A second process on the same data directory ends with 6 and one line, and the first goes on."""
    code, line = refused(Served(own.data))
    assert code == 6
    assert str(own.data) in line


def test_another_master_key(own: Served) -> None:
    """A store that was sealed under another master key ends the start with 2, and the line names the setting."""
    assert own.stop() == 0
    key = own.data / "master.key"
    kept = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    key.write_bytes(base64.b64encode(os.urandom(32)))
    code, line = refused(own)
    assert code == 2
    assert "master_key_file" in line
    key.write_bytes(kept)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("HOMING_CALLBACKS__RETRY_DELAY_SECONDS", "[5]", "retry_delays_seconds"),
        ("HOMING_CALLBACKS__TIMEOUT_SECONDS", "16", "timeout_seconds"),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", "[]", "retry_delays_seconds"),
        ("HOMING_ADMIN_TOKEN", "too short", "HOMING_ADMIN_TOKEN"),
    ],
)
def test_wrong_setting(tmp_path: Path, name: str, value: str, word: str) -> None:
    """A setting that is unknown or not allowed ends the start with 2 and a line that names what is meant."""
    code, line = refused(Served(tmp_path / "data", changes={name: value}))
    assert code == 2
    assert word in line


def test_an_admin_token_is_made(tmp_path: Path, run: Run) -> None:
    """Without HOMING_ADMIN_TOKEN the first start writes one into the data directory, for its owner only."""

    async def story() -> None:
        served = Served(tmp_path / "data")
        del served._environment["HOMING_ADMIN_TOKEN"]
        served.start()
        try:
            await served.ready()
            file = served.data / "admin-token"
            assert file.stat().st_mode & 0o777 == 0o600
            async with served.client(file.read_text().strip()) as http:
                assert (await http.get("/1/apps")).status_code == 200
            assert json.dumps(file.read_text().strip()) not in served.log
        finally:
            served.close()

    run(story())
