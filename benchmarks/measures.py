"""Samples and what is made of them: rates, percentiles, fairness. Pure functions of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared_schemas.reward import Timing


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One request that was answered."""

    num_pairs: int
    num_failed: int = 0
    """Pairs without a verdict."""
    judge_calls: int
    seconds: float
    """As its sender saw it."""
    timing: Timing | None = None
    """What the service says of it."""
    num_unread: int = 0
    """Written answers that were cut off before the rank."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Where the time of a request to the service goes: medians, milliseconds."""

    transport: float
    """To the service and back, and the client's own work: all that the service does not see."""
    decode: float
    """Decoding, checking and hashing images."""
    overhead: float
    """The rest of the service outside the judge: parsing, admission, rubric, answer."""
    queue: float
    """Waiting for a slot at the judge."""
    judge: float
    """Both orders, with the request to the judge and its answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Of one request; milliseconds."""

    p50: float
    p99: float


def latency_of(seconds: Sequence[float]) -> Latency | None:
    """None without any."""
    if not seconds:
        return None
    p50, p99 = np.percentile(seconds, (50, 99))
    return Latency(p50=1000 * float(p50), p99=1000 * float(p99))


def split_of(samples: Sequence[Sample]) -> Split | None:
    """None for those that did not go through the service."""
    told = [(1000 * sample.seconds, sample.timing) for sample in samples if sample.timing is not None]
    if not told:
        return None
    return Split(
        transport=_median([wall_ms - timing.total_ms for wall_ms, timing in told]),
        decode=_median([timing.decode_ms for _, timing in told]),
        overhead=_median([timing.overhead_ms for _, timing in told]),
        queue=_median([timing.queue_ms for _, timing in told]),
        judge=_median([timing.judge_ms for _, timing in told]),
    )


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index (Σx)² / (n·Σx²): 1 when all have the same, 1/n when one has all. 0 of nothing."""
    squares = len(shares) * sum(share * share for share in shares)
    return sum(shares) ** 2 / squares if squares else 0.0


def per_thousand(cpu_seconds: Mapping[str, float], num_pairs: int) -> dict[str, float]:
    """CPU seconds per 1,000 pairs, by process."""
    return {name: 1000 * seconds / num_pairs for name, seconds in cpu_seconds.items()} if num_pairs else {}


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
