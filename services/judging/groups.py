"""From verdicts on pairs, or from scores, to how a whole group stands, and from there to rewards. Pure functions.

Owns ties and ranks among more than two candidates and what a reward scheme makes of them. Refuses to know about
requests, failures or the judge.

Candidate i has a strength s_i, and the margin of a pair measures a difference of strengths: m_ij ≈ s_i − s_j
(Bradley–Terry on log-odds). The strengths are the least-squares fit over the pairs that were judged,

    minimise Σ (s_i − s_j − m_ij)²  with  Σ s_i = 0,   solved by   (L + J) s = r,   r_i = Σ_j m_ij

where L is the Laplacian of the graph of judged pairs and J is all ones: regular exactly when the graph is connected.

The one rule: strengths are exact fractions and sums are rounded once, so that the order in which candidates are listed
never shows in a result, and a group of two follows its one margin to the last bit.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from services.judging.verdicts import Verdict, is_tie, sigmoid
from shared_schemas.reward import RewardScheme, Scheme

PairOfIndices: TypeAlias = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The verdict on two candidates of a group."""

    first: int
    """Index of the candidate that a positive margin prefers."""
    second: int
    """Index of the other."""
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How the K candidates of a group stand to each other."""

    strengths: tuple[Fraction, ...]
    """[K] Larger is better: nats (pairs), score (scores), wins over losses (choices)."""
    ranks: tuple[float, ...]
    """[K] 1 = best; candidates within the tie band of the best of their class share the mean of their ranks."""
    judged: Mapping[PairOfIndices, float]
    """(i, j) → by how much i is better than j, for both directions of each judged pair."""
    tie_band: float
    """Differences below it count as 0."""
    has_margins: bool
    """False when all that is known is who won, so that neither margins nor probabilities follow."""

    @property
    def is_tied(self) -> bool:
        """Whether all candidates share one rank."""
        return len(set(self.ranks)) == 1

    def margin(self, i: int, j: int) -> float:
        """By how much i is better than j: what was judged, else the difference of the strengths; 0 for a tie."""
        judged = self.judged.get((i, j))
        margin = float(self.strengths[i] - self.strengths[j]) if judged is None else judged
        return 0.0 if is_tie(margin, self.tie_band) else margin


def standing_of_pairs(num_candidates: int, comparisons: Sequence[Comparison], *, tie_margin: float) -> Standing | None:
    """Where each candidate stands by the pairs that were judged; None when these do not connect all candidates.

    A pair inside the tie band (`tie_margin`, nats) counts as margin 0. When some verdict has no margin, every pair
    counts +1 or −1 for its winner and only equal strengths tie.
    """
    if not connects(num_candidates, [(pair.first, pair.second) for pair in comparisons]):
        return None
    has_margins = all(pair.verdict.margin is not None for pair in comparisons)
    tie_band = tie_margin if has_margins else 0.0
    judged = {}
    for pair in comparisons:
        margin = _counted(pair.verdict, tie_margin=tie_margin, has_margins=has_margins)
        judged[pair.first, pair.second] = margin
        judged[pair.second, pair.first] = -margin
    strengths = least_squares_strengths(num_candidates, judged)
    ranks = tie_aware_ranks(strengths, tie_band=tie_band)
    return Standing(strengths=strengths, ranks=ranks, judged=judged, tie_band=tie_band, has_margins=has_margins)


def standing_of_scores(scores: Sequence[float], *, tie_score: float) -> Standing:
    """Where each candidate stands by its own score; differences inside the tie band count as 0."""
    strengths = tuple(Fraction(score) for score in scores)
    ranks = tie_aware_ranks(strengths, tie_band=tie_score)
    return Standing(strengths=strengths, ranks=ranks, judged={}, tie_band=tie_score, has_margins=True)


def weighted_score(scores: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Σ weight × score over the criteria; weights count as they stand. Raises `KeyError` for one without a score."""
    return math.fsum(weight * scores[criterion] for criterion, weight in weights.items())


