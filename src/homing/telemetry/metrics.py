"""What is counted, and how Prometheus reads it: plain numbers on the hot path, made into text only when asked for.

Names and labels are stable. A label never has more than `LABEL_CAP` values; what comes later is counted as ``other``.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from homing import __version__
from homing.contract.status import NUMBER, STATUSES, Status

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LABEL_CAP: Final = 200
_DELIVERED: Final = NUMBER[Status.DELIVERED]
_READ: Final = NUMBER[Status.READ]
_DEAD: Final = 3
_PHASES: Final = ("dns", "connect", "tls", "total")
_SHORT_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300)
_LONG_S: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 43_200, 172_800)
_ITEMS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)

Label = int | str
Probe = Callable[[], Mapping[tuple[str, ...], float]]
"""Answers a gauge's values by its labels, when it is asked for."""


class Gauge(NamedTuple):
    """A gauge somebody else knows the value of."""

    meaning: str
    labels: tuple[str, ...]


GAUGES: Final[Mapping[str, Gauge]] = {
    "lanes_waiting": Gauge("Dispatches an endpoint must still be told about, held in memory", ("endpoint",)),
    "oldest_due_seconds": Gauge("How late the most overdue work is", ("kind",)),
    "endpoints": Gauge("Endpoints by health", ("health",)),
    "devices_connected": Gauge("Devices with a live link to this node", ()),
    "store_bytes": Gauge("Size of the store", ("class",)),
    "nodes": Gauge("Nodes that live and have a role", ("role",)),
    "retention_kept": Gauge("Messages, or weeks of them, that have had their time and stay", ("by",)),
    "backup_age_seconds": Gauge("How old the last backup is; nothing as long as none is known", ()),
}
"""Gauges a `Counters.probe` can be plugged in for."""


