"""The registry's statements, asked for by name."""

from homing.store.dialogue import Ask, Dialogue, Row


def one(name: str, *values: object) -> Dialogue[Row | None]:
    """Ask for the only row, if there is one."""
    rows = yield Ask("registry", name, values)
    return rows[0] if rows else None


def every(name: str, *values: object) -> Dialogue[list[Row]]:
    """Ask for all rows; of a statement that only writes there are none."""
    return (yield Ask("registry", name, values))


def lock(name: str, *values: object) -> Dialogue[None]:
    """Keep rows as they are until the transaction's end, where anybody else could change them."""
    yield Ask("registry", name, values, only_locks=True)
