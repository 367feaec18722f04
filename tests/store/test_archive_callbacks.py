"""The archive's promises about callbacks, on every store: what endpoints were told, and every try."""

from tests.store.conftest import WithStore
from tests.store.fakes import NOON_MS, add_app, add_user, happen, message_id, new_endpoint, send

from homing.contract.status import NUMBER, Status
from homing.lifecycle.dispatch import Received
from homing.model import Endpoint, dispatch_key
from homing.store.batch import Attempt, Batch, Incoming, Settle, Verdict
from homing.store.changes import DeleteEndpoint
from homing.store.port import Store


async def _endpoint(store: Store, app: int, uid: str, **given: object) -> Endpoint:
    endpoint = (await store.apply(new_endpoint(app, uid=uid, **given))).value
    assert isinstance(endpoint, Endpoint)
    return endpoint


def test_callbacks_show_what_was_told_and_what_must_be(with_store: WithStore) -> None:
    """From acceptance on: pending, settled and dead per endpoint, the tries and the next one's time."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "ann")
        a, b = await _endpoint(store, app.id, "a"), await _endpoint(store, app.id, "b")
        sent = await send(store, app.id, "ann", "nobody")
        first, second = dispatch_key(sent, 0), dispatch_key(sent, 1)
        views = await store.callbacks(sent)
        assert [(v.key, v.identifier, v.endpoint_uid) for v in views] == [
            (first, "ann", "a"), (first, "ann", "b"), (second, "nobody", "a"), (second, "nobody", "b"),
        ]  # fmt: skip
        assert {(v.pending, v.settled, v.dead, v.tries, v.due_ms, v.owned) for v in views} == {
            (1, 0, 0, 0, None, True)
        }
        await happen(store, sent, Received())
        attempt = Attempt(NOON_MS, 3, 500)
        await store.commit(
            Batch(
                settles=[
                    Settle(first, a.id, 1, 0, Verdict.DONE, Attempt(NOON_MS, 3, 204), known=2),
                    Settle(first, b.id, 1, 0, Verdict.RETRY, attempt, retry_at_ms=NOON_MS + 5_000),
                    Settle(second, a.id, 1, 0, Verdict.DEAD, attempt, reason="gave_up"),
                    Settle(second, b.id, 1, 0, Verdict.DONE, Attempt(NOON_MS, 3, 200)),
                ]
            )
        )
        views = await store.callbacks(sent)
        assert [(v.pending, v.settled, v.dead, v.tries, v.due_ms, v.owned) for v in views] == [
            (2, 1, 0, 0, None, True),
            (3, 0, 0, 1, NOON_MS + 5_000, False),
            (0, 0, 1, 0, None, False),
            (0, 1, 0, 0, None, False),
        ]
        await store.apply(DeleteEndpoint(app.id, "a"))
        assert {v.endpoint_uid for v in await store.callbacks(sent)} == {"b"}
        assert await store.callbacks(message_id(NOON_MS)) == []

    with_store(story)


def test_callbacks_of_an_incoming_message_are_its_senders(with_store: WithStore) -> None:
    """Its one lane per inbox is shown under the identifier of the user who wrote it."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "ann")
        await _endpoint(store, app.id, "inbox", kind="inbox")
        incoming = Incoming(message_id(NOON_MS), app.id, ann.id, "ann", "phone", "hi")
        await store.commit(Batch(incomings=[incoming]))
        (view,) = await store.callbacks(incoming.message_id)
        assert (view.identifier, view.endpoint_uid, view.pending) == ("ann", "inbox", 1)

    with_store(story)


def test_the_attempt_log_is_newest_first(with_store: WithStore) -> None:
    """Each try of an endpoint with what came back, page by page; other endpoints' are not in it."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "ann")
        endpoint, other = await _endpoint(store, app.id, "a"), await _endpoint(store, app.id, "b")
        sent = await send(store, app.id, "ann")
        key = dispatch_key(sent, 0)
        tries = [
            Attempt(NOON_MS, 3, 500, None, "127.0.0.1", b"oops"),
            Attempt(NOON_MS + 1, 4, 0, "timeout"),
            Attempt(NOON_MS + 2, 5, 204, None, "127.0.0.1"),
        ]
        for n, attempt in enumerate(tries):
            settles = [
                Settle(key, endpoint.id, 1, n, Verdict.RETRY, attempt, retry_at_ms=NOON_MS),
                Settle(key, other.id, 1, n, Verdict.RETRY, attempt, retry_at_ms=NOON_MS),
            ]
            await store.commit(Batch(settles=settles))
        log = await store.attempts(endpoint.id, None, 10)
        assert [view.attempt for view in log] == tries[::-1]
        assert {(view.key, view.n, view.status) for view in log} == {(key, 1, NUMBER[Status.ENQUEUED])}
        assert [view.tries for view in log] == [3, 2, 1]
        assert [view.id for view in log] == sorted((view.id for view in log), reverse=True)
        assert await store.attempts(endpoint.id, None, 2) == log[:2]
        assert await store.attempts(endpoint.id, log[1].id, 2) == log[2:]
        assert await store.attempts(99, None, 2) == []

    with_store(story)
