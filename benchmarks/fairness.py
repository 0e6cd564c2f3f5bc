"""Who gets how much of a judge that cannot serve everybody.

The one rule: pairs are credited evenly over the time that their request took, and those of a request that reaches
beyond the window in part. Otherwise clients with large requests would seem to get more or less by chance.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.closed_loop import Window
from benchmarks.measures import jain
from benchmarks.questions import Supply
from benchmarks.through_service import Trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class Fairness:
    """Shares of the judge over a window in which everybody always wants more."""

    batch_sizes: tuple[int, ...]
    """Pairs per request; the clients take turns with these."""
    shares: tuple[float, ...]
    """Pairs per client."""

    @property
    def index(self) -> float:
        """Jain's."""
        return jain(self.shares)

    def share_of_batches(self, size: int) -> float:
        """Mean pairs of the clients that ask so many at a time."""
        shares = [share for number, share in enumerate(self.shares) if self._batch_size(number) == size]
        return sum(shares) / len(shares)

    def _batch_size(self, number: int) -> int:
        return self.batch_sizes[number % len(self.batch_sizes)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """One request, seconds of the monotonic clock."""

    begun: float
    ended: float
    num_pairs: int

    def pairs_within(self, start: float, end: float) -> float:
        overlap = min(self.ended, end) - max(self.begun, start)
        return self.num_pairs * max(0.0, overlap) / (self.ended - self.begun)


async def measure_fairness(
    trainers: Sequence[Trainer], supply: Supply, window: Window, *, batch_sizes: tuple[int, ...]
) -> Fairness:
    """Let every client ask in a loop, as much at a time as its batch size says. Raises what a client raises."""
    start = time.monotonic() + window.warm_up.total_seconds()
    end = start + window.measured.total_seconds()

    async def share(trainer: Trainer, batch_size: int) -> float:
        pairs = 0.0
        while (begun := time.monotonic()) < end:
            await trainer.ask(supply.pairs(batch_size))
            pairs += _Span(begun=begun, ended=time.monotonic(), num_pairs=batch_size).pairs_within(start, end)
        return pairs

    sizes = [batch_sizes[number % len(batch_sizes)] for number in range(len(trainers))]
    shares = await asyncio.gather(*(share(trainer, size) for trainer, size in zip(trainers, sizes, strict=True)))
    return Fairness(batch_sizes=batch_sizes, shares=tuple(shares))
