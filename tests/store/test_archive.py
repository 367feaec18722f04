"""The archive's promises, on every store: messages and their stories, callbacks, inboxes, couriers' questions."""

import pytest
from tests.store.conftest import WithStore
from tests.store.fakes import (
    NOON_MS,
    StillClock,
    add_app,
    add_user,
    happen,
    login,
    message_id,
    new_endpoint,
    send,
)

from homing.contract.status import NUMBER, Status
from homing.lifecycle.dispatch import Fallback, FallbackMode, Message, Read, Recalled, Received
from homing.model import Body, Endpoint, FallbackSettings, dispatch_key
from homing.store.batch import (
    Addressee,
    Attempt,
    Batch,
    Facts,
    Incoming,
    Note,
    Occurrence,
    Settle,
    Verdict,
)
from homing.store.changes import DeleteApp, DeleteEndpoint, DeleteUser, SetPushToken
from homing.store.port import Store
from homing.store.views import EventView, HistoryView, MessageQuery

DAY_MS = 24 * 3600 * 1000


def test_a_message_is_told_with_all_its_dispatches(with_store: WithStore, clock: StillClock) -> None:
    """In the sender's order, with facts, states, events and histories; what was not given is None."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "Ann", mobile_number="+39 1")
        addressees = (
            Addressee("nobody", "nobody"),
            Addressee("ANN", "ann", recipient_ref="r1", text="for ann", mobile_number="+39 2"),
        )
        body = Body("hello", optional_data={"a": [1]}, channel="c")
        sent = await send(store, app.id, addressees=addressees, ref="m1", body=body)
        clock.ms += 5
        key = await happen(store, sent, Read(), position=1)
        await store.commit(Batch(notes=[Note(key, "push_not_configured", '{"platform":"ios"}')]))
        view = await store.message(sent)
        assert view is not None
        assert (view.id, view.app, view.ref, view.body) == (sent, app.id, "m1", body)
        assert (view.created_at_ms, view.expires_at_ms) == (NOON_MS, NOON_MS + 2 * DAY_MS)
        unknown, known = view.dispatches
        assert (unknown.key, unknown.recipient, unknown.text) == (dispatch_key(sent, 0), None, None)
        assert unknown.facts == Facts(app.id, "nobody", "m1", None, None)
        assert unknown.state.message == Message.UNKNOWN
        assert unknown.events == (EventView(1, NUMBER[Status.IDENTIFIER_NOT_FOUND], NOON_MS),)
        assert (known.key, known.recipient, known.text) == (key, ann.id, "for ann")
        assert known.facts == Facts(app.id, "Ann", "m1", "r1", "+39 2")
        assert (known.state.message, known.state.events) == (Message.READ, 3)
        assert known.events == (
            EventView(1, NUMBER[Status.ENQUEUED], NOON_MS),
            EventView(2, NUMBER[Status.DELIVERED], NOON_MS + 5),
            EventView(3, NUMBER[Status.READ], NOON_MS + 5),
        )
        line = HistoryView(NOON_MS + 5, "push_not_configured", '{"platform":"ios"}')
        assert line in known.history
        assert unknown.history == ()
        assert await store.history(key) == list(known.history)
        assert await store.message(message_id(NOON_MS)) is None

    with_store(story)


def test_the_state_comes_back_field_by_field(with_store: WithStore, clock: StillClock) -> None:
    """What the machine decides by is what was stored: the same as the commit answered."""

    async def story(store: Store) -> None:
        fallback = FallbackSettings(mode="notify", on_undelivered_seconds=60, on_unread_seconds=90)
        app = await add_app(store, fallback=fallback, ttl_s=600)
        await add_user(store, app.id, "ann")
        sent = await send(store, app.id, "ann")
        clock.ms += 7
        happening = Occurrence(dispatch_key(sent, 0), Received())
        (result,) = (await store.commit(Batch(occurrences=[happening]))).occurrences
        view = await store.message(sent)
        assert view is not None
        state = view.dispatches[0].state
        assert state == result.state
        assert (state.mode, state.unread_ms, state.delivered_at) == (FallbackMode.NOTIFY, 90_000, NOON_MS + 7)
        assert (state.fallback, state.undelivered_at) == (Fallback.ARMED, NOON_MS + 60_000)

    with_store(story)


async def _found(store: Store, **given: object) -> list[bytes]:
    return [view.id for view in await store.messages(MessageQuery(**given))]  # type: ignore[arg-type]


def test_messages_are_listed_newest_first_and_page_by_page(with_store: WithStore) -> None:
    """A page begins before the id named; messages come with their dispatches, without histories."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        sent = [await send(store, app.id, "nobody", at_ms=NOON_MS + n) for n in range(5)]
        sent.reverse()
        assert await _found(store) == sent
        assert await _found(store, limit=2) == sent[:2]
        assert await _found(store, limit=2, before=sent[1]) == sent[2:4]
        assert await _found(store, before=sent[4]) == []
        await store.commit(Batch(notes=[Note(dispatch_key(sent[0], 0), "code")]))
        (view,) = await store.messages(MessageQuery(limit=1))
        assert view.dispatches[0].events[0].status == NUMBER[Status.IDENTIFIER_NOT_FOUND]
        assert view.dispatches[0].history == ()

    with_store(story)