class _Recorded(Protocol):
    @property
    def key(self) -> bytes: ...
    @property
    def app(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def at_ms(self) -> int: ...


class _Attempt(Protocol):
    @property
    def at_ms(self) -> int: ...


class _Settle(Protocol):
    @property
    def key(self) -> bytes: ...
    @property
    def endpoint(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def tries(self) -> int: ...
    @property
    def verdict(self) -> int: ...
    @property
    def attempt(self) -> _Attempt | None: ...


class CommittedBatch(Protocol):
    """What a commit of the store came to, as far as it is counted here."""

    @property
    def recorded(self) -> Sequence[_Recorded]:
        """The events."""
        ...

    @property
    def settled(self) -> Sequence[_Settle]:
        """The callbacks' outcomes."""
        ...


class Distribution:
    """How often a value fell into each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def merge(self, other: "Distribution") -> None:
        """Count another's values too; it has the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def buckets(self) -> list[tuple[str, float]]:
        """Return the buckets as Prometheus wants them: cumulative, the last without a bound."""
        seen, answer = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            answer.append((bound, float(seen)))
        return answer


class Counters:
    """Everything this process counts. Call it from the event loop's thread."""

    def __init__(self, *, name_endpoint: Callable[[int], str] = str) -> None:
        self._name_endpoint = name_endpoint
        self._accepted: dict[Label, int] = defaultdict(int)
        self._events: dict[tuple[Label, int], int] = defaultdict(int)
        self._attempts: dict[tuple[Label, str], int] = defaultdict(int)
        self._dead: dict[Label, int] = defaultdict(int)
        self._push: dict[tuple[Label, str], int] = defaultdict(int)
        self._sms: dict[tuple[Label, str], int] = defaultdict(int)
        self._handed: dict[Label, int] = defaultdict(int)
        self._callback_s = {name: Distribution(_SHORT_S) for name in _PHASES}
        self._whole_s = self._callback_s["total"]
        self._first_delay_s = Distribution(_SHORT_S)
        self._commit_s = Distribution(_SHORT_S)
        self._commit_items = Distribution(_ITEMS)
        self._delivered_s: dict[Label, Distribution] = {}
        self._read_s: dict[Label, Distribution] = {}
        self._probes: dict[str, Probe] = {}

    def committed(self, committed: CommittedBatch) -> None:
        """Count what a commit recorded and settled. A message's age is told from its id, a UUIDv7."""
        events, accepted = self._events, self._accepted
        for recorded in committed.recorded:
            status, app = recorded.status, recorded.app
            events[app, status] += 1
            if recorded.n == 1:
                if recorded.key[16:] == b"\0\0":  # each message has exactly one first recipient
                    accepted[app] += 1
            elif status in {_DELIVERED, _READ}:
                ages = self._delivered_s if status == _DELIVERED else self._read_s
                if app not in ages:
                    ages[app] = Distribution(_LONG_S)
                ages[app].add(_age_s(recorded.key, recorded.at_ms))
        for settle in committed.settled:
            if settle.n == 1 and settle.tries == 0 and settle.attempt is not None:
                self._first_delay_s.add(_age_s(settle.key, settle.attempt.at_ms))
            if settle.verdict == _DEAD:
                self._dead[settle.endpoint] += 1

    def attempt(self, endpoint: int, ended: str, took_s: float) -> None:
        """Count one try of a callback."""
        self._attempts[endpoint, ended] += 1
        self._whole_s.add(took_s)

    def connected(self, dns_ms: int, connect_ms: int, tls_ms: int) -> None:
        """Count how long one connection took to open: ms from the start of its try to the end of each phase."""
        for name, took_ms in zip(_PHASES, (dns_ms, connect_ms, tls_ms), strict=False):
            self._callback_s[name].add(took_ms / 1000)

    def commit(self, took_s: float, items: int) -> None:
        """Count one commit of the store, as long as its caller waited for it."""
        self._commit_s.add(took_s)
        self._commit_items.add(items)

    def push(self, service: str, outcome: str) -> None:
        """Count one answer of a push service."""
        self._push[service, outcome] += 1

    def sms(self, carrier: str, outcome: str) -> None:
        """Count one answer or receipt of a carrier."""
        self._sms[carrier, outcome] += 1

    def handed(self, role: str) -> None:
        """Count one word of another node's that there is work for this role."""
        self._handed[role] += 1

    def probe(self, gauge: str, ask: Probe) -> None:
        """Have ``ask`` called for the values of one of `GAUGES` whenever the metrics are read."""
        if gauge not in GAUGES:
            raise KeyError(gauge)
        self._probes[gauge] = ask

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        # The library is imported with the first scrape: it costs 40 ms, and nothing before needs it.
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> "Iterator[Metric]":
        """Yield the metrics, as `prometheus_client` asks its collectors."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        def counter(name: str, meaning: str, labels: Sequence[str], values: "_Values") -> CounterMetricFamily:
            family = CounterMetricFamily(f"homing_{name}", meaning, labels=labels)
            for key, value in values.items():
                family.add_metric(key, value)
            return family

        def histogram(
            name: str, meaning: str, labels: Sequence[str], values: "Mapping[tuple[str, ...], Distribution]"
        ) -> HistogramMetricFamily:
            family = HistogramMetricFamily(f"homing_{name}", meaning, labels=labels)
            for key, value in values.items():
                family.add_metric(key, value.buckets(), value.total)
            return family

        status = STATUSES.__getitem__
        app, endpoint = ("app",), ("endpoint",)
        accepted = _capped(((key,), value) for key, value in self._accepted.items())
        yield counter("messages_accepted", "Messages stored", app, accepted)
        said = _capped(((key, status(number)), value) for (key, number), value in self._events.items())
        yield counter("events", "Events recorded", ("app", "status"), said)
        tries = _capped(self._named(self._attempts.items()))
        yield counter("callback_attempts", "Tries of callbacks", ("endpoint", "outcome"), tries)
        phases: dict[tuple[str, ...], Distribution] = {
            (name,): taken for name, taken in self._callback_s.items()
        }
        yield histogram("callback_seconds", "How long tries took", ("phase",), phases)
        yield histogram(
            "callback_first_delay_seconds",
            "From a message's first event to the first try of its callback",
            (),
            {(): self._first_delay_s},
        )
        dead = GaugeMetricFamily("homing_callbacks_dead", "Callbacks given up since start", labels=endpoint)
        for key, value in _capped(self._named(((key,), value) for key, value in self._dead.items())).items():
            dead.add_metric(key, value)
        yield dead
        yield counter("push", "Answers of push services", ("service", "outcome"), _capped(self._push.items()))
        yield counter("sms", "Answers of carriers", ("carrier", "outcome"), _capped(self._sms.items()))
        handed = _capped(((role,), value) for role, value in self._handed.items())
        yield counter(
            "work_handed", "Words of nodes without a role that there is work for it", ("role",), handed
        )
        yield histogram("time_to_delivered_seconds", "From acceptance", app, _merged(self._delivered_s))
        yield histogram("time_to_read_seconds", "From acceptance", app, _merged(self._read_s))
        yield histogram("store_commit_seconds", "How long commits took", (), {(): self._commit_s})
        yield histogram("store_batch_items", "What one commit held", (), {(): self._commit_items})
        for name, ask in self._probes.items():
            meaning, labels = GAUGES[name]
            gauge = GaugeMetricFamily(f"homing_{name}", meaning, labels=labels)
            for key, value in _capped(ask().items()).items():
                gauge.add_metric(key, value)
            yield gauge
        build = GaugeMetricFamily("homing_build_info", "Which Homing this is", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build

    def _named(self, values: "_Samples") -> "list[tuple[tuple[Label, ...], float]]":
        return [((self._name_endpoint(int(first)), *rest), value) for (first, *rest), value in values]


_Values = Mapping[tuple[str, ...], float]
_Samples = Iterable[tuple[tuple[Label, ...], float]]


def _age_s(key: bytes, at_ms: int) -> float:
    return max(0, at_ms - int.from_bytes(key[:6], "big")) / 1000


def _capped(values: _Samples) -> _Values:
    """Let the first `LABEL_CAP` values of the first label have a line of their own, and sum up the others.

    The order is that of first sight, which does not change, so no counter ever goes down.
    """
    seen: dict[Label, str] = {}
    capped: dict[tuple[str, ...], float] = defaultdict(float)
    for labels, value in values:
        if not labels:
            capped[()] += value
            continue
        first, *rest = labels
        if first not in seen:
            seen[first] = str(first) if len(seen) < LABEL_CAP else "other"
        capped[(seen[first], *map(str, rest))] += value
    return capped


def _merged(values: Mapping[Label, Distribution]) -> Mapping[tuple[str, ...], Distribution]:
    merged: dict[tuple[str, ...], Distribution] = {}
    for number, (label, value) in enumerate(values.items()):
        name = (str(label) if number < LABEL_CAP else "other",)
        if name not in merged:
            merged[name] = Distribution(value.bounds)
        merged[name].merge(value)
    return merged
