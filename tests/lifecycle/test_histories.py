"""Random histories: whatever happens in whatever order, the laws of CONTRACT.md §4 hold all along.

The walk is exhaustive over states with chosen instants; here the instants, policies and device times are anything.
"""

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.lifecycle.walk import PUSHES, SMS, T0, Node, judge

from homing.lifecycle.dispatch import Clock, Command, FallbackMode, Input, Read, Received
from homing.lifecycle.machine import begin, next_deadline, step
from homing.lifecycle.policy import FallbackPlan, resolve

pytestmark = pytest.mark.timeout(300)

DAY_MS = 86_400_000
WAITS = st.one_of(st.sampled_from((0, 0, 1, 1000, DAY_MS)), st.integers(0, 3 * DAY_MS))
TIMES = st.one_of(st.none(), st.integers(-DAY_MS, 4 * DAY_MS).map(lambda shift: T0 + shift))
SECONDS = st.one_of(st.none(), st.integers(1, 172_800))


class Life(RuleBasedStateMachine):
    """One dispatch, to which anything may happen."""

    @initialize(
        known=st.sampled_from((True, True, True, False)),
        ttl_s=st.one_of(st.none(), st.integers(60, 172_800)),
        plan=st.builds(FallbackPlan, st.sampled_from(FallbackMode), SECONDS, SECONDS),
    )
    def accept(self, known: bool, ttl_s: int | None, plan: FallbackPlan) -> None:
        """The beginning."""
        start = begin(known, resolve(T0, ttl_s, plan), T0)
        self.node = Node(start.state, T0, start.events, 0)

    def _happens(self, happening: Input, now: int) -> None:
        after = step(self.node.state, happening, now)
        assert judge(self.node, happening, now, after) == []
        submits = self.node.submits + after.commands.count(Command.SUBMIT_SMS)
        self.node = Node(after.state, now, self.node.story + after.events, submits)

    @rule(wait_ms=WAITS)
    def time_passes(self, wait_ms: int) -> None:
        """The clock alone."""
        self._happens(Clock(), self.node.now + wait_ms)

    @precondition(lambda self: next_deadline(self.node.state) is not None)
    @rule(shift_ms=st.integers(-1, 1))
    def the_deadline_comes(self, shift_ms: int) -> None:
        """The clock at the very instant, or next to it."""
        deadline = next_deadline(self.node.state)
        assert deadline is not None
        self._happens(Clock(), max(self.node.now, deadline + shift_ms))

    @rule(receipt=st.sampled_from((Received, Read)), device_ms=TIMES, wait_ms=st.integers(0, DAY_MS))
    def a_device_tells(self, receipt: type[Received | Read], device_ms: int | None, wait_ms: int) -> None:
        """With any time on its own clock."""
        self._happens(receipt(device_ms), self.node.now + wait_ms)

    @rule(happening=st.sampled_from((*PUSHES, *SMS, *SMS)), wait_ms=st.integers(0, DAY_MS // 4))
    def a_courier_tells(self, happening: Input, wait_ms: int) -> None:
        """Push services and carriers, in season or not."""
        self._happens(happening, self.node.now + wait_ms)

    @invariant()
    def there_are_at_most_18_events(self) -> None:
        """One per status; the other laws are judged with each step."""
        if hasattr(self, "node"):
            assert len(self.node.story) == self.node.state.events <= 18


Life.TestCase.settings = settings(
    max_examples=2000,
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLife = Life.TestCase
