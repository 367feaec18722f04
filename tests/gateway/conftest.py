"""What tests of the gateway ask of it beyond a house: that time goes faster."""

import pytest

from homing.gateway import server


@pytest.fixture
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the gateway look after its devices many times a second, and not every half minute."""
    monkeypatch.setattr(server, "TEND_S", 0.01)
    monkeypatch.setattr(server, "HEARTBEAT_S", 0.02)
