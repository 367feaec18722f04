"""Which tables are moved, and how a row of the embedded store reads on PostgreSQL: the same but for what stands here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from homing.model import EndpointOptions
from homing.store.postgres.archive_feed import EMBEDDED
from homing.store.postgres.content import CONTENT

Row = tuple[Any, ...]
NOT_HERE: Final = frozenset({"doomed"})
"""Tables that only PostgreSQL has: the embedded store deletes at once what they say is to be deleted."""
TABLES: Final = tuple(name for name in CONTENT if name not in NOT_HERE)
FLAGS: Final[Mapping[str, tuple[str, ...]]] = {"endpoint": ("paused",), "job": ("is_walked",)}
"""Columns that are numbers here and truths there."""
WIDEST: Final[Mapping[str, str]] = {
    "message": "body", "dispatch": "text", "incoming": "text", "attempt": "answer", "idempotency": "answer",
}  # fmt: skip
"""The column that may be long, by which a batch is cut short."""
_options: Final = msgspec.json.Decoder(EndpointOptions).decode


class Derived(NamedTuple):
    """A column that only PostgreSQL has, and what it says by another one."""

    name: str
    source: str
    value: Callable[[Any], object]


DERIVED: Final[Mapping[str, Derived]] = {
    "endpoint": Derived("is_ordered", "options", lambda text: _options(text).ordered)
}

Kind = Literal["number", "words", "place"]


class Known(NamedTuple):
    """What a store knows of itself, there: its name and the column of ``meta``."""

    name: str
    kind: Kind
    default: int | None = None
    """What stands there for nothing here."""


META: Final[Mapping[str, Known]] = {
    "store_id": Known("store_id", "words"),  # devices keep their place
    "key_id": Known("key_id", "words"),
    "epoch": Known("epoch", "number", 0),  # what the last process held is a dead node's
    "highest_app": Known("highest_app", "number", 0),
    "position": Known(EMBEDDED, "number"),  # up to where the feed is numbered by ones
    "pruned_attempts": Known("pruned_attempts", "number"),
    "pruned_failures": Known("pruned_failures", "number"),
    "pruned_dead": Known("pruned_dead", "place"),
}
NOT_MOVED: Final = frozenset({"schema", "moved", "dropped_messages", "dropped_sms"})
"""What a store knows of itself that is true only there; old messages go by weeks on PostgreSQL."""
SEQUENCES: Final[Mapping[str, str]] = {
    "recipient_id_seq": "recipient", "endpoint_id_seq": "endpoint", "job_id_seq": "job",
    "history_id": "history", "attempt_id": "attempt",
}  # fmt: skip
"""What gives numbers there → the table whose highest number, ever given, it goes on behind."""


class Shape(NamedTuple):
    """One table of the source: its columns, its key, and how its rows read on PostgreSQL."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def there(self) -> tuple[str, ...]:
        """The columns on PostgreSQL, in the order of `translate`'s rows."""
        derived = DERIVED.get(self.name)
        return self.columns if derived is None else (*self.columns, derived.name)

    @property
    def widest(self) -> int | None:
        """Where in a row its longest value stands."""
        name = WIDEST.get(self.name)
        return None if name is None else self.columns.index(name)

    @property
    def partitioned_by(self) -> str | None:
        """The column that says which week's partition a row belongs to, where there are any."""
        return {"message": "id"}.get(self.name) or ("key" if "key" in self.columns else None)

    def key_of(self, row: Sequence[Any]) -> Row:
        """Return a row's key."""
        return tuple(row[self.columns.index(name)] for name in self.key)

    def translate(self) -> Callable[[Row], Row] | None:
        """Return what makes a row of PostgreSQL of one here; None where they are the same."""
        flags = {self.columns.index(name) for name in FLAGS.get(self.name, ())}
        derived = DERIVED.get(self.name)
        if not flags and derived is None:
            return None
        source = None if derived is None else self.columns.index(derived.source)

        def one(row: Row) -> Row:
            values = [bool(value) if place in flags else value for place, value in enumerate(row)]
            if derived is not None and source is not None:
                values.append(derived.value(row[source]))
            return tuple(values)

        return one
