"""The metrics that are asked of a node's parts when somebody looks, instead of being counted as they happen."""

from pathlib import Path

from homing.callbacks.courier import Courier
from homing.clock import Clock
from homing.engine import Engine
from homing.gateway.server import Gateway
from homing.store.backups import Note
from homing.store.port import Store
from homing.store.sqlite import SqliteStore
from homing.telemetry.metrics import Counters

Probed = dict[tuple[str, ...], float]


def probe(
    counters: Counters,
    clock: Clock,
    store: Store,
    engine: Engine,
    courier: Courier | None,
    gateway: Gateway | None,
    data: Path,
) -> None:
    """Have the counters ask these parts, as far as the node has them; ``data`` is the directory that knows of backups."""

    def oldest_due() -> Probed:
        """How late the most overdue callback in the store and the most overdue deadline are, in seconds."""
        now_ms = clock.now_ms()
        dues = {"deadline": engine.next_deadline_ms}
        if courier is not None:
            dues["callback"] = courier.oldest_due_ms()
        return {(kind,): max(0, now_ms - due_ms) / 1000 if due_ms else 0.0 for kind, due_ms in dues.items()}

    def backup_age() -> Probed:
        """How old the last backup is that the data directory knows of."""
        is_file = isinstance(store, SqliteStore) and store.size_bytes() is not None
        note = Note.read(data) if is_file else None
        return {} if note is None else {(): note.age_s(clock.now_ms())}

    engine.timed = counters.commit
    counters.probe("store_bytes", lambda: {("file",): float(store.size_bytes() or 0)})
    counters.probe("backup_age_seconds", backup_age)
    counters.probe("oldest_due_seconds", oldest_due)
    counters.probe("nodes", lambda: {(role,): float(count) for role, count in store.nodes().items()})
    if courier is not None:
        counters.probe("endpoints", lambda: {(h,): float(n) for h, n in courier.health().items()})
        counters.probe("lanes_waiting", lambda: {(str(e),): float(n) for e, n in courier.waiting().items()})
    if gateway is not None:
        counters.probe("devices_connected", lambda: {(): float(gateway.connected)})
