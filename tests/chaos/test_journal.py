"""The checker's negative controls: a sound journal passes, and each planted fault is found under its own number."""

from collections.abc import Callable

import msgspec
import pytest
from tests.chaos.journal import Accept, Call, Endpoint, Event, Journal, Rest, check, count

ANN, NOBODY = ("m-1", "ann"), ("m-1", "nobody")
T = 1_790_000_000_123
LIFE = [Event(1, "enqueued", T), Event(2, "delivered", T + 40), Event(3, "read", T + 90)]


def call(endpoint: str, dispatch: tuple[str, str], event: Event, life: int = 1, **other: object) -> Call:
    unit_ms = 1000 if endpoint == "coarse" else 1
    made = Call(
        endpoint=endpoint,
        life=life,
        webhook_id=f"{dispatch[0]}_{dispatch[1]}_{event.seq}_{endpoint}",
        payload=f"{dispatch} {event.status}".encode(),
        dispatch=dispatch,
        app="1",
        status=event.status,
        timestamp_ms=event.timestamp_ms // unit_ms * unit_ms,
    )
    return msgspec.structs.replace(made, **other)


def sound() -> Journal:
    """Two recipients, two endpoints, one of them filtered; a retry after a 500, duplicates after a death, in order."""
    unknown = Event(1, "IdentifierNotFound", T)
    return Journal(
        app="1",
        endpoints={"all": Endpoint(), "coarse": Endpoint(frozenset({"read"}), 1000)},
        accepts=[Accept("key-1", "m-1", {"ann": "enqueued", "nobody": "IdentifierNotFound"})],
        calls=[
            call("all", ANN, LIFE[0], answered=500),
            call("all", NOBODY, unknown),
            call("all", ANN, LIFE[0]),
            call("all", ANN, LIFE[1]),
            call("all", ANN, LIFE[1], life=2),
            call("all", ANN, LIFE[2], life=2, answered=500),
            call("coarse", ANN, LIFE[2], life=2),
            call("all", ANN, LIFE[2], life=2),
        ],
        events={ANN: list(LIFE), NOBODY: [unknown]},
        readers=frozenset({"ann"}),
    )


def test_sound_journal() -> None:
    """Nothing is found in a journal of a lawful run, its retry and its duplicate included, and both are counted."""
    assert check(sound()) == []
    assert msgspec.structs.asdict(count(sound())) == {
        "accepted": 1,
        "events": 4,
        "callbacks": 8,
        "retries": 2,
        "duplicates": 1,
    }


Fault = Callable[[Journal], None]


def lost_message(journal: Journal) -> None:
    del journal.events[ANN]
    journal.calls = [one for one in journal.calls if one.dispatch != ANN]


def lost_recipient_of_many(journal: Journal) -> None:
    journal.accepts.append(Accept("key-2", "m-2", {"bob": "enqueued"}))


def extra_message(journal: Journal) -> None:
    journal.events["m-9", "ann"] = list(LIFE)
    journal.calls += [call("all", ("m-9", "ann"), event) for event in LIFE]
    journal.calls.append(call("coarse", ("m-9", "ann"), LIFE[2]))


def second_message_of_a_key(journal: Journal) -> None:
    extra_message(journal)
    journal.accepts.append(Accept("key-1", "m-9", {"ann": "enqueued"}))


def one_message_for_two_keys(journal: Journal) -> None:
    journal.accepts.append(journal.accepts[0]._replace(key="key-2"))


def another_first_status(journal: Journal) -> None:
    journal.accepts[0] = Accept("key-1", "m-1", {"ann": "enqueued", "nobody": "enqueued"})


def lost_callback(journal: Journal) -> None:
    journal.calls.pop()


def callback_never_taken(journal: Journal) -> None:
    journal.calls[-1].answered = 500


def callback_cut_off(journal: Journal) -> None:
    journal.calls[-1].answered = None


def lost_event(journal: Journal) -> None:
    journal.events[ANN].pop()
    journal.readers = frozenset()


