"""The same random histories over a ledger on PostgreSQL, each in a database of its own."""

from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings
from tests.store import databases
from tests.store.conftest import needs_postgres
from tests.store.test_ledger_model import LedgerModel

from homing.store.port import Store
from homing.store.postgres import PostgresStore


class PostgresLedgerModel(LedgerModel):
    """Accepts, inputs, settles, claims, releases and restarts in any order, on PostgreSQL."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.address = self.stack.enter_context(databases.fresh_database())

    async def open_store(self) -> Store:
        return await PostgresStore.open(self.address, clock=self.clock, feed_lag_ms=0, beats=False)

    def teardown(self) -> None:
        super().teardown()
        self.stack.close()


@needs_postgres
@pytest.mark.timeout(300)
class TestLedgerModelOnPostgres(PostgresLedgerModel.TestCase):  # type: ignore[misc,valid-type] # made by Hypothesis
    """Each event is pending, told or given up at each endpoint that wants it, whatever happens."""

    settings = settings(
        max_examples=5, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
