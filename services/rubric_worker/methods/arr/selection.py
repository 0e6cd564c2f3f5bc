"""Selecting a few criteria of many: those that say most together.

Owns the greedy choice and when to stop. The one rule: gains are compared with the first gain, never with a constant,
because they scale with the number of dimensions.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.rubric_worker.methods.arr.candidates import Candidate, without_likes
from services.rubric_worker.methods.arr.coding_rate import CodingRate, coding_rate
from services.rubric_worker.methods.embeddings import Embedder, Matrix, reduced

NEAR_SHARE = 0.95
"""Gains from this share of the largest on are as good as it; the criterion that was verified on most is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What was selected, out of how many."""

    chosen: tuple[Candidate, ...]
    num_candidates: int
    """Those that say something of their own."""


async def select(
    candidates: Sequence[Candidate], embedder: Embedder, *, max_criteria: int, min_relative_gain: float, seed: int
) -> Selection:
    """At most `max_criteria`, until the next would add less than `min_relative_gain` of what the first added.

    `seed` decides between criteria that are equal in all else. Raises what the embedder raises.
    """
    vectors = await embedder.embed([candidate.criterion.statement for candidate in candidates])

    def choose() -> Selection:
        different, places = without_likes(candidates, vectors)
        lots = np.random.default_rng(seed).permutation(len(different))
        chosen = greedy_choice(
            reduced(vectors[places]),
            preference=[(-candidate.support, int(lot)) for candidate, lot in zip(different, lots, strict=True)],
            max_rows=max_criteria,
            min_relative_gain=min_relative_gain,
        )
        return Selection(chosen=tuple(different[index] for index in chosen), num_candidates=len(different))

    return await asyncio.to_thread(choose)


def greedy_choice(
    rows: Matrix, *, preference: Sequence[tuple[int, int]], max_rows: int, min_relative_gain: float
) -> list[int]:
    """Places of rows [n, d] of unit length in the order in which they are chosen.

    Of those whose gains are as good as the largest, the one with the smallest `preference` is taken.
    """
    rate = CodingRate(rows.shape[1], num_candidates=len(rows))
    chosen: list[int] = []
    first_gain = 0.0
    left = list(range(len(rows)))
    while left and len(chosen) < max_rows:
        gains = rate.gains(rows[left])
        best = float(gains.max())
        first_gain = first_gain or best
        if best < min_relative_gain * first_gain or best == 0:
            break
        near = [place for place, gain in zip(left, gains, strict=True) if gain >= NEAR_SHARE * best]
        taken = min(near, key=lambda place: preference[place])
        rate.add(rows[taken])
        chosen.append(taken)
        left.remove(taken)
    return chosen


async def relative_growth(first: Sequence[str], before: Sequence[str], now: Sequence[str], embedder: Embedder) -> float:
    """By how much the statements `now` have a greater coding rate than those `before`, as a share of that of `first`.

    `now` begins with `before`, and `before` with `first`; 0 without any. Raises what the embedder raises.
    """
    if not first or len(now) == len(before):
        return 0.0
    vectors = await embedder.embed(now)

    def growth() -> float:
        rows = reduced(vectors)
        of_first, of_before, of_now = (
            coding_rate(rows[: len(statements)], num_candidates=len(now)) for statements in (first, before, now)
        )
        return (of_now - of_before) / of_first

    return await asyncio.to_thread(growth)
