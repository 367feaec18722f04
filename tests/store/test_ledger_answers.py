"""The ledger's promises about what it answers: changes for devices, results in order, room, on every store."""

from tests.store.conftest import WithStore
from tests.store.fakes import add_app, add_user, send
from tests.store.ledger import post

from homing.lifecycle.dispatch import Message, Read, Recalled, Received
from homing.model import DispatchKey, dispatch_key
from homing.store.batch import Batch, Occurrence
from homing.store.port import Store


def test_devices_hear_when_a_message_is_read_or_gone(with_store: WithStore) -> None:
    """One change per dispatch and batch, for known recipients, and only when the message's state changed."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "Ann")
        sent = [await post(store, app.id, "Ann") for _ in range(3)]
        happened = [
            Occurrence(sent[0], Received()), Occurrence(sent[0], Read()), Occurrence(sent[1], Recalled()),
            Occurrence(sent[2], Received()),
        ]  # fmt: skip
        committed = await store.commit(Batch(occurrences=happened))
        assert [(c.recipient, c.key, c.what) for c in committed.changes] == [
            (ann.id, sent[0], "read"), (ann.id, sent[1], "gone"),
        ]  # fmt: skip
        committed = await store.commit(Batch(occurrences=[Occurrence(sent[0], Read())]))
        assert committed.changes == []
        assert committed.occurrences[0].note is not None

    with_store(story)


def test_results_stand_where_their_occurrences_stood(with_store: WithStore) -> None:
    """Though the store takes dispatches in key order; several of one dispatch are stepped in order of arrival."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        message = await send(store, app.id, "Ann", "Ann")
        first, second = dispatch_key(message, 0), dispatch_key(message, 1)
        happened = [Occurrence(DispatchKey(key), what) for key, what in (
            (second, Received()), (first, Recalled()), (second, Read()), (first, Received()),
        )]  # fmt: skip
        results = (await store.commit(Batch(occurrences=happened))).occurrences
        assert [Message(r.state.message) for r in results if r.state] == [
            Message.DELIVERED, Message.EXPIRED, Message.READ, Message.EXPIRED,
        ]  # fmt: skip
        assert [r.note is None for r in results] == [True, True, True, False]

    with_store(story)


def test_there_is_room_or_nobody_knows(with_store: WithStore) -> None:
    """Free space is told in bytes for a file, and not at all for a store that has none."""

    async def story(store: Store) -> None:
        free = store.free_bytes()
        assert free is None or free > 0

    with_store(story)
