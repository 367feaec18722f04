"""Logs: one line per fact, nobody by name, no secrets. Metrics: what Prometheus reads, from plain numbers."""

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from homing.config import Secret
from homing.contract.status import NUMBER, Status
from homing.model import DispatchKey, dispatch_key
from homing.store.batch import Attempt, Committed, Recorded, Settle, Verdict
from homing.telemetry import LogEvent, configure, logger, recipient_h
from homing.telemetry.metrics import GAUGES, LABEL_CAP, Counters, Distribution

NOON_MS = 1_700_000_000_000


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """Leave the process logging as it was: warnings, as text."""
    yield
    configure("text", "warning")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines that were written, each one JSON object."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_in_a_fixed_order() -> None:
    """Time, level, event, then the fields; whatever they hold, a line stays one line."""
    stream = io.StringIO()
    configure("json", "info", node="n1", stream=stream)
    logger().info(LogEvent.MESSAGE_ACCEPTED, app=1, note="two\nlines", raw=b"\x01\xff", many=(1, "é", None))
    (text,) = stream.getvalue().splitlines()
    line = json.loads(text)
    assert list(line)[:3] == ["ts", "level", "event"]
    assert (line["level"], line["event"], line["node"], line["app"]) == ("info", "message.accepted", "n1", 1)
    assert (line["note"], line["raw"], line["many"]) == ("two\nlines", "01ff", [1, "é", None])
    assert line["ts"].endswith("Z")
    assert abs(time.time() - time.mktime(time.strptime(line["ts"][:19], "%Y-%m-%dT%H:%M:%S"))) < 90_000


def test_text_is_for_people() -> None:
    """Event first, then the fields; what would not be one word is quoted."""
    stream = io.StringIO()
    configure("text", "info", stream=stream)
    logger().warning(LogEvent.STORE_FULL, free_bytes=5, why="no room", what="")
    assert 'warning  store.full free_bytes=5 why="no room" what=""\n' in stream.getvalue()


def test_a_level_hides_what_is_below_it() -> None:
    """Single callbacks are debug and cost next to nothing at info."""
    stream = io.StringIO()
    configure("json", "warning", stream=stream)
    logger().debug(LogEvent.CALLBACK_SETTLED)
    logger().info(LogEvent.NODE_STARTED)
    logger().error(LogEvent.STORE_FAILED)
    assert [line["event"] for line in lines(stream)] == ["store.failed"]


def test_urls_lose_query_and_user_and_secrets_are_hidden() -> None:
    """By type, wherever they stand: in a text, in an exception, deep in a field."""
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    url = "https://user:hunter2@example.com:8443/path?key=hunter2#hunter2"
    try:
        raise ValueError(f"cannot reach {url}")
    except ValueError as error:
        logger().error(
            LogEvent.NODE_FAILED, url=url, said=f"twice {url} {url}!", error=error, deep={"a": [url]},
            secret_thing=Secret("hunter2"), password="hunter2", text="hunter2", token=None, exc_info=True,
        )  # fmt: skip
    (line,) = lines(stream)
    assert "hunter2" not in stream.getvalue()
    assert line["url"] == "https://example.com:8443/path"
    assert line["said"].startswith("twice https://example.com:8443/path https://example.com:8443/path")
    assert line["deep"] == {"a": ["https://example.com:8443/path"]}
    assert line["token"] is None
    assert "Traceback" in line["exception"]


@pytest.mark.parametrize(
    "login",
    [
        "user", "user:secret", ":secret", "user@corp:secret", "user:", "user:12345",
        *(f"user:se{c}cret" for c in "@/?#'\":[]&=%\\é"), "user:@@secret@", "user:123456/secret", "user:/secret", "user:80@/secret",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["db.example", "db.example:5432/homing", "[::1]:8080/a", "h1:1,h2:2/x"])
def test_nothing_of_a_login_is_logged_however_it_is_spelled(login: str, place: str) -> None:
    """Left as it is, a password may hold what ends a login, a host, a path or the whole URL."""
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    logger().error(LogEvent.NODE_FAILED, url=f"cannot reach https://{login}@{place}: refused")
    assert lines(stream)[0]["url"] == f"cannot reach https://{place}: refused"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/users/ann@example.com", "https://example.com:8443/@ann", "http://[::1]:80/a@b",
        "'https://example.com:443' for ann@example.com", '{"url":"https://example.com","to":"ann@example.com"}',
        "https://example.com: refused, says ann@example.com",
    ],
)  # fmt: skip
def test_an_at_sign_elsewhere_hides_nothing(text: str) -> None:
    """In a path, or in the words behind a URL, it is no login's."""
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    logger().error(LogEvent.NODE_FAILED, said=text)
    assert lines(stream)[0]["said"] == text


