"""The archive's promises to couriers, on every store: jobs of push and SMS, and carriers' receipts."""

from tests.store.conftest import WithStore
from tests.store.fakes import DAY_MS, NOON_MS, add_app, add_user, happen, login, send

from homing.lifecycle.dispatch import Message, Received
from homing.model import Body, FallbackSettings, dispatch_key
from homing.store.batch import Addressee, Batch, Occurrence
from homing.store.changes import DeleteApp, DeleteUser, SetPushToken
from homing.store.port import Store


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
