"""What travels between the courier and the sender: an endpoint as the sender sees it, one try to make, one try made.

Plain data: no socket, no clock, no store.
"""

from enum import IntEnum
from typing import NamedTuple

import msgspec

from homing.callbacks.guard import ParsedUrl
from homing.callbacks.verdict import Outcome
from homing.contract.forms import Form
from homing.contract.notification import Precision
from homing.contract.signature import Signer

USER_AGENT = "Catapush"
"""The contract's, exactly; the setting ``callbacks.user_agent`` replaces it."""


class EndpointView(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What sending to one endpoint needs; immutable, so a changed endpoint gets a new view under the same id.

    The sender keeps connections' handles per ``id`` and drops them when it sees another view with it.
    """

    id: int
    url: ParsedUrl
    form: Form
    signers: tuple[Signer, ...]
    """At least one; several while a secret rotates."""
    user_agent: str = USER_AGENT
    precision: Precision = "s"
    timeout_s: float = 15.0
    """For the whole exchange; at most 15, so that no try outlives its node's term of ownership."""
    app: int = 0
    kind: str = "status"
    headers: tuple[str, ...] = ()
    """Lines ``name: value`` that the owner wants with every request, ``authorization`` among them."""
    ca: bytes | None = None
    """Certificate authorities in PEM instead of the system's."""
    dangerous_skip_verify: bool = False
    max_in_flight: int | None = None
    """None: as the operator set it for all, as with the next two."""
    rate_per_second: float | None = None
    delays_ms: tuple[int, ...] | None = None
    is_paused: bool = False
    is_resting: bool = False
    """What the store knew when the view was made; the courier knows better later."""
    failing_since_ms: int | None = None


class Job(msgspec.Struct, eq=False):
    """One try: a request that is ready to go. ``tag`` is the courier's and is not looked at."""

    endpoint: EndpointView
    headers: list[str]
    """Lines ``name: value``, without those that are the same for all of the endpoint's requests."""
    body: bytes | None = None
    """None sends a GET."""
    target: str | None = None
    """Path and query, sent byte for byte as they are; None sends to the endpoint's own."""
    tag: object = None


class Reached(IntEnum):
    """How far a try came."""

    NOTHING = 0
    ADDRESS = 1
    """There was an address to dial, or the name had one."""
    CONNECTION = 2
    """It was connected, but the TLS handshake was not over."""
    READY = 3
    """The request could be sent, on a new connection or a kept one."""
    ANSWER = 4
    """An answer began."""


class Phases(NamedTuple):
    """Whole milliseconds from the start of a try to the end of each phase; 0 for one not reached or not needed."""

    dns_ms: int
    connect_ms: int
    tls_ms: int
    first_byte_ms: int
    total_ms: int


class Done(msgspec.Struct, eq=False):
    """One try, ended. The outcome is ``verdict.outcome(status, error)``."""

    job: Job
    status: int
    """The HTTP status, also beside an error; 0 when no answer came."""
    error: Outcome | None
    """Why the exchange is not complete; None when it is. An answer too long to read is complete: its status counts."""
    error_text: str
    """For operators, never for tenants: it may tell what a network looks like inside. Empty without an error."""
    retry_after: str | None
    """The header as it came; several, one a line."""
    answer: bytes
    """The beginning of the answer's body."""
    address: str | None
    """The address that was dialled last, None when none was."""
    phases: Phases
    location: str | None = None
    """Where a 3xx would lead; nobody goes there, but it tells what is wrong."""
    reached: Reached = Reached.NOTHING
