"""A fresh site for each test."""

from pathlib import Path

import pytest
from tests.checkup.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a data directory that does not exist yet."""
    return Site(tmp_path)
