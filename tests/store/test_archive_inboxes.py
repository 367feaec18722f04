"""The archive's promises about inboxes, on every store: their order, where devices start, their receipts."""

from tests.store.conftest import WithStore
from tests.store.fakes import DAY_MS, NOON_MS, StillClock, add_app, add_user, happen, message_id, send

from homing.lifecycle.dispatch import Message, Read, Recalled, Received
from homing.model import Body, dispatch_key
from homing.store.batch import Addressee
from homing.store.port import Store


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


def test_which_messages_are_over_is_told(with_store: WithStore) -> None:
    """Those that were read, and those that are gone; what is on its way or unknown is not named."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "ann")
        read, gone, delivered, fresh = [await send(store, app.id, "ann") for _ in range(4)]
        await happen(store, read, Read())
        await happen(store, gone, Recalled())
        await happen(store, delivered, Received())
        keys = [dispatch_key(one, 0) for one in (read, gone, delivered, fresh, message_id(NOON_MS))]
        assert await store.endings(keys) == {keys[0]: "read", keys[1]: "gone"}
        assert await store.endings([]) == {}

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
