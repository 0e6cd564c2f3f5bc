"""`GET /metrics` as vLLM has it: the few gauges that a scheduler reads."""

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from services.judging.pixel_judge.capacity import Places

_LABELS = ("engine", "model_name")


class Metrics:
    """Prometheus text about the places of one pixel judge."""

    def __init__(self, places: Places, *, model: str) -> None:
        self._registry = CollectorRegistry()

        def gauge(name: str, what: str, *more_labels: str) -> Gauge:
            return Gauge(f"vllm:{name}", what, (*_LABELS, *more_labels), registry=self._registry)

        labels = {"engine": "0", "model_name": model}
        running = gauge("num_requests_running", "Requests that are worked on.")
        running.labels(**labels).set_function(lambda: places.num_running)
        waiting = gauge("num_requests_waiting", "Requests in line.")
        waiting.labels(**labels).set_function(lambda: places.num_waiting)
        # vLLM has this one too: whoever matches names by their beginning counts twice, or reads 0.
        by_reason = gauge("num_requests_waiting_by_reason", "Requests in line, by reason.", "reason")
        by_reason.labels(**labels, reason="capacity").set_function(lambda: places.num_waiting)
        by_reason.labels(**labels, reason="deferred").set(0)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self._registry)