def test_a_text_with_half_a_character_is_logged() -> None:
    """A log line never raises."""
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    logger().info(LogEvent.REQUEST_REFUSED, path="/\ud83d")
    assert lines(stream)[0]["path"] == "/\\ud83d"


def test_a_stream_that_is_gone_stops_no_work() -> None:
    """The line is lost, the one who wrote it goes on."""
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    stream.close()
    logger().info(LogEvent.NODE_STOPPED)


def test_before_it_is_configured_only_warnings_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr: stdout is data."""
    configure("text", "warning")
    logger().info(LogEvent.NODE_STARTED)
    logger().warning(LogEvent.STORE_FULL)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1


def test_people_are_keyed_hashes() -> None:
    """The same person has the same hash under one key only, and another in another application."""
    configure(hash_key=b"k" * 32)
    ann = recipient_h(1, "ann")
    assert len(ann) == 16
    assert recipient_h(1, "ann") == ann
    assert recipient_h(2, "ann") != ann
    configure(hash_key=b"other")
    assert recipient_h(1, "ann") != ann


def test_event_names_are_stable_words() -> None:
    """Subject, full stop, what became of it."""
    for event in LogEvent:
        subject, _, fact = event.partition(".")
        assert subject.isidentifier(), event
        assert fact.isidentifier(), event


def samples(counters: Counters) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what Prometheus would read: (name, sorted labels) → value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(counters.render().decode())
        for sample in family.samples
    }


def key(position: int = 0) -> DispatchKey:
    """Return the key of a recipient of a message accepted at noon."""
    return dispatch_key(NOON_MS.to_bytes(6, "big") + bytes(10), position)


def recorded(status: Status, n: int, after_ms: int = 0, position: int = 0, app: int = 1) -> Recorded:
    """Return one event of that message."""
    return Recorded(key(position), app, "ann", n, NUMBER[status], NOON_MS + after_ms)


def test_a_commit_is_counted_by_application_and_status() -> None:
    """A message counts once however many recipients it has; its ages are told from acceptance."""
    counters = Counters()
    counters.committed(
        Committed(
            NOON_MS,
            recorded=[
                recorded(Status.ENQUEUED, 1),
                recorded(Status.ENQUEUED, 1, position=1),
                recorded(Status.IDENTIFIER_NOT_FOUND, 1, app=2),
            ],
        )
    )
    counters.committed(
        Committed(
            NOON_MS,
            recorded=[recorded(Status.DELIVERED, 2, 700), recorded(Status.READ, 3, 3_000, position=1)],
        )
    )
    told = samples(counters)
    assert told["homing_messages_accepted_total", (("app", "1"),)] == 1
    assert told["homing_messages_accepted_total", (("app", "2"),)] == 1
    assert told["homing_events_total", (("app", "1"), ("status", "enqueued"))] == 2
    assert told["homing_events_total", (("app", "1"), ("status", "read"))] == 1
    assert told["homing_time_to_delivered_seconds_sum", (("app", "1"),)] == 0.7
    assert told["homing_time_to_delivered_seconds_bucket", (("app", "1"), ("le", "0.5"))] == 0
    assert told["homing_time_to_delivered_seconds_bucket", (("app", "1"), ("le", "1"))] == 1
    assert told["homing_time_to_read_seconds_count", (("app", "1"),)] == 1


def test_tries_are_counted_by_endpoint_and_outcome() -> None:
    """With the endpoint's name; how long they took, how late the first came, and what was given up."""
    counters = Counters(name_endpoint=lambda endpoint: f"e{endpoint}")
    counters.attempt(7, "2xx", 0.02)
    counters.attempt(7, "2xx", 0.2)
    counters.attempt(7, "timeout", 15)
    attempt = Attempt(NOON_MS + 4, 20, 204)
    settles = [
        Settle(key(), 7, 1, 0, Verdict.DONE, attempt),
        Settle(key(), 7, 2, 0, Verdict.DONE, attempt),
        Settle(key(1), 7, 1, 3, Verdict.DEAD, attempt),
        Settle(key(1), 7, 2, 0, Verdict.DEAD, None),
    ]
    counters.committed(Committed(NOON_MS, settled=settles))
    told = samples(counters)
    assert told["homing_callback_attempts_total", (("endpoint", "e7"), ("outcome", "2xx"))] == 2
    assert told["homing_callback_attempts_total", (("endpoint", "e7"), ("outcome", "timeout"))] == 1
    assert told["homing_callback_seconds_count", (("phase", "total"),)] == 3
    assert told["homing_callback_seconds_bucket", (("le", "0.025"), ("phase", "total"))] == 1
    assert told["homing_callback_first_delay_seconds_count", ()] == 1
    assert told["homing_callback_first_delay_seconds_sum", ()] == 0.004
    assert told["homing_callbacks_dead", (("endpoint", "e7"),)] == 2


