"""What was promised of judging, beside what was measured.

Owns the numbers promised and how each is worked out. The one rule: a target that could not be measured is missed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.fairness import Fairness
from benchmarks.overload import Overload
from benchmarks.repetition import Repetition
from benchmarks.rows import Row, Way

NUM_GATHERING = 8
"""Clients with which the service is compared to a plain gather."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One promise."""

    name: str
    wanted: float
    measured: float
    """NaN = not measured."""
    unit: str = ""
    at_most: bool = False
    """Whether less is better."""

    @property
    def is_met(self) -> bool:
        """Never for NaN."""
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted


def targets_of_rows(rows: Sequence[Row]) -> list[Target]:
    """Throughput against both other ways, and what the service adds to a single pair."""
    rates = {(row.way, row.num_clients): row.rate for row in rows}
    counts = sorted({row.num_clients for row in rows})
    several = [count for count in counts if count > 1]
    found = [
        Target(
            name=f"(c) / (a), {count} at a time each",
            wanted=2,
            measured=_ratio(rates[Way.SERVICE, count], rates[Way.WRITTEN, count]),
            unit="×",
        )
        for count in counts
    ]
    found += [
        Target(
            name=f"(c) with {count} clients / (a) serial",
            wanted=10,
            measured=_ratio(rates[Way.SERVICE, count], rates[Way.WRITTEN, 1]),
            unit="×",
        )
        for count in several
    ]
    gather = min(several, key=lambda count: abs(count - NUM_GATHERING))
    both = (rates[Way.SERVICE, gather], rates[Way.GATHER, gather])
    found.append(Target(name=f"(c) / (b), {gather} clients", wanted=0.9, measured=_ratio(*both), unit="×"))
    added = Target(name="added p50, one client", wanted=5, measured=added_ms(rows), unit=" ms", at_most=True)
    return [*found, added]


def added_ms(rows: Sequence[Row]) -> float:
    """What the service adds to one pair, one client: median milliseconds, images and transport left out.

    Its queue, judge and overhead, less what a plain gather of the same two questions takes.
    """
    by_way = {row.way: row for row in rows if row.num_clients == 1}
    split, floor = by_way[Way.SERVICE].split, by_way[Way.GATHER].latency
    if split is None or floor is None:
        return math.nan
    return split.queue + split.judge + split.overhead - floor.p50


def targets_of_fairness(results: Sequence[Fairness]) -> list[Target]:
    """Jain's index."""
    return [
        Target(
            name=f"Jain, {len(result.shares)} clients, {'/'.join(map(str, result.batch_sizes))} pairs each time",
            wanted=0.95,
            measured=result.index,
        )
        for result in results
    ]


def targets_of_repetition(result: Repetition) -> list[Target]:
    """How much faster, and whether the judge was left alone."""
    calls = Target(name="judge calls of a repeat", wanted=0, measured=result.judge_calls, at_most=True)
    return [
        Target(name="repeated batch", wanted=50, measured=result.speed_up, unit="× as fast"),
        Target(
            name="repeated batch, less images and transport",
            wanted=50,
            measured=result.speed_up_of_judging,
            unit="× as fast",
        ),
        calls,
    ]


def targets_of_overload(result: Overload) -> list[Target]:
    """What is left of the capacity, how soon the rest is told so, how soon it is over."""
    refusal = math.nan if result.refusal is None else result.refusal.p99
    return [
        Target(name="goodput under overload", wanted=0.9, measured=result.kept, unit=" of capacity"),
        Target(name="refusals p99, as the sender sees it", wanted=10, measured=refusal, unit=" ms", at_most=True),
        Target(name="recovery", wanted=5, measured=result.recovery_seconds, unit=" s", at_most=True),
    ]


def _ratio(measured: float, of: float) -> float:
    return measured / of if of else math.nan
