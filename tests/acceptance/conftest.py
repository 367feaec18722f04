"""One served node for all tests here that do not need one of their own; at the end it must stop with nothing to hide."""

from collections.abc import Iterator

import pytest
import uvloop
from tests.acceptance.served import Served


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served node. After the last test it must exit with 0 and have logged neither a traceback nor an error."""
    served = Served(tmp_path_factory.mktemp("node") / "data")
    served.start()
    try:
        uvloop.run(served.ready())
        yield served
        assert served.stop() == 0
        assert served.faults() == []
    finally:
        served.close()