def test_channels_and_commits_are_counted() -> None:
    """By service or carrier and what it answered; commits by time and size."""
    counters = Counters()
    counters.push("apns", "sent")
    counters.sms("kannel", "accepted")
    counters.sms("kannel", "accepted")
    counters.commit(0.003, 12)
    told = samples(counters)
    assert told["homing_push_total", (("outcome", "sent"), ("service", "apns"))] == 1
    assert told["homing_sms_total", (("carrier", "kannel"), ("outcome", "accepted"))] == 2
    assert told["homing_store_commit_seconds_bucket", (("le", "0.005"),)] == 1
    assert told["homing_store_batch_items_bucket", (("le", "10"),)] == 0
    assert told["homing_store_batch_items_bucket", (("le", "20"),)] == 1


def test_labels_are_capped_and_nothing_is_lost() -> None:
    """The first 200 keep a line of their own for good, the rest share one; no counter ever goes down."""
    counters = Counters()
    for endpoint in range(LABEL_CAP + 50):
        counters.attempt(endpoint, "2xx", 0.1)
    before = samples(counters)
    assert before["homing_callback_attempts_total", (("endpoint", "199"), ("outcome", "2xx"))] == 1
    assert before["homing_callback_attempts_total", (("endpoint", "other"), ("outcome", "2xx"))] == 50
    assert ("homing_callback_attempts_total", (("endpoint", "200"), ("outcome", "2xx"))) not in before
    for app in range(LABEL_CAP + 3):
        counters.committed(Committed(NOON_MS, recorded=[recorded(Status.DELIVERED, 2, app=app)]))
        counters.attempt(LABEL_CAP + app, "2xx", 0.1)
    after = samples(counters)
    assert after["homing_time_to_delivered_seconds_count", (("app", "other"),)] == 3
    assert all(after[name] >= value for name, value in before.items() if "attempts" in name[0])


def test_gauges_are_asked_for_when_they_are_read() -> None:
    """Somebody else knows them; one that is not listed cannot be plugged in."""
    counters = Counters()
    online = {1}
    counters.probe("devices_connected", lambda: {(): len(online)})
    counters.probe("oldest_due_seconds", lambda: {("callback",): 1.5, ("sms",): 0})
    assert samples(counters)["homing_devices_connected", ()] == 1
    online.add(2)
    told = samples(counters)
    assert told["homing_devices_connected", ()] == 2
    assert told["homing_oldest_due_seconds", (("kind", "callback"),)] == 1.5
    assert any(name == "homing_build_info" for name, _ in told)
    with pytest.raises(KeyError):
        counters.probe("unheard_of", dict)
    assert set(GAUGES) >= {"devices_connected", "oldest_due_seconds"}


def test_a_distribution_puts_a_value_on_a_bound_below_it() -> None:
    """Prometheus' ``le`` is less or equal; beyond the last bound is +Inf."""
    distribution = Distribution((1, 2))
    for value in (1, 1.5, 2, 99):
        distribution.add(value)
    assert distribution.buckets() == [("1", 1), ("2", 3), ("+Inf", 4)]
    assert distribution.total == 103.5