def another_time(journal: Journal) -> None:
    journal.calls[-1].timestamp_ms += 1


def unlawful_events(journal: Journal) -> None:
    journal.events[ANN][0], journal.events[ANN][1] = (
        LIFE[1]._replace(seq=1, timestamp_ms=T),
        LIFE[0]._replace(seq=2),
    )


def gap_in_numbers(journal: Journal) -> None:
    journal.events[ANN][2] = LIFE[2]._replace(seq=4)


def wrong_application(journal: Journal) -> None:
    journal.calls[0].app = "2"


def not_asked_for(journal: Journal) -> None:
    journal.calls.insert(4, call("coarse", ANN, LIFE[1]))


def changed_webhook_id(journal: Journal) -> None:
    journal.calls[4].webhook_id += "x"


def changed_body(journal: Journal) -> None:
    journal.calls[2].payload += b" "


def shared_webhook_id(journal: Journal) -> None:
    journal.calls[1].webhook_id = journal.calls[0].webhook_id


def swapped_order(journal: Journal) -> None:
    journal.calls[2], journal.calls[3] = journal.calls[3], journal.calls[2]


def went_back_after_a_death(journal: Journal) -> None:
    journal.calls.append(call("all", ANN, LIFE[1], life=3))
    journal.calls.append(call("all", ANN, LIFE[2], life=3))


def heard_in_another_order(journal: Journal) -> None:
    del journal.calls[0]
    journal.calls[1], journal.calls[2] = journal.calls[2], journal.calls[1]


def late_duplicate(journal: Journal) -> None:
    journal.calls[4], journal.calls[5] = journal.calls[5], journal.calls[4]


def not_waited_for_a_2xx(journal: Journal) -> None:
    del journal.calls[2]
    journal.calls.append(call("all", ANN, LIFE[0], life=3))


def repeated_without_a_death(journal: Journal) -> None:
    journal.calls.append(call("all", ANN, LIFE[2], life=2))


def contradicted_state(journal: Journal) -> None:
    journal.rest = Rest(torn=["dispatch m-1 ann says 2 events, there are 3"])


def bad_signature(journal: Journal) -> None:
    journal.calls[3].faults = ("signature: no signature fits",)


def stuck_lane(journal: Journal) -> None:
    journal.rest = Rest(stuck={"lane": 1, "command": 0})


def unread(journal: Journal) -> None:
    journal.events[ANN].pop()
    journal.calls = [one for one in journal.calls if one.status != "read"]


PLANTED: list[tuple[str, Fault]] = [
    ("I1", lost_message),
    ("I1", lost_recipient_of_many),
    ("I1", extra_message),
    ("I1", second_message_of_a_key),
    ("I1", one_message_for_two_keys),
    ("I1", another_first_status),
    ("I2", lost_callback),
    ("I2", callback_never_taken),
    ("I2", callback_cut_off),
    ("I2", lost_event),
    ("I2", another_time),
    ("I3", unlawful_events),
    ("I3", gap_in_numbers),
    ("I4", wrong_application),
    ("I4", not_asked_for),
    ("I5", changed_webhook_id),
    ("I5", changed_body),
    ("I5", shared_webhook_id),
    ("I3", heard_in_another_order),
    ("I6", swapped_order),
    ("I6", went_back_after_a_death),
    ("I6", late_duplicate),
    ("I6", not_waited_for_a_2xx),
    ("I7", repeated_without_a_death),
    ("I8", contradicted_state),
    ("I9", bad_signature),
    ("I10", stuck_lane),
    ("I10", unread),
]


@pytest.mark.parametrize(
    ("number", "fault"), PLANTED, ids=[f"{number}-{fault.__name__}" for number, fault in PLANTED]
)
def test_planted_fault(number: str, fault: Fault) -> None:
    """A fault planted into a sound journal is found under the number of the promise that it breaks."""
    journal = sound()
    fault(journal)
    assert number in {finding.partition(":")[0] for finding in check(journal)}
