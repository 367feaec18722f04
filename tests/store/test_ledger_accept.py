"""The ledger's promises about messages on their way in, on every store."""

import msgspec
import pytest
from tests.store.conftest import OpenStore, Run, WithStore
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, login, message_id, number, send
from tests.store.ledger import add_endpoint, build_town, incoming, numbers, post, told

from homing.contract.status import Status
from homing.errors import IdempotencyConflict, NotFound
from homing.lifecycle.dispatch import Read
from homing.model import Body, CommandKind, FallbackSettings, dispatch_key
from homing.store.batch import Accept, Accepted, Addressee, Batch, Idempotency, Occurrence
from homing.store.changes import SetPushToken
from homing.store.port import Store

DAY_MS = 24 * 3600 * 1000


def draft(store: Store, app: int, *names: str, **given: object) -> Accept:
    """Return a message to these; ``given`` are fields of `Accept`."""
    fields: dict[str, object] = {
        "ref": None, "body": Body("hello"), "message_id": message_id(store.now_ms()),
        "addressees": tuple(Addressee(name, name.casefold()) for name in names), **given,
    }  # fmt: skip
    return Accept(app=app, **fields)  # type: ignore[arg-type]


def once(key: str, digest: bytes = b"digest", scope: str = "app") -> dict[str, object]:
    """Return the fields of an accept with an idempotency key whose answer is its message's id."""
    return {
        "idempotency": Idempotency(scope, key, digest),
        "render": lambda accepted: b"answer to " + accepted.message_id,
    }


def test_the_known_are_enqueued_and_the_unknown_are_not_found(with_store: WithStore) -> None:
    """Each recipient is answered in the sender's order, by the identifier as registered."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        accept = draft(store, app.id, "nobody", "ANN")
        (accepted,) = (await store.commit(Batch(accepts=[accept]))).accepts
        assert accepted == Accepted(
            accept.message_id, NOON_MS,
            (("nobody", number(Status.IDENTIFIER_NOT_FOUND)), ("Ann", number(Status.ENQUEUED))),
        )  # fmt: skip

    with_store(story)


def test_another_applications_user_is_not_found(with_store: WithStore) -> None:
    """An identifier means a user of the sending application only."""

    async def story(store: Store) -> None:
        bank, shop = await add_app(store), await add_app(store)
        await add_user(store, shop.id, "Ann")
        committed = await store.commit(Batch(accepts=[draft(store, bank.id, "Ann")]))
        (accepted,) = committed.accepts
        assert isinstance(accepted, Accepted)
        assert accepted.recipients == (("Ann", number(Status.IDENTIFIER_NOT_FOUND)),)
        assert committed.messages == []
        assert committed.next_timer_ms is None

    with_store(story)


def test_a_recipients_messages_are_numbered_without_gaps(with_store: WithStore) -> None:
    """Over batches, and over several messages to one person in one batch; each person has numbers of their own."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "Ann")
        bob = await add_user(store, app.id, "Bob")
        await send(store, app.id, "Ann")
        batch = Batch(accepts=[draft(store, app.id, *names) for names in (["Ann"], ["Bob", "Ann"], ["Ann"])])
        committed = await store.commit(batch)
        await send(store, app.id, "Ann", "nobody")
        assert [(m.recipient, m.seq) for m in committed.messages] == [
            (ann.id, 2), (bob.id, 1), (ann.id, 3), (ann.id, 4),
        ]  # fmt: skip
        assert [item.seq for item in await store.inbox(ann.id, 0, 10)] == [1, 2, 3, 4, 5]
        assert await store.inbox_heads([ann.id, bob.id]) == {ann.id: 5, bob.id: 1}

    with_store(story)


def test_a_recipient_named_twice_has_two_dispatches(with_store: WithStore) -> None:
    """The doors refuse it; should one slip through, the store keeps two dispatches with two numbers, not one half."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "Ann")
        sent = await send(store, app.id, "Ann", "ANN")
        assert [(i.seq, i.key) for i in await store.inbox(ann.id, 0, 10)] == [
            (1, dispatch_key(sent, 0)), (2, dispatch_key(sent, 1)),
        ]  # fmt: skip

    with_store(story)


def test_an_unknown_application_is_answered_in_its_place(with_store: WithStore) -> None:
    """The error stands where its accept stood, and the others of the batch are stored."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        lost, kept = draft(store, 999, "Ann"), draft(store, app.id, "Ann")
        refused, accepted = (await store.commit(Batch(accepts=[lost, kept]))).accepts
        assert isinstance(refused, NotFound)
        assert isinstance(accepted, Accepted)
        assert await store.message(lost.message_id) is None
        assert await store.message(kept.message_id) is not None

    with_store(story)