def test_messages_are_filtered_by_application(with_store: WithStore) -> None:
    """None means every application, an empty set means none."""

    async def story(store: Store) -> None:
        one, two, three = [await add_app(store) for _ in range(3)]
        a, b, c = [
            await send(store, app.id, "ann", ref="r", at_ms=NOON_MS + app.id) for app in (one, two, three)
        ]
        assert await _found(store) == [c, b, a]
        assert await _found(store, apps=(two.id,)) == [b]
        assert await _found(store, apps=(one.id, three.id)) == [c, a]
        assert await _found(store, apps=()) == []
        assert await _found(store, apps=(99,)) == []
        assert await _found(store, apps=(one.id, two.id), ref="r") == [b, a]
        assert await _found(store, apps=(three.id,), recipient_folded="ann") == [c]

    with_store(story)


def test_messages_are_filtered_by_recipient(with_store: WithStore) -> None:
    """A user by the folded identifier, somebody unknown by the identifier as sent, in any case."""

    async def story(store: Store) -> None:
        app, other = await add_app(store), await add_app(store)
        for place in (app, other):
            await add_user(store, place.id, "Ánn")
        both = await send(store, app.id, "Ánn", "bob", at_ms=NOON_MS)
        alone = await send(store, app.id, "Ánn", at_ms=NOON_MS + 1)
        elsewhere = await send(store, other.id, "Ánn", at_ms=NOON_MS + 2)
        bob = await send(store, app.id, "BOB", at_ms=NOON_MS + 3)
        assert await _found(store, recipient_folded="ánn") == [elsewhere, alone, both]
        assert await _found(store, recipient_folded="ánn", apps=(app.id,)) == [alone, both]
        assert await _found(store, recipient_folded="ánn", limit=1) == [elsewhere]
        assert await _found(store, recipient_folded="ánn", before=elsewhere) == [alone, both]
        assert await _found(store, recipient_folded="bob") == [bob, both]
        assert await _found(store, recipient_folded="dave") == []

    with_store(story)


def test_messages_are_filtered_by_ref(with_store: WithStore) -> None:
    """A ref need not be unique; every other filter goes with it."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "ann")
        first = await send(store, app.id, "ann", ref="r", at_ms=NOON_MS)
        await send(store, app.id, "ann", ref="other", at_ms=NOON_MS + 1)
        second = await send(store, app.id, "nobody", ref="r", at_ms=NOON_MS + 2)
        assert await _found(store, ref="r") == [second, first]
        assert await _found(store, ref="r", recipient_folded="ann") == [first]
        assert await _found(store, ref="r", recipient_folded="nobody") == [second]
        assert await _found(store, ref="r", status=NUMBER[Status.ENQUEUED]) == [first]
        assert await _found(store, ref="r", since_ms=NOON_MS + 1) == [second]
        assert await _found(store, ref="r", before=second) == [first]
        assert await _found(store, ref="r", limit=1) == [second]
        assert await _found(store, ref="none") == []

    with_store(story)


def test_messages_are_filtered_by_their_latest_status(with_store: WithStore) -> None:
    """Any dispatch's latest event counts; with a recipient named, only that recipient's."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "ann")
        await add_user(store, app.id, "bob")
        fresh = await send(store, app.id, "ann", "bob", at_ms=NOON_MS)
        read = await send(store, app.id, "ann", "bob", at_ms=NOON_MS + 1)
        await happen(store, read, Read(), position=1)
        enqueued, was_read = NUMBER[Status.ENQUEUED], NUMBER[Status.READ]
        assert await _found(store, status=enqueued) == [read, fresh]
        assert await _found(store, status=was_read) == [read]
        assert await _found(store, status=NUMBER[Status.DELIVERED]) == []
        assert await _found(store, status=was_read, recipient_folded="bob") == [read]
        assert await _found(store, status=was_read, recipient_folded="ann") == []
        assert await _found(store, status=enqueued, recipient_folded="ann") == [read, fresh]

    with_store(story)


