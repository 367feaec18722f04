"""The archive's promises about messages, on every store: their stories, and how they are found."""

import pytest
from tests.store.conftest import WithStore
from tests.store.fakes import DAY_MS, NOON_MS, StillClock, add_app, add_user, happen, message_id, send

from homing.contract.status import NUMBER, Status
from homing.lifecycle.dispatch import Fallback, FallbackMode, Message, Read, Received
from homing.model import Body, FallbackSettings, MessageId, dispatch_key
from homing.store.batch import Addressee, Batch, Facts, Note, Occurrence
from homing.store.port import Store
from homing.store.views import EventView, HistoryView, MessageQuery


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


def test_messages_are_found_by_ref_however_long_ago(with_store: WithStore) -> None:
    """The newest first, over hours and years, within the time that is asked for, and page by page."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ages = (0, 1, 3_600_000, 5 * 3_600_000, 30 * DAY_MS, 31 * DAY_MS, 900 * DAY_MS)
        sent: list[MessageId] = []
        for age_ms in reversed(ages):
            await send(store, app.id, "ann", ref="other", at_ms=NOON_MS - age_ms)
            sent.insert(0, await send(store, app.id, "ann", ref="r", at_ms=NOON_MS - age_ms))
        assert await _found(store, ref="r") == sent
        assert await _found(store, ref="r", limit=4) == sent[:4]
        assert await _found(store, ref="r", before=sent[3]) == sent[4:]
        assert await _found(store, ref="r", since_ms=NOON_MS - 30 * DAY_MS) == sent[:5]
        assert await _found(store, ref="r", until_ms=NOON_MS - 30 * DAY_MS) == sent[5:]
        assert await _found(store, ref="r", since_ms=NOON_MS + 1) == []

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
    monkeypatch.setattr("homing.store.archive.messages._SLICE", 3)

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