def test_a_message_that_cannot_be_stored_takes_its_batch_along(with_store: WithStore) -> None:
    """A used message id is no `HomingError`: the commit raises, and nothing of the batch is on disk."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "Ann")
        first, innocent = draft(store, app.id, "Ann"), draft(store, app.id, "Ann")
        await store.commit(Batch(accepts=[first]))
        with pytest.raises(Exception, match=r"(?i)unique"):
            await store.commit(Batch(accepts=[innocent, first]))
        assert await store.message(innocent.message_id) is None
        assert await store.inbox_heads([ann.id]) == {ann.id: 1}

    with_store(story)


def test_the_same_request_again_gets_the_first_answer(with_store: WithStore) -> None:
    """Nothing is stored for it, in a later batch as in the very same one."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "Ann")
        first, twin, later = (draft(store, app.id, "Ann", **once("k")) for _ in range(3))
        answers = (await store.commit(Batch(accepts=[first, twin]))).accepts
        answers += (await store.commit(Batch(accepts=[later]))).accepts
        assert all(isinstance(a, Accepted) and a.answer == b"answer to " + first.message_id for a in answers)
        assert [a.replayed for a in answers if isinstance(a, Accepted)] == [False, True, True]
        assert await store.inbox_heads([ann.id]) == {ann.id: 1}

    with_store(story)


def test_another_request_under_the_same_key_is_a_conflict(with_store: WithStore) -> None:
    """Its place holds the conflict, nothing is stored for it; the same key in another scope is another key."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        first = draft(store, app.id, "Ann", **once("k"))
        other = draft(store, app.id, "Ann", **once("k", b"other"))
        stranger = draft(store, app.id, "Ann", **once("k", b"other", "another app"))
        answers = (await store.commit(Batch(accepts=[first, other, stranger]))).accepts
        assert isinstance(answers[1], IdempotencyConflict)
        assert await store.message(other.message_id) is None
        assert isinstance(answers[2], Accepted)
        assert not answers[2].replayed

    with_store(story)


def test_a_key_is_forgotten_after_a_day(with_store: WithStore, clock: StillClock) -> None:
    """One ms before, it still answers; after that, even another request may use it, and is remembered in turn."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        await store.commit(Batch(accepts=[draft(store, app.id, "Ann", **once("k"))]))
        clock.ms = NOON_MS + DAY_MS - 1
        (held,) = (await store.commit(Batch(accepts=[draft(store, app.id, "Ann", **once("k"))]))).accepts
        clock.ms = NOON_MS + DAY_MS
        fresh = draft(store, app.id, "Ann", **once("k", b"other"))
        (anew,) = (await store.commit(Batch(accepts=[fresh]))).accepts
        (again,) = (
            await store.commit(Batch(accepts=[draft(store, app.id, "Ann", **once("k", b"other"))]))
        ).accepts
        assert isinstance(held, Accepted)
        assert held.replayed
        assert isinstance(anew, Accepted)
        assert not anew.replayed
        assert isinstance(again, Accepted)
        assert again.answer == b"answer to " + fresh.message_id

    with_store(story)


def test_a_refused_request_leaves_its_key_free(with_store: WithStore) -> None:
    """Only what was stored is answered again."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        await store.commit(Batch(accepts=[draft(store, 999, "Ann", **once("k"))]))
        (accepted,) = (await store.commit(Batch(accepts=[draft(store, app.id, "Ann", **once("k"))]))).accepts
        assert isinstance(accepted, Accepted)
        assert not accepted.replayed

    with_store(story)


def test_a_message_says_to_devices_what_they_need(with_store: WithStore) -> None:
    """Text is the recipient's own if there is one; expiry is the message's or the application's."""

    async def story(store: Store) -> None:
        app = await add_app(store, ttl_s=60)
        await add_user(store, app.id, "Ann")
        accept = draft(store, app.id, "Ann", addressees=(Addressee("Ann", "ann", text="for ann"),))
        committed = await store.commit(Batch(accepts=[accept, draft(store, app.id, "Ann", ttl_s=5)]))
        first, second = committed.messages
        assert (first.text, first.sent_at_ms, first.expires_at_ms) == ("for ann", NOON_MS, NOON_MS + 60_000)
        assert (second.text, second.expires_at_ms) == ("hello", NOON_MS + 5_000)
        assert committed.next_timer_ms == NOON_MS + 5_000

    with_store(story)


