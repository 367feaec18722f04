"""The registry's promises about users and their devices, on every store."""

import pytest
from tests.store.conftest import WithStore
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, login, message_id

from homing.errors import Conflict, NotFound
from homing.model import Body, CommandKind, Credentials, Device
from homing.store.batch import Accept, Addressee, Batch
from homing.store.changes import (
    CreateUser,
    DeleteUser,
    RemoveDevice,
    RetirePushToken,
    SetPushToken,
    TouchDevices,
    UpdateUser,
)
from homing.store.port import Store


def test_a_user_is_found_by_the_folded_identifier(with_store: WithStore) -> None:
    """The identifier comes back as registered, is unique within its application, and is another's elsewhere."""

    async def story(store: Store) -> None:
        app, other = await add_app(store, app_key="k"), await add_app(store)
        ann = await add_user(store, app.id, "Ann", mobile_number="+39 333", attributes={"a": [1, None]})
        assert await store.user(app.id, "ann") == ann
        assert (ann.identifier, ann.mobile_number, ann.attributes) == ("Ann", "+39 333", {"a": [1, None]})
        assert await store.user(app.id, "Ann") is None
        assert await store.user(other.id, "ann") is None
        with pytest.raises(Conflict):
            await store.apply(CreateUser(app.id, "ANN", "ann", "hash"))
        with pytest.raises(NotFound):
            await store.apply(CreateUser(99, "ann", "ann", "hash"))
        assert (await add_user(store, other.id, "ann")).id != ann.id
        await add_user(store, app.id, "bob")
        await add_user(store, app.id, "carol")
        assert [user.identifier for user in await store.users(app.id, "", 2)] == ["Ann", "bob"]
        assert [user.identifier for user in await store.users(app.id, "bob", 2)] == ["carol"]
        assert await store.credentials("k", "ann") == Credentials(app.id, ann.id, "Ann", "hash")
        assert await store.credentials("k", "dave") is None
        assert await store.credentials("wrong", "ann") is None

    with_store(story)


def test_a_user_is_changed_without_touching_the_password(with_store: WithStore) -> None:
    """A missing password hash keeps the one that is; number and attributes are replaced."""

    async def story(store: Store) -> None:
        app = await add_app(store, app_key="k")
        await add_user(store, app.id, "ann", mobile_number="1", attributes={"a": 1})
        await store.apply(UpdateUser(app.id, "ann", None, "2", None))
        ann = await store.user(app.id, "ann")
        assert ann is not None
        assert (ann.mobile_number, ann.attributes) == ("2", None)
        login_data = await store.credentials("k", "ann")
        assert login_data is not None
        assert login_data.password_hash == "hash"
        await store.apply(UpdateUser(app.id, "ann", "other", None, None))
        login_data = await store.credentials("k", "ann")
        assert login_data is not None
        assert login_data.password_hash == "other"
        with pytest.raises(NotFound):
            await store.apply(UpdateUser(app.id, "dave", None, None, None))

    with_store(story)