def test_messages_are_filtered_by_time(with_store: WithStore) -> None:
    """From ``since`` on, up to but without ``until``, whatever the numbers."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        early, late = [await send(store, app.id, "ann", at_ms=NOON_MS + n) for n in (0, 10)]
        assert await _found(store, since_ms=NOON_MS + 10) == [late]
        assert await _found(store, until_ms=NOON_MS + 10) == [early]
        assert await _found(store, since_ms=NOON_MS + 1, until_ms=NOON_MS + 10) == []
        assert await _found(store, since_ms=NOON_MS + 10, until_ms=NOON_MS) == []
        assert await _found(store, since_ms=-5, until_ms=10**30) == [late, early]
        assert await _found(store, since_ms=10**30) == []

    with_store(story)


def test_a_walk_goes_on_until_the_page_is_full_or_nothing_is_left(
    with_store: WithStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter without an index finds the same however small the slices are, across applications too."""
    monkeypatch.setattr("homing.store.sqlite.archive_messages._SLICE", 3)

    async def story(store: Store) -> None:
        apps = [await add_app(store), await add_app(store)]
        for app in apps:
            await add_user(store, app.id, "ann")
        sent = [
            await send(store, apps[n % 2].id, "ann" if n % 5 == 0 else "nobody", at_ms=NOON_MS + n)
            for n in range(20)
        ]
        enqueued = NUMBER[Status.ENQUEUED]
        assert await _found(store, status=enqueued) == [sent[15], sent[10], sent[5], sent[0]]
        assert await _found(store, status=enqueued, limit=2) == [sent[15], sent[10]]
        assert await _found(store, status=enqueued, before=sent[10]) == [sent[5], sent[0]]
        assert await _found(store, status=enqueued, apps=(apps[0].id,)) == [sent[10], sent[0]]
        assert await _found(store, recipient_folded="NOBODY", limit=3) == [sent[19], sent[18], sent[17]]
        assert await _found(store) == sent[::-1]

    with_store(story)


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


def test_an_inbox_is_in_order_and_whole(with_store: WithStore) -> None:
    """Numbers count from 1 per recipient; the recipient's own text goes before the message's."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann, bob = await add_user(store, app.id, "ann"), await add_user(store, app.id, "bob")
        first = await send(store, app.id, "bob", "ann", at_ms=NOON_MS + 9)
        own = (Addressee("ann", "ann", text="for ann"),)
        # Its id is older, it was accepted later: the number is the order of acceptance.
        second = await send(store, app.id, at_ms=NOON_MS, addressees=own, body=Body("hello", channel="c"))
        await happen(store, first, Read(), position=1)
        items = await store.inbox(ann.id, 0, 10)
        assert [(item.seq, item.key, item.text) for item in items] == [
            (1, dispatch_key(first, 1), "hello"), (2, dispatch_key(second, 0), "for ann"),
        ]  # fmt: skip
        assert [item.message for item in items] == [Message.READ, Message.ENQUEUED]
        assert items[1].body == Body("hello", channel="c")
        assert (items[1].sent_at_ms, items[1].expires_at_ms) == (NOON_MS, NOON_MS + 2 * DAY_MS)
        assert await store.inbox(ann.id, 1, 10) == items[1:]
        assert await store.inbox(ann.id, 0, 1) == items[:1]
        assert len(await store.inbox(bob.id, 0, 10)) == 1
        assert await store.inbox_heads([ann.id, bob.id, 99]) == {ann.id: 2, bob.id: 1}
        assert await store.inbox_heads([]) == {}

    with_store(story)


def test_a_new_device_starts_at_what_is_open(with_store: WithStore, clock: StillClock) -> None:
    """Before the first message neither read nor past its time; at the end where nothing is; 0 for nobody."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "ann")
        assert await store.inbox_start(ann.id) == 0
        assert await store.inbox_start(99) == 0
        short = await send(store, app.id, "ann", ttl_s=60)
        read, delivered, recalled = [await send(store, app.id, "ann") for _ in range(3)]
        assert await store.inbox_start(ann.id) == 0
        clock.ms += 60_000
        assert await store.inbox_start(ann.id) == 1
        assert short
        await happen(store, read, Read())
        assert await store.inbox_start(ann.id) == 2
        await happen(store, delivered, Received())
        assert await store.inbox_start(ann.id) == 2
        await happen(store, delivered, Read())
        assert await store.inbox_start(ann.id) == 3
        await happen(store, recalled, Recalled())
        assert await store.inbox_start(ann.id) == 4

    with_store(story)


