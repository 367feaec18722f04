"""A sample that is sent to an endpoint, and each way it can end, told step by step."""

import asyncio
from collections.abc import Sequence

import pytest

from homing.callbacks.guard import parse_url
from homing.callbacks.job import Done, EndpointView, Job, Phases, Reached
from homing.callbacks.tester import AT_ONCE, RECIPIENT, Tester
from homing.callbacks.trial import Trial
from homing.callbacks.verdict import Outcome
from homing.contract.forms import Form
from homing.contract.signature import Signer, secret_from_bytes
from homing.contract.status import Status
from homing.model import Endpoint

NOW_MS = 1_780_000_000_000


class Wire:
    """Stands for directory and sender: each job comes back as ``ending`` says, when the loop turns."""

    def __init__(self, url: str, form: Form = Form.JSON) -> None:
        self.url = url
        self.form = form
        self.jobs: list[Job] = []
        self.forgotten: list[int] = []
        self.most = 0
        self.status, self.error = 200, None
        self.phases = Phases(4, 9, 0, 20, 21)
        self.address: str | None = "203.0.113.7"
        self.location: str | None = None
        self.reached = Reached.ANSWER
        self.answer = b""
        self.tester = Tester(self, self, lambda: NOW_MS, self.certificate)

    def look(self, endpoint: Endpoint) -> EndpointView:
        signer = Signer(secret_from_bytes(bytes(32)))
        return EndpointView(id=endpoint.id, url=parse_url(self.url), form=self.form, signers=(signer,))

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs
        self.most = max(self.most, len(self.jobs) - len(self.forgotten))
        for job in jobs:
            asyncio.get_running_loop().call_soon(self.ends, job)

    def ends(self, job: Job) -> None:
        done = Done(
            job, self.status, self.error, "inside: 10.1.2.3", None, self.answer, self.address, self.phases,
            self.location, self.reached,
        )  # fmt: skip
        assert self.tester.is_waiting
        assert self.tester.take([done]) == []
        assert self.tester.take([done]) == [done]

    def forget(self, endpoint_id: int) -> None:
        self.forgotten.append(endpoint_id)

    async def certificate(self, _view: EndpointView, address: str) -> str | None:
        assert address == self.address
        return "TLS 1.3, certificate valid 61 days"


def endpoint(kind: str = "status") -> Endpoint:
    return Endpoint(7, "u", 3, kind, "", "json", None, "s", None, "active", None, b"", 0, None)


def trial(wire: Wire, kind: str = "status", status: Status = Status.ENQUEUED) -> Trial:
    return asyncio.run(wire.tester.test(endpoint(kind), status))


def steps(it: Trial) -> list[tuple[str, bool]]:
    return [(step.name, step.ok) for step in it.steps]


def test_a_good_exchange_tells_name_address_connection_certificate_and_answer() -> None:
    """Each with its own share of the time."""
    wire = Wire("https://api.example/cb")
    wire.phases = Phases(4, 9, 47, 60, 61)
    it = trial(wire)
    assert (it.ok, it.verdict, it.status) == (True, "a callback would be settled", 200)
    assert steps(it) == [(name, True) for name in ("name", "address", "connect", "tls", "answer")]
    assert [step.took_ms for step in it.steps] == [4, None, 5, 38, 14]
    assert it.steps[0].detail == "api.example → 203.0.113.7"
    assert it.steps[3].detail == "TLS 1.3, certificate valid 61 days"
    assert wire.forgotten == [-7]


