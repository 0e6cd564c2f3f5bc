"""What the service counts, for Prometheus.

The one rule: a label is drawn from a small fixed set; no run, rubric or client ever is one.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from services.reward_api.audit import AuditLog
from services.reward_api.judge_access import JudgeAccess
from services.reward_api.judge_metrics import JudgeMetrics, ReplicaCollector
from services.reward_api.load import Refusal
from services.reward_api.storage_metrics import StorageCollector
from services.storage.redis_verdicts import RedisVerdictCache
from shared_schemas.reward import RewardResponse

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Bucket bounds from a listing to a large batch on a slow judge."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}


class Metrics:
    """The metrics of one app; each app has its own registry, so that several can live in one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.judge = JudgeMetrics(registry)
        self._replicas = ReplicaCollector()
        registry.register(self._replicas)
        self._storage = StorageCollector()
        registry.register(self._storage)
        self._requests = Counter(
            "arr_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._latency = Histogram(
            "arr_http_request_seconds", "Time to answer.", ["method", "route"], registry=registry, buckets=_SECONDS
        )
        self._groups = Counter("arr_groups", "Groups by what became of them.", ["status"], registry=registry)
        self._failures = Counter("arr_group_failures", "Failed groups by reason.", ["type"], registry=registry)
        self._refusals = Counter("arr_refusals", "Requests refused for load.", ["reason"], registry=registry)

    def watch(self, *, judge: JudgeAccess, audit: AuditLog, redis: RedisVerdictCache | None) -> None:
        """Read these, too, whenever the metrics are asked for."""
        self._replicas.judge = judge
        self._storage.audit, self._storage.redis = audit, redis

    def observe_request(self, *, method: str, route: str, status: str, seconds: float) -> None:
        """Count one HTTP request; `route` is the template, never the path."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method=method, route=route, status=status).inc()
        self._latency.labels(method=method, route=route).observe(seconds)

    def observe_rewards(self, response: RewardResponse) -> None:
        """Count what became of the groups of one answer."""
        for result in response.results:
            self._groups.labels(status=result.status).inc()
            if result.error is not None:
                self._failures.labels(type=result.error.type).inc()
            for verdict in result.pairs:
                self.judge.observe_pair(verdict)

    def observe_refusal(self, reason: Refusal) -> None:
        """Count a request that was refused for load."""
        self._refusals.labels(reason=reason).inc()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
