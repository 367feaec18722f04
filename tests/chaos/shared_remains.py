"""What stopped nodes left in their PostgreSQL: rows that should have gone, and states that contradict the events (I8, I10)."""

from typing import Any

from tests.chaos.journal import Rest

_TRANSIENT = ("lane", "command", "dead")
"""Tables that are empty once everything was delivered and nobody was to be woken."""
_TORN = {
    "counts other events than there are": """
        SELECT encode(d.key, 'hex') FROM dispatch AS d LEFT JOIN event AS e ON e.key = d.key
        GROUP BY d.key, d.events HAVING d.events <> count(e.n)""",
    "has emitted other statuses than there are events": """
        SELECT encode(d.key, 'hex') FROM dispatch AS d LEFT JOIN event AS e ON e.key = d.key
        GROUP BY d.key, d.emitted HAVING d.emitted <> coalesce(sum(1::bigint << e.status::int), 0)""",
    "was last changed at another time than its last event": """
        SELECT encode(d.key, 'hex') FROM dispatch AS d JOIN event AS e ON e.key = d.key
        GROUP BY d.key, d.last_at HAVING d.last_at <> max(e.at)""",
    "has events and no dispatch": """
        SELECT DISTINCT encode(key, 'hex') FROM event AS e WHERE NOT EXISTS (SELECT 1 FROM dispatch AS d WHERE d.key = e.key)""",
    "has a dispatch and no message": """
        SELECT encode(key, 'hex') FROM dispatch AS d
        WHERE NOT EXISTS (SELECT 1 FROM message AS m WHERE m.id = substr(d.key, 1, 16))""",
    "has settled something else than its events": """
        SELECT encode(d.key, 'hex') FROM dispatch AS d JOIN endpoint AS p ON p.app = d.app
        JOIN event AS e ON e.key = d.key AND (p.statuses IS NULL OR p.statuses >> e.status::int & 1 = 1)
        LEFT JOIN settled AS s ON s.key = d.key AND s.endpoint = p.id
        GROUP BY d.key, p.id, s.done HAVING coalesce(s.done, 0) <> sum(1::bigint << (e.n - 1)::int)""",
}


async def rest_of(connection: Any) -> Rest:
    """Look through a database in which nobody writes any more."""
    torn = [
        f"{row[0]} {what}" for what, sql in _TORN.items() for row in await connection.fetch(sql, timeout=120)
    ]
    stuck = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in _TRANSIENT}
    return Rest(stuck, torn)
