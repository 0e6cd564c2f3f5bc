"""What is told of a measurement."""

from collections.abc import Sequence

import numpy as np


def percentiles(seconds: Sequence[float]) -> str:
    """`p50 … p99 … max … ms`."""
    p50, p99 = np.percentile(seconds, (50, 99))
    return f"p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms, max {1000 * max(seconds):.0f} ms of {len(seconds)}"