# On a fast network phases take 0 ms: how far it came does not stand in them.
ENDINGS = {
    "dns": (Outcome.DNS, Phases(0, 0, 0, 0, 5_000), None, Reached.NOTHING, "name"),
    "no address in time": (Outcome.TIMEOUT, Phases(0, 0, 0, 0, 5_000), None, Reached.NOTHING, "name"),
    "refused": (Outcome.REFUSED_BY_GUARD, Phases(3, 0, 0, 0, 3), None, Reached.ADDRESS, "address"),
    "connect": (Outcome.CONNECT, Phases(3, 0, 0, 0, 4), "203.0.113.7", Reached.ADDRESS, "connect"),
    "connect in time": (
        Outcome.TIMEOUT,
        Phases(0, 0, 0, 0, 5_000),
        "203.0.113.7",
        Reached.ADDRESS,
        "connect",
    ),
    "tls": (Outcome.TLS, Phases(3, 5, 0, 0, 9), "203.0.113.7", Reached.CONNECTION, "tls"),
    "tls in time": (Outcome.TIMEOUT, Phases(0, 0, 0, 0, 5_000), "203.0.113.7", Reached.CONNECTION, "tls"),
    "cut at once": (Outcome.CONNECT, Phases(0, 0, 0, 0, 0), "203.0.113.7", Reached.READY, "answer"),
    "answer in time": (Outcome.TIMEOUT, Phases(3, 5, 7, 0, 15_000), "203.0.113.7", Reached.READY, "answer"),
    "malformed": (Outcome.MALFORMED, Phases(3, 5, 7, 9, 9), "203.0.113.7", Reached.ANSWER, "answer"),
    "ours": (Outcome.OURS, Phases(0, 0, 0, 0, 0), None, Reached.NOTHING, "sent"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_step_that_failed_is_the_last_one_told(name: str) -> None:
    """With what it means; what lies inside a network is never told."""
    wire = Wire("https://api.example/cb")
    error, wire.phases, wire.address, wire.reached, last = ENDINGS[name]
    wire.status, wire.error = 0, error  # type: ignore[assignment] # it begins as None
    it = trial(wire)
    assert (it.ok, it.error) == (False, str(error))
    assert steps(it)[-1] == (last, False)
    assert all(ok for _, ok in steps(it)[:-1])
    assert it.verdict
    assert "10.1.2.3" not in repr(it)


def test_a_redirect_names_where_the_endpoint_is_meant_to_be() -> None:
    """A slash more or less, or https; the callback's own query does not come along."""
    for url, location, better in (
        ("http://a.example/cb", "/cb/", "http://a.example/cb/"),
        ("http://a.example/cb/?k=1", "/cb?k=1&type=MessageStatus", "http://a.example/cb?k=1"),
        ("http://a.example/cb", "https://a.example/cb", "https://a.example/cb"),
        ("http://a.example/cb", "/login", None),
        ("http://a.example/cb", "//b.example/cb/", None),
        ("http://a.example/cb", None, None),
    ):
        wire = Wire(url)
        wire.status, wire.location = 307, location
        it = trial(wire)
        assert (it.ok, it.better_url) == (False, better), location
        assert ("slash" in it.verdict) is (better is not None and better.startswith("http:"))


def test_each_kind_of_endpoint_gets_a_sample_of_its_kind() -> None:
    """Marked as a test, for a recipient that is none, with an id of its own; never the same one twice."""
    wire = Wire("http://203.0.113.7/cb")
    trial(wire, status=Status.READ)
    trial(wire, "inbox")
    trial(wire, "operations")
    bodies = [job.body or b"" for job in wire.jobs]
    assert b'"status":"read"' in bodies[0]
    assert b'"type":"IncomingMessage"' in bodies[1]
    assert b'"type":"endpoint.resting"' in bodies[2]
    assert all(RECIPIENT.encode() in body for body in bodies[:2])
    assert all("homing-test: true" in job.headers for job in wire.jobs)
    assert len({job.headers[0] for job in wire.jobs}) == 3


def test_no_more_than_a_few_are_under_way_at_a_time() -> None:
    """The others wait for their turn and all come back."""
    wire = Wire("http://203.0.113.7/cb")

    async def many() -> list[Trial]:
        return await asyncio.gather(*(wire.tester.test(endpoint()) for _ in range(40)))

    assert len(asyncio.run(many())) == 40
    assert wire.most == AT_ONCE


def test_an_answer_that_is_a_page_is_said_to_be_one() -> None:
    """Settled, but probably not the handler that was meant."""
    wire = Wire("http://203.0.113.7/cb")
    wire.answer = b"<!doctype html><title>Log in</title>"
    it = trial(wire)
    assert it.ok
    assert "page" in it.verdict