def test_receipts_find_only_their_own_dispatches(with_store: WithStore) -> None:
    """A message that went to somebody else, or to nobody, is not found."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann, bob = await add_user(store, app.id, "ann"), await add_user(store, app.id, "bob")
        both = await send(store, app.id, "bob", "ann")
        only_bob = await send(store, app.id, "bob")
        asked = [both, only_bob, message_id(NOON_MS)]
        assert await store.find_dispatches(ann.id, asked) == {both: dispatch_key(both, 1)}
        assert await store.find_dispatches(bob.id, asked) == {
            both: dispatch_key(both, 0), only_bob: dispatch_key(only_bob, 0),
        }  # fmt: skip
        assert await store.find_dispatches(ann.id, []) == {}

    with_store(story)


def test_a_push_job_has_the_devices_that_can_be_woken(with_store: WithStore) -> None:
    """Those with a push token only; unknown keys, unknown recipients and deleted applications are left out."""

    async def story(store: Store) -> None:
        app = await add_app(store, mode="test")
        ann, bob = await add_user(store, app.id, "ann"), await add_user(store, app.id, "bob")
        for user, device in ((ann, "phone"), (ann, "laptop"), (bob, "watch")):
            await store.apply(login(user, device))
        await store.apply(SetPushToken("phone", "ios", "t1", "sandbox"))
        addressees = (
            Addressee("ann", "ann", text="for ann"), Addressee("bob", "bob"), Addressee("x", "x"),
        )  # fmt: skip
        sent = await send(store, app.id, addressees=addressees, body=Body("hello"))
        await happen(store, sent, Received(), position=1)
        keys = [dispatch_key(sent, n) for n in range(4)]
        jobs = {job.key: job for job in await store.push_jobs(keys)}
        assert set(jobs) == set(keys[:2])
        job = jobs[keys[0]]
        assert (job.app, job.app_mode, job.recipient, job.message, job.text, job.body, job.expires_at_ms) == (
            app.id, "test", ann.id, Message.ENQUEUED, "for ann", Body("hello"), NOON_MS + 2 * DAY_MS,
        )  # fmt: skip
        assert [(device.id, device.identifier, device.push_token) for device in job.devices] == [
            ("phone", "ann", "t1")
        ]
        assert (jobs[keys[1]].message, jobs[keys[1]].text, jobs[keys[1]].devices) == (
            Message.DELIVERED, "hello", (),
        )  # fmt: skip
        await store.apply(DeleteUser(app.id, "ann"))
        assert (await store.push_jobs(keys[:1]))[0].devices == ()
        await store.apply(DeleteApp(app.id))
        assert await store.push_jobs(keys) == []
        assert await store.push_jobs([]) == []

    with_store(story)


def test_an_sms_job_says_the_most_particular_text(with_store: WithStore) -> None:
    """The message's own SMS text, else the application's, else the recipient's, else the message's."""

    async def story(store: Store) -> None:
        plain = await add_app(store)
        worded = await add_app(
            store, fallback=FallbackSettings(mode="sms", text="app's", sender="Bank", default_region="IT")
        )
        own = (Addressee("x", "x", text="own", mobile_number="+39 333"), Addressee("y", "y"))
        a = await send(store, plain.id, addressees=own)
        b = await send(store, worded.id, addressees=own)
        c = await send(store, worded.id, addressees=own, body=Body("hello", sms_text="sms", sms_sender="Me"))
        keys = [dispatch_key(sent, n) for sent in (a, b, c) for n in (0, 1)]
        jobs = {job.key: job for job in await store.sms_jobs([*keys, dispatch_key(a, 9)])}
        assert [jobs[key].text for key in keys] == ["own", "hello", "app's", "app's", "sms", "sms"]
        assert [jobs[key].sender for key in keys[::2]] == [None, "Bank", "Me"]
        assert [jobs[key].default_region for key in keys[::2]] == [None, "IT", "IT"]
        job = jobs[keys[0]]
        assert (job.app, job.app_mode, job.number) == (plain.id, "live", "+39 333")
        assert job.state.message == Message.UNKNOWN
        view = await store.message(c)
        assert view is not None
        assert jobs[keys[4]].state == view.dispatches[0].state

    with_store(story)


def test_receipts_of_carriers_find_their_dispatch(with_store: WithStore) -> None:
    """By carrier and id there; another carrier's same id is another SMS."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "ann")
        sent = await send(store, app.id, "ann")
        key = dispatch_key(sent, 0)
        happening = Occurrence(key, Received(), sms=(("c1", "id-1"), ("c1", "7")))
        await store.commit(Batch(occurrences=[happening]))
        assert await store.find_sms("c1", ["id-1", "7", "unknown"]) == {"id-1": key, "7": key}
        assert await store.find_sms("c2", ["id-1"]) == {}
        assert await store.find_sms("c1", []) == {}

    with_store(story)