def connects(num_candidates: int, pairs: Collection[PairOfIndices]) -> bool:
    """Whether every candidate can be reached from every other one along these pairs."""
    reached, frontier = {0}, {0}
    while frontier:
        frontier = {j for pair in pairs for i, j in (pair, pair[::-1]) if i in frontier} - reached
        reached |= frontier
    return len(reached) == num_candidates


def least_squares_strengths(num_candidates: int, margins: Mapping[PairOfIndices, float]) -> tuple[Fraction, ...]:
    """[K] strengths with sum 0 that explain the margins best; `margins` holds both (i, j) and (j, i) of each pair.

    Gauss–Jordan elimination on (L + J | r) in exact arithmetic. The matrix is positive definite for pairs that connect
    all candidates, so no pivot is 0. Raises `ZeroDivisionError` for others.
    """
    rows = [[Fraction(1)] * num_candidates + [Fraction(0)] for _ in range(num_candidates)]
    for (i, j), margin in margins.items():
        rows[i][i] += 1
        rows[i][j] -= 1
        rows[i][-1] += Fraction(margin)
    for column, pivot in enumerate(rows):
        for row in rows:
            if row is not pivot and row[column]:
                factor = row[column] / pivot[column]
                row[:] = [value - factor * above for value, above in zip(row, pivot, strict=True)]
    return tuple(row[-1] / row[index] for index, row in enumerate(rows))


def tie_aware_ranks(strengths: Sequence[Fraction], *, tie_band: float) -> tuple[float, ...]:
    """[K] ranks, 1 = best. A class begins `tie_band` or more below the best of the class before; its members share."""
    order = sorted(range(len(strengths)), key=lambda index: strengths[index], reverse=True)
    classes: list[list[int]] = []
    for index in order:
        if classes and is_tie(float(strengths[classes[-1][0]] - strengths[index]), tie_band):
            classes[-1].append(index)
        else:
            classes.append([index])
    ranks, num_better = [0.0] * len(strengths), 0
    for members in classes:
        for index in members:
            ranks[index] = num_better + (len(members) + 1) / 2
        num_better += len(members)
    return tuple(ranks)


def comparative_rewards(standing: Standing, reward: RewardScheme, *, temperature: float = 1.0) -> tuple[float, ...]:
    """[K] rewards of a group of two or more by any scheme that compares, which is all but `score`.

    `binary` is `rank` with two candidates: linear from `preferred` at rank 1 to `dispreferred` at rank K (RPO, arXiv
    2605.08354). `win_rate` is the mean over the others of sigmoid(margin / temperature), `margin` that of the margin
    itself. Raises `ValueError` for `score`, and for margins and probabilities where only winners are known.
    """
    match reward.scheme:
        case Scheme.BINARY | Scheme.RANK:
            return tuple(_by_rank(rank, len(standing.ranks), reward) for rank in standing.ranks)
        case Scheme.WIN_RATE if standing.has_margins:
            return _means_over_others(standing, lambda margin: sigmoid(margin / temperature))
        case Scheme.MARGIN if standing.has_margins:
            return _means_over_others(standing, float)
    raise ValueError(f"{reward.scheme.value} rewards do not follow from how the candidates stand to each other")


def _counted(verdict: Verdict, *, tie_margin: float, has_margins: bool) -> float:
    """What a verdict counts in the fit."""
    if verdict.margin is None or not has_margins:
        return float(verdict.preferred)
    return 0.0 if is_tie(verdict.margin, tie_margin) else verdict.margin


def _means_over_others(standing: Standing, value: Callable[[float], float]) -> tuple[float, ...]:
    everybody = range(len(standing.ranks))
    others = [[j for j in everybody if j != i] for i in everybody]
    return tuple(math.fsum(value(standing.margin(i, j)) for j in others[i]) / len(others[i]) for i in everybody)


def _by_rank(rank: float, num_candidates: int, reward: RewardScheme) -> float:
    """`preferred` at rank 1, `dispreferred` at the last, both exactly."""
    share = (rank - 1) / (num_candidates - 1)
    return (1 - share) * reward.preferred + share * reward.dispreferred
