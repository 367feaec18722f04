"""Jobs that tell callbacks again, on a real store, engine and courier."""

from pathlib import Path

import pytest
from tests.callbacks.conftest import AtWork
from tests.callbacks.office import Answer, Office, office
from tests.engine.fakes import until
from tests.store.conftest import Run
from tests.store.fakes import DAY_MS

from homing.callbacks.replay import WINDOW, Replays
from homing.lifecycle.dispatch import Read, Received
from homing.model import DispatchKey, Endpoint, Job, ReplaySpec
from homing.store.changes import CreateJob, DisableEndpoint, EnableEndpoint, UpdateJob

FOREVER_MS = 2**47


async def at_it(place: Office) -> Replays:
    """Put a replay runner beside the courier."""
    replays = Replays(place.store, place.store, place.store, place.courier, place.clock)
    place.store.watch(replays.changed)
    place.engine.on_committed.append(lambda _batch, committed: replays.on_committed(committed))
    await replays.start()
    return replays


async def life(place: Office) -> DispatchKey:
    """Let Ann get a message and read it."""
    key = await place.send()
    await place.happen(key, Received(place.clock.ms))
    await place.happen(key, Read(place.clock.ms))
    return key


async def replay(place: Office, uid: str = "job", rate: float | None = None, **given: object) -> Job:
    """Create a job; ``given`` are fields of `ReplaySpec`."""
    fields: dict[str, object] = {"which": "all", "until_ms": FOREVER_MS, **given}
    job = (await place.store.apply(CreateJob(uid, place.app, ReplaySpec(**fields), rate))).value  # type: ignore[arg-type]
    assert isinstance(job, Job)
    return job


async def ended(place: Office, uid: str = "job") -> Job:
    """Wait until a job has ended and return it."""
    while True:
        job = await place.store.job(uid)
        assert job is not None
        if job.ended_at_ms is not None:
            return job


async def settle_down(place: Office, replays: Replays) -> None:
    """Wait until neither jobs nor courier can do more before time passes."""
    await until(replays.is_quiet)
    await place.quiet()
    await until(replays.is_quiet)


async def push(place: Office, replays: Replays, ms: int) -> None:
    """Let time pass, and what it brings happen."""
    await settle_down(place, replays)
    place.clock.push(ms)
    await settle_down(place, replays)


def told_again(place: Office, since: int) -> list[tuple[str, str]]:
    """Return (webhook-id, status) of what was told from that try on."""
    return [(t.webhook_id, t.body["status"]) for t in place.sender.tries[since:]]


def test_all_is_told_again_in_order_under_the_same_ids(at_work: AtWork) -> None:
    """Whatever was told before; the job counts each answer once."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        for _ in range(5):
            await life(place)
        await place.quiet()
        first = {(t.webhook_id, t.body["status"]) for t in place.sender.tries}
        before = len(place.sender.tries)
        replays = await at_it(place)
        await replay(place, endpoint=endpoint.id)
        job = await ended(place)
        assert (job.state, job.total, job.done, job.failed) == ("done", 15, 15, 0)
        again = told_again(place, before)
        assert set(again) == first
        assert len(again) == 15
        for message in {id_.split("_")[1] for id_, _ in again}:
            statuses = [status for id_, status in again if id_.split("_")[1] == message]
            assert statuses == ["enqueued", "delivered", "read"]
        await replays.close()

    at_work(story)


def test_what_was_given_up_is_told_after_all(at_work: AtWork) -> None:
    """Dead letters become told; they are listed no more."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: Answer(404)
        keys = [await life(place) for _ in range(3)]
        for _ in range(12):
            await place.push(60_000)
        assert len(await place.store.dead(endpoint.id, None, 50)) == 9
        place.sender.answer = lambda _: Answer()
        replays = await at_it(place)
        await replay(place, which="dead", endpoint=endpoint.id)
        job = await ended(place)
        assert (job.total, job.done) == (9, 9)
        assert await place.store.dead(endpoint.id, None, 50) == []
        for key in keys:
            view = await place.told(key, endpoint)
            assert (view.settled, view.dead, view.pending) == (0b111, 0, 0)
        await replays.close()

    at_work(story)


def test_what_was_missed_while_disabled_is_told(at_work: AtWork) -> None:
    """Events that were never owed to the endpoint, since it was disabled."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await place.store.apply(DisableEndpoint(endpoint.id, "by hand"))
        since_ms = place.clock.ms
        keys = [await life(place) for _ in range(4)]
        await place.quiet()
        await place.store.apply(EnableEndpoint(endpoint.app, endpoint.uid))
        replays = await at_it(place)
        await replay(place, endpoint=endpoint.id, since_ms=since_ms)
        assert (await ended(place)).done == 12
        assert {(await place.told(key, endpoint)).settled for key in keys} == {0b111}
        await replays.close()

    at_work(story)


def test_a_replay_that_fails_takes_nothing_back(at_work: AtWork) -> None:
    """It has tries of its own; what was told stays told, and live events do not wait for it."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        key = await life(place)
        await place.quiet()
        place.sender.answer = lambda _: Answer(404)
        replays = await at_it(place)
        await replay(place, endpoint=endpoint.id)
        for _ in range(20):
            await push(place, replays, 60_000)
        job = await ended(place)
        assert (job.done, job.failed) == (0, 3)
        view = await place.told(key, endpoint)
        assert (view.settled, view.dead) == (0b111, 0)
        assert await place.store.dead(endpoint.id, None, 50) == []
        await replays.close()

    at_work(story)


