"""How the audit trail and the Redis cache are doing, for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.reward_api.audit import AuditLog
from services.storage.redis_verdicts import RedisVerdictCache


class StorageCollector(Collector):
    """Numbers that the stores keep themselves, read when Prometheus comes by."""

    def __init__(self) -> None:
        self.audit: AuditLog | None = None
        self.redis: RedisVerdictCache | None = None

    def collect(self) -> Iterator[Metric]:
        """The numbers of this moment; those of Redis only where there is one."""
        audit, redis = self.audit, self.redis
        yield CounterMetricFamily(
            "arr_judgements_written", "Rows of the audit trail.", value=audit.num_written if audit else 0
        )
        yield CounterMetricFamily(
            "arr_judgements_dropped", "Judgements that left no row.", value=audit.num_dropped if audit else 0
        )
        yield CounterMetricFamily(
            "arr_judgements_without_images",
            "Judgements whose images should have been kept.",
            value=audit.num_without_images if audit else 0,
        )
        yield GaugeMetricFamily(
            "arr_judgements_pending", "Rows to be written.", value=audit.num_pending if audit else 0
        )
        up = GaugeMetricFamily("arr_redis_up", "1 while Redis is asked.", labels=[])
        failures = CounterMetricFamily("arr_redis_failures", "Round trips to Redis that failed.", labels=[])
        refused = CounterMetricFamily("arr_redis_refused_answers", "Answers that Redis would not store.", labels=[])
        if redis is not None:
            up.add_metric([], float(redis.is_available))
            failures.add_metric([], redis.num_failures)
            refused.add_metric([], redis.num_refused_puts)
        yield from (up, failures, refused)
