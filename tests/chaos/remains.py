"""What a stopped server left in its file: rows that should have gone, and states that contradict the events (I8, I10)."""

from pathlib import Path

import apsw
from tests.chaos.journal import Rest

_TRANSIENT = ("lane", "command", "dead")
"""Tables that are empty once everything was delivered and nobody was to be woken."""

_TORN = {
    "counts other events than there are": """
        SELECT hex(key) FROM dispatch
        WHERE events <> (SELECT count(*) FROM event WHERE event.key = dispatch.key)""",
    "has emitted other statuses than there are events": """
        SELECT hex(key) FROM dispatch
        WHERE emitted <> (SELECT coalesce(sum(1 << status), 0) FROM event WHERE event.key = dispatch.key)""",
    "was last changed at another time than its last event": """
        SELECT hex(key) FROM dispatch
        WHERE last_at <> (SELECT max(at) FROM event WHERE event.key = dispatch.key)""",
    "has events and no dispatch": """
        SELECT DISTINCT hex(key) FROM event WHERE key NOT IN (SELECT key FROM dispatch)""",
    "has a dispatch and no message": """
        SELECT hex(key) FROM dispatch WHERE substr(key, 1, 16) NOT IN (SELECT id FROM message)""",
    "has settled something else than its events": """
        SELECT hex(dispatch.key) FROM dispatch JOIN endpoint
        LEFT JOIN settled ON settled.key = dispatch.key AND settled.endpoint = endpoint.id
        WHERE endpoint.app = dispatch.app AND coalesce(settled.done, 0) <> (
            SELECT coalesce(sum(1 << n - 1), 0) FROM event
            WHERE event.key = dispatch.key
              AND (endpoint.statuses IS NULL OR endpoint.statuses >> event.status & 1))""",
}


def rest_of(database: Path) -> Rest:
    """Read the file of a server that has stopped."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        torn = [
            f"integrity: {row[0]}" for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"
        ]
        torn += [f"{key} {what}" for what, sql in _TORN.items() for (key,) in connection.execute(sql)]
        stuck = {table: connection.execute(f"SELECT count(*) FROM {table}").get for table in _TRANSIENT}
    finally:
        connection.close()
    return Rest(stuck, torn)