def test_one_message_or_one_event_of_it_is_told_again_to_everybody(at_work: AtWork) -> None:
    """Without an endpoint a replay is a message's own."""

    async def story(place: Office) -> None:
        one, other = await place.add_endpoint(), await place.add_endpoint()
        key = await life(place)
        await life(place)
        await place.quiet()
        replays = await at_it(place)
        before = len(place.sender.tries)
        await replay(place, message=key[:16])
        assert (await ended(place)).done == 6
        assert {t.endpoint for t in place.sender.tries[before:]} == {one.id, other.id}
        await replay(place, "second", message=key[:16], endpoint=other.id, n=2, position=0)
        assert (await ended(place, "second")).done == 1
        assert place.sender.tries[-1].body["status"] == "delivered"
        await replays.close()

    at_work(story)


def test_a_job_has_few_on_their_way_and_heeds_its_rate_and_its_pause(at_work: AtWork) -> None:
    """Twenty a second are twenty in a second; paused it opens nothing, cancelled it is over."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        for _ in range(WINDOW + 50):
            await place.send()
        await place.quiet()
        replays = await at_it(place)
        before = len(place.sender.tries)
        await replay(place, rate=20.0, endpoint=endpoint.id)
        for second in range(1, 5):
            for _ in range(10):
                await push(place, replays, 100)
            assert abs(len(place.sender.tries) - before - 20 * second) <= 8
        await place.store.apply(UpdateJob("job", "paused"))
        await until(replays.is_quiet)
        await place.quiet()
        held = len(place.sender.tries)
        for _ in range(5):
            await place.push(1_000)
        assert len(place.sender.tries) == held
        await place.store.apply(UpdateJob("job", "cancelled"))
        assert (await ended(place)).state == "cancelled"
        place.sender.answer = lambda _: None
        await replay(place, "unpaced", endpoint=endpoint.id)
        await until(lambda: place.sender.open)
        await until(replays.is_quiet)
        job = await place.store.job("unpaced")
        assert job is not None
        assert job.opened <= WINDOW
        while place.sender.open:
            place.sender.let_go()
        await replays.close()

    at_work(story)


def test_two_jobs_over_the_same_events_add_up(at_work: AtWork) -> None:
    """The later one takes over what the earlier one has not told yet; both end."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        for _ in range(4):
            await life(place)
        await place.quiet()
        place.sender.answer = lambda _: Answer(404)
        replays = await at_it(place)
        await replay(place, "one", endpoint=endpoint.id)
        await settle_down(place, replays)
        place.sender.answer = lambda _: Answer()
        await replay(place, "two", endpoint=endpoint.id)
        for _ in range(5):
            await push(place, replays, 60_000)
        one, two = await ended(place, "one"), await ended(place, "two")
        assert (one.state, two.state) == ("done", "done")
        assert one.done + two.done == 12
        assert two.total == two.done
        await replays.close()

    at_work(story)


@pytest.mark.parametrize("cut", [1, 7])
def test_a_restart_goes_on_and_tells_nothing_twice_that_was_settled(
    tmp_path: Path, run: Run, cut: int
) -> None:
    """The process ends after so many answers; the next one finishes, and what was on disk is not told again."""
    path = str(tmp_path / "homing.db")

    async def first() -> tuple[Endpoint, set[str], set[str]]:
        async with office(path) as place:
            endpoint = await place.add_endpoint()
            for _ in range(10):
                await life(place)
            await place.quiet()
            everything = {t.webhook_id for t in place.sender.tries}
            before = len(place.sender.tries)
            place.sender.answer = lambda _: Answer() if len(place.sender.tries) - before <= cut else None
            replays = await at_it(place)
            await replay(place, endpoint=endpoint.id)
            await until(lambda: len(place.sender.tries) - before > cut and replays.is_quiet())
            await until(place.engine.is_quiet)
            await replays.close()
            job = await place.store.job("job")
            assert job is not None
            assert job.done == cut
            return endpoint, everything, {t.webhook_id for t in place.sender.tries[before : before + cut]}

    async def second(everything: set[str], settled: set[str]) -> None:
        async with office(path) as place:
            replays = await at_it(place)
            job = await ended(place)
            assert (job.state, job.done, job.total) == ("done", 30, 30)
            again = [t.webhook_id for t in place.sender.tries]
            assert set(again) == everything - settled
            assert len(again) == len(set(again))
            await replays.close()

    async def both() -> None:
        _endpoint, everything, settled = await first()
        await second(everything, settled)

    run(both())


def test_an_endpoint_that_rests_makes_a_job_wait(at_work: AtWork) -> None:
    """Nothing is opened for it meanwhile; it goes on by itself."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        for _ in range(12):
            await place.send()
        await place.quiet()
        place.sender.answer = lambda _: Answer(503)
        for _ in range(12):
            await place.send()
        await place.quiet()
        replays = await at_it(place)
        await replay(place, endpoint=endpoint.id)
        await until(replays.is_quiet)
        job = await place.store.job("job")
        assert job is not None
        assert job.opened == 0
        place.sender.answer = lambda _: Answer()
        for _ in range(12):
            await push(place, replays, DAY_MS // 200)
        assert (await ended(place)).state == "done"
        await replays.close()

    at_work(story)
