"""The same request again: what a retry, a resumed run or another rank pays."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measures import Sample, split_of
from benchmarks.questions import Pair
from benchmarks.through_service import Trainer

_NUM_REPEATS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Repetition:
    """One batch, asked for the first time and then again; milliseconds."""

    num_pairs: int
    first_ms: float
    again_ms: float
    """Median of several."""
    again_decode_ms: float
    """The part of it that goes into decoding, checking and hashing the images."""
    again_transport_ms: float
    """The part of it that the service does not see."""
    judge_calls: int
    """For all of the repeats together."""

    @property
    def speed_up(self) -> float:
        """As the client sees it."""
        return self.first_ms / self.again_ms

    @property
    def speed_up_of_judging(self) -> float:
        """Without what both have in common: images and transport."""
        shared = self.again_decode_ms + self.again_transport_ms
        return (self.first_ms - shared) / max(self.again_ms - shared, 1e-3)


async def measure_repetition(trainer: Trainer, pairs: Sequence[Pair]) -> Repetition:
    """Ask for `pairs` in one request, and again."""
    first = await trainer.ask(pairs)
    again: list[Sample] = []
    for _ in range(_NUM_REPEATS):
        await asyncio.sleep(0.05)  # what the first left to be written behind is not this one's cost
        again.append(await trainer.ask(pairs))
    split = split_of(again)
    assert split is not None, "the service tells its timing"
    return Repetition(
        num_pairs=len(pairs),
        first_ms=1000 * first.seconds,
        again_ms=1000 * median(sample.seconds for sample in again),
        again_decode_ms=split.decode,
        again_transport_ms=split.transport,
        judge_calls=sum(sample.judge_calls for sample in again),
    )
