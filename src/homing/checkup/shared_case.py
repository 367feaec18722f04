"""One node of several as its settings describe it; what is in its store is found out by one look at the database."""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from homing.checkup.case import Case, Owed
from homing.checkup.lock import Holder
from homing.errors import Unavailable
from homing.model import Endpoint

if TYPE_CHECKING:
    from homing.store.postgres.onlooker import Sight


class SharedCase(Case):
    """What all checks look at where the store is a PostgreSQL."""

    root = "database"

    @property
    def sight(self) -> "Sight":
        """What the database shows of itself; raises `Unavailable` each time where it could not be looked at."""
        if isinstance(self._seen, Unavailable):
            raise Unavailable(self._seen.detail)
        return self._seen

    @cached_property
    def _seen(self) -> "Sight | Unavailable":
        try:
            from homing.store.postgres.onlooker import see  # an extra, which the embedded store does without
        except ModuleNotFoundError as error:
            return Unavailable(f"this needs {error.name}: install homing[postgres]")
        from homing.checkup.endpoints import MOST_DEAD

        try:
            return asyncio.run(see(self.settings.store.url, self.wanted_schema, MOST_DEAD))
        except Unavailable as error:
            return error

    @property
    def wanted_schema(self) -> int:
        """The schema that this program knows."""
        from homing.store.postgres import SCHEMA

        return SCHEMA

    @cached_property
    def holder(self) -> Holder:
        """Nobody has the store alone."""
        return Holder(is_held=None)

    @cached_property
    def schema(self) -> int | None:
        """The store's schema; None as long as there is no store."""
        return self.sight.schema

    def key_id(self) -> str:
        """Return the id of the master key under which the store's secrets are sealed."""
        return self.sight.key_id

    def newest_ms(self) -> int | None:
        """Return when the newest event in the store happened."""
        return self.sight.newest_ms

    def owed(self, most_dead: int) -> Sequence[tuple[Endpoint, Owed]]:  # noqa: ARG002 - counted with the look
        """Return every endpoint with what it must still be told."""
        return [(one.endpoint, Owed(one.first_due_ms, one.dead)) for one in self.sight.endpoints]
