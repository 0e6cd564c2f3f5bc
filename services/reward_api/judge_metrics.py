"""What the judge did, for Prometheus: the `JudgeObserver` of the service, and the state of every replica when asked.

The one rule: `replica` is the only open label, one `host:port` per configured judge URL.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.judging.observer import AnswerSource
from services.reward_api.judge_access import JudgeAccess
from shared_schemas.problems import FailureType
from shared_schemas.reward import PairVerdict

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_QUEUE_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
_MASS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


class JudgeMetrics:
    """Counts calls, answers and verdicts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "arr_judge_call_seconds", "Judge calls.", ["replica"], registry=registry, buckets=_SECONDS
        )
        self._failures = Counter(
            "arr_judge_call_failures", "Calls that failed.", ["replica", "type"], registry=registry
        )
        self._queue = Histogram(
            "arr_judge_queue_seconds", "Calls waiting for a slot.", registry=registry, buckets=_QUEUE_SECONDS
        )
        self._answers = Counter("arr_answers", "Answers by where they came from.", ["source"], registry=registry)
        self._tokens = Counter("arr_judge_tokens", "Tokens read and written.", ["kind"], registry=registry)
        self._mass = Histogram("arr_label_mass", "Label mass of answers.", registry=registry, buckets=_MASS)
        self._pairs = Counter("arr_pairs", "Pairs by whether both orders agree.", ["agreement"], registry=registry)
        self._bias = Summary("arr_position_bias_nats", "Position bias of pairs.", registry=registry)
        self.drift = Gauge("arr_judge_canary_drift_nats", "Largest change of a canary pair.", registry=registry)

    def call_ended(self, *, replica: str, seconds: float, failure: FailureType | None) -> None:
        """Count a call and how it went."""
        self._seconds.labels(replica=replica).observe(seconds)
        if failure is not None:
            self._failures.labels(replica=replica, type=failure).inc()

    def call_dispatched(self, *, queue_seconds: float) -> None:
        """Count a wait for a slot."""
        self._queue.observe(queue_seconds)

    def answered(self, source: AnswerSource, *, label_mass: float | None) -> None:
        """Count an answer."""
        self._answers.labels(source=source).inc()
        if label_mass is not None:
            self._mass.observe(label_mass)

    def tokens_spent(self, *, prompt: int, completion: int) -> None:
        """Count tokens."""
        self._tokens.labels(kind="prompt").inc(prompt)
        self._tokens.labels(kind="completion").inc(completion)

    def observe_pair(self, verdict: PairVerdict) -> None:
        """Count a verdict of one answer."""
        agreement = {True: "consistent", False: "inconsistent", None: "one-order"}[verdict.consistent]
        self._pairs.labels(agreement=agreement).inc()
        if verdict.position_bias is not None:
            self._bias.observe(verdict.position_bias)


class ReplicaCollector(Collector):
    """Gauges of the judge and its replicas, read when Prometheus comes by."""

    def __init__(self) -> None:
        self.judge: JudgeAccess | None = None
        """Set when the app has started."""

    def collect(self) -> Iterator[Metric]:
        """The gauges of this moment."""
        states = [] if self.judge is None else self.judge.replicas()
        up = GaugeMetricFamily("arr_judge_replica_up", "1 while it may be asked.", labels=["replica"])
        in_flight = GaugeMetricFamily("arr_judge_in_flight", "Calls it works on.", labels=["replica"])
        window = GaugeMetricFamily("arr_judge_window", "Calls it may be given at once.", labels=["replica"])
        for state in states:
            up.add_metric([state.name], float(state.is_available))
            in_flight.add_metric([state.name], state.in_flight)
            window.add_metric([state.name], state.window)
        num_queued = 0 if self.judge is None else self.judge.num_queued_calls
        num_changes = 0 if self.judge is None else self.judge.num_changes
        queued = GaugeMetricFamily("arr_judge_queued_calls", "Calls waiting for a slot.", value=num_queued)
        changes = CounterMetricFamily("arr_judge_changes", "Times another judge was found.", value=num_changes)
        yield from (up, in_flight, window, queued, changes)