@pytest.mark.parametrize(
    ("identifier", "override", "of_user", "mode", "ref"),
    [
        ("+39 347 1234567", "+39 1", "+39 2", "off", "+39 1"),
        ("+39 347 1234567", None, "+39 2", "off", "+39 2"),
        ("+39 347 1234567", None, None, "off", None),
        ("+39 347 1234567", None, None, "notify", "+39 347 1234567"),
        ("ann@example.com", None, None, "sms", None),
    ],
)
def test_the_fallback_number_is_fixed_at_acceptance(
    with_store: WithStore,
    identifier: str,
    override: str | None,
    of_user: str | None,
    mode: str,
    ref: str | None,
) -> None:
    """The message's own, else the user's, else the identifier where a fallback is on and it is a number (§2)."""

    async def story(store: Store) -> None:
        app = await add_app(store, fallback=FallbackSettings(mode=mode))
        await add_user(store, app.id, identifier, mobile_number=of_user)
        to = Addressee(identifier, identifier.casefold(), mobile_number=override)
        sent = await send(store, app.id, addressees=(to,))
        view = await store.message(sent)
        assert view is not None
        assert view.dispatches[0].facts.fallback_ref == ref

    with_store(story)


def test_a_wake_up_push_is_due_at_once_for_who_has_a_token(with_store: WithStore) -> None:
    """The command is handed over with the commit; who has no push token gets none."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann, _bob = await add_user(store, app.id, "Ann"), await add_user(store, app.id, "Bob")
        await store.apply(login(ann, "phone"))
        await store.apply(SetPushToken("phone", "ios", "token"))
        accept = draft(store, app.id, "Bob", "Ann")
        committed = await store.commit(Batch(accepts=[accept]))
        assert [(c.key, c.kind) for c in committed.commands] == [
            (dispatch_key(accept.message_id, 1), CommandKind.PUSH)
        ]

    with_store(story)


def test_an_incoming_message_opens_a_lane_to_each_inbox(with_store: WithStore) -> None:
    """Status endpoints hear nothing of it, inboxes nothing of statuses."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        inbox = await add_endpoint(store, town.app, kind="inbox")
        message = incoming(store, town, message_id(NOON_MS), channel="c", in_reply_to=message_id(NOON_MS))
        committed = await store.commit(Batch(incomings=[message]))
        assert committed.incomings == [message.message_id]
        assert numbers(committed.lanes) == [(inbox.id, [1], 0, True)]
        facts = committed.lanes[0].facts
        assert msgspec.structs.asdict(facts) == {
            "app": town.app, "identifier": "Ann", "text": "hi", "channel": "c",
            "in_reply_to": message.in_reply_to,
        }  # fmt: skip
        key = await post(store, town.app, "Ann")
        assert set(await told(store, key)) == {town.endpoint.uid}

    with_store(story)


def test_the_same_message_from_a_device_is_stored_once(with_store: WithStore) -> None:
    """A repeated client_ref gets the first id, in the same batch and later; another device's is another message."""

    async def story(store: Store) -> None:
        town = await build_town(store, kind="inbox")
        ids = [message_id(NOON_MS) for _ in range(4)]
        first, twin = (incoming(store, town, i, client_ref="r") for i in ids[:2])
        other = incoming(store, town, ids[2], client_ref="r", device="tablet")
        committed = await store.commit(Batch(incomings=[first, twin, other]))
        assert committed.incomings == [ids[0], ids[0], ids[2]]
        assert len(committed.lanes) == 2
        committed = await store.commit(Batch(incomings=[incoming(store, town, ids[3], client_ref="r")]))
        assert (committed.incomings, committed.lanes) == ([ids[0]], [])

    with_store(story)


def test_what_happened_to_nothing_changes_nothing(with_store: WithStore) -> None:
    """An unknown dispatch is answered so, and the others of the batch are advanced."""

    async def story(store: Store) -> None:
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        lost = dispatch_key(message_id(NOON_MS), 0)
        committed = await store.commit(Batch(occurrences=[Occurrence(lost, Read()), Occurrence(key, Read())]))
        assert [result.note for result in committed.occurrences] == ["unknown_dispatch", None]
        assert committed.occurrences[0].state is None
        assert [r.key for r in committed.recorded] == [key, key]

    with_store(story)


def test_what_a_restart_finds_is_what_was_answered(open_again: OpenStore, run: Run) -> None:
    """Messages, numbers and idempotency keys survive; the epoch grows; feeds' positions go on."""

    async def story() -> None:
        async with open_again() as store:
            app = await add_app(store)
            ann = await add_user(store, app.id, "Ann")
            first = draft(store, app.id, "Ann", **once("k"))
            await store.commit(Batch(accepts=[first]))
            epoch = store.epoch
        async with open_again() as store:
            assert store.epoch > epoch
            committed = await store.commit(Batch(accepts=[draft(store, app.id, "Ann", **once("k"))]))
            (answer,) = committed.accepts
            assert isinstance(answer, Accepted)
            assert answer.answer == b"answer to " + first.message_id
            await send(store, app.id, "Ann")
            assert await store.inbox_heads([ann.id]) == {ann.id: 2}

    run(story())
