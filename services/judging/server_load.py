"""How busy a server says it is, read off its Prometheus metrics.

The one rule: names are matched exactly, since `vllm:num_requests_waiting_by_reason` counts the same requests again.
"""

import math
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from services.judging.failures import malformed

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerLoad:
    """Requests inside a server, ours and everybody's."""

    running: int
    """In its batch."""
    waiting: int
    """In its queue."""


def read_load(text: str) -> ServerLoad | None:
    """Sum both gauges over their label sets (one per engine); None for a server without them.

    Raises `BackendError` (`judge-malformed`) for gauges that are no counts.
    """
    # Hundreds of histogram lines stand beside the few that matter, and the parser takes its time.
    lines = [line for line in text.splitlines() if line.startswith((_RUNNING, _WAITING))]
    try:
        families = list(text_string_to_metric_families("\n".join(lines) + "\n"))
    except ValueError:
        raise malformed("its metrics cannot be read") from None
    values = {name: [s.value for f in families for s in f.samples if s.name == name] for name in (_RUNNING, _WAITING)}
    if not all(values.values()):
        return None
    running, waiting = (sum(values[name]) for name in (_RUNNING, _WAITING))
    if not (0 <= running < math.inf and 0 <= waiting < math.inf):
        raise malformed("its metrics are no counts")
    return ServerLoad(running=int(running), waiting=int(waiting))