def test_a_deleted_user_names_the_devices_that_went_along(with_store: WithStore) -> None:
    """Their tokens stop working, and a user made anew under the name is somebody else."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "ann")
        await store.apply(login(ann, "phone"))
        await store.apply(login(ann, "tablet"))
        gone = (await store.apply(DeleteUser(app.id, "ann"))).value
        assert sorted(gone) == ["phone", "tablet"]  # type: ignore[call-overload]
        assert await store.device(b"digest of phone") is None
        assert await store.user(app.id, "ann") is None
        assert (await add_user(store, app.id, "ann")).id != ann.id
        with pytest.raises(NotFound):
            await store.apply(DeleteUser(app.id, "dave"))

    with_store(story)


def test_a_login_makes_a_device_and_a_new_login_replaces_its_token(
    with_store: WithStore, clock: StillClock
) -> None:
    """The device keeps its cursor, push token and age; another user cannot take it over."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann, bob = await add_user(store, app.id, "Ann"), await add_user(store, app.id, "bob")
        device = (await store.apply(login(ann, "phone", name="Ann's"))).value
        assert isinstance(device, Device)
        assert device == Device(
            "phone", ann.id, app.id, "Ann", "Ann's", "ios", b"digest of phone", None, None, None, 0, NOON_MS,
            NOON_MS,
        )  # fmt: skip
        await store.apply(SetPushToken("phone", "ios", "push", "sandbox"))
        await store.apply(TouchDevices((("phone", 4, NOON_MS + 1),)))
        clock.ms += 10
        again = (await store.apply(login(ann, "phone", token_digest=b"new"))).value
        assert again == Device(
            "phone", ann.id, app.id, "Ann", "Ann's", "ios", b"new", "ios", "push", "sandbox", 4, NOON_MS,
            NOON_MS + 10,
        )  # fmt: skip
        assert await store.device(b"digest of phone") is None
        assert await store.device(b"new") == again
        assert await store.devices(ann.id) == [again]
        with pytest.raises(Conflict):
            await store.apply(login(bob, "phone"))
        await store.apply(DeleteUser(app.id, "bob"))
        with pytest.raises(NotFound):
            await store.apply(login(bob, "another"))

    with_store(story)


async def _wakes(store: Store, app: int, name: str) -> bool:
    """Say whether a message to this user orders a push."""
    addressees = (Addressee(name, name),)
    accept = Accept(message_id(store.now_ms()), app, None, Body("hello"), addressees)
    committed = await store.commit(Batch(accepts=[accept]))
    return [command.kind for command in committed.commands] == [CommandKind.PUSH]


def test_whom_a_push_can_wake_follows_the_devices(with_store: WithStore) -> None:
    """A message orders a push exactly while one of the user's devices has a push token."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann, bob = await add_user(store, app.id, "ann"), await add_user(store, app.id, "bob")
        await store.apply(login(ann, "phone"))
        await store.apply(login(ann, "tablet"))
        await store.apply(login(bob, "watch"))
        assert not await _wakes(store, app.id, "ann")
        phone = (await store.apply(SetPushToken("phone", "ios", "one", "sandbox"))).value
        assert isinstance(phone, Device)
        assert (phone.push_platform, phone.push_token, phone.push_environment) == ("ios", "one", "sandbox")
        await store.apply(SetPushToken("tablet", "android", "two"))
        assert await _wakes(store, app.id, "ann")
        assert not await _wakes(store, app.id, "bob")
        # The same token elsewhere: one device has it, the other lost it; the other platform's is another token.
        await store.apply(SetPushToken("watch", "ios", "one"))
        assert await _wakes(store, app.id, "bob")
        assert await _wakes(store, app.id, "ann")
        assert [device.push_token for device in await store.devices(ann.id)] == [None, "two"]
        await store.apply(SetPushToken("watch", "ios", "two"))
        assert [device.push_token for device in await store.devices(ann.id)] == [None, "two"]
        # A late refusal of an old token leaves the present one alone.
        await store.apply(RetirePushToken("tablet", "one"))
        assert await _wakes(store, app.id, "ann")
        await store.apply(RetirePushToken("tablet", "two"))
        assert not await _wakes(store, app.id, "ann")
        await store.apply(RemoveDevice("watch"))
        assert not await _wakes(store, app.id, "bob")
        assert await store.devices(bob.id) == []
        await store.apply(RemoveDevice("watch"))
        with pytest.raises(NotFound):
            await store.apply(SetPushToken("watch", "ios", "three"))

    with_store(story)


def test_a_cursor_never_moves_back(with_store: WithStore) -> None:
    """Reports of several devices come together, in any order."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "ann")
        await store.apply(login(ann, "phone"))
        await store.apply(login(ann, "tablet"))
        await store.apply(TouchDevices((("phone", 5, NOON_MS + 9), ("tablet", 2, 1), ("gone", 1, 1))))
        await store.apply(TouchDevices((("phone", 3, NOON_MS + 2),)))
        seen = [(device.cursor, device.last_seen_at_ms) for device in await store.devices(ann.id)]
        assert seen == [(5, NOON_MS + 9), (2, NOON_MS)]

    with_store(story)
