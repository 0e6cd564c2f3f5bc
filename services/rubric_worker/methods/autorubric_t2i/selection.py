"""From score differences to a sparse weighted set: who has a weight, who is kept, and who points the wrong way.

Owns which rows and criteria count, the strength of the penalty, and the Top-N. Pure: numbers in, numbers out.

The one rule: a missing score is no number. What has too many gaps goes, criteria before pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.rubric_worker.evaluation.columns import Flags, Numbers
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.methods.autorubric_t2i.regularisation_path import RegularisationPath, weigh
from shared_schemas.autorubric import AutoRubricParameters
from shared_schemas.learning import LearnFailure

MIN_PAIRS = 4
"""Pairs with scores that weights can be fitted and tried on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """The part of the differences that has no gaps."""

    rows: Flags
    """[n] pairs that count."""
    columns: Flags
    """[p] criteria that count."""
    answered_shares: Numbers
    """[p] share of the pairs with any answer for which each criterion has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What came of one fit. Criteria are known by their places among all p candidates."""

    block: Block
    path: RegularisationPath
    """Weights [counting criteria] at every strength of the penalty, and which of them were taken."""
    weights: Numbers
    """[p] rounded; 0 for criteria that do not count."""
    kept: tuple[int, ...]
    """The Top-N, largest weight first."""
    negative: tuple[int, ...]
    """Weights below 0 by at least as much as the smallest kept one, largest first."""

    def margins(self, differences: Numbers) -> Numbers:
        """[m] by how much the kept criteria prefer the image that people prefer; NaN where a score is missing."""
        places = list(self.kept)
        margins: Numbers = differences[:, places] @ self.weights[places]
        return margins


def select(differences: Numbers, clusters: Sequence[str], options: AutoRubricParameters, *, seed: int) -> Selection:
    """Weigh the criteria by `differences` [n, p], NaN = missing; `clusters` [n] are the prompts.

    Raises `JobFailedError`: `nothing-scored`, `too-few-pairs`, `nothing-selected`.
    """
    block = complete_block(differences, min_share=options.min_answered_share)
    whole = differences[np.ix_(block.rows, block.columns)]
    if not whole.any():
        raise _nothing_selected("the judge gives both images of every pair the same scores")
    path = weigh(whole, clusters_of(block, clusters), options, seed=seed)
    weights = spread(path.chosen, block.columns)
    kept = largest(weights, at_most=options.max_criteria)
    if not kept:
        raise _nothing_selected(f"no criterion has a positive weight at C = {path.chosen_c:g}")
    return Selection(
        block=block,
        weights=weights,
        kept=kept,
        negative=tuple(place for place in largest(-weights) if -weights[place] >= weights[kept[-1]]),
        path=path,
    )


def complete_block(differences: Numbers, *, min_share: float) -> Block:
    """Rows and columns without gaps: `min_share` of the rows at least, and as many columns as leave those.

    Columns with most gaps go first; rows without any answer count for nothing. Raises `JobFailedError`.
    """
    answered = ~np.isnan(differences)
    any_answer = answered.any(axis=1)
    num_rows = int(any_answer.sum())
    shares = answered[any_answer].mean(axis=0) if num_rows else np.zeros(differences.shape[1])
    columns = shares >= min_share
    while columns.any():
        rows = any_answer & answered[:, columns].all(axis=1)
        if rows.sum() >= min_share * num_rows:
            if rows.sum() < MIN_PAIRS:
                detail = f"{rows.sum()} pairs have scores, and {MIN_PAIRS} are the least that weights can be fitted to"
                raise JobFailedError(LearnFailure.TOO_FEW_PAIRS, f"{detail}; label more")
            return Block(rows=np.asarray(rows), columns=columns, answered_shares=shares)
        columns[int(np.argmin(np.where(columns, shares, np.inf)))] = False
    raise JobFailedError(
        LearnFailure.NOTHING_SCORED,
        f"the judge answers none of {differences.shape[1]} criteria for {min_share:.0%} of the pairs; look at what it "
        "says (`arr judge-check`), or lower `min_answered_share`",
    )


def largest(weights: Numbers, *, at_most: int | None = None) -> tuple[int, ...]:
    """Places of the positive weights, largest first, and of equal ones the first one first."""
    order = np.argsort(-weights, kind="stable")
    return tuple(int(place) for place in order if weights[place] > 0)[:at_most]


def accuracy(margins: Numbers) -> float | None:
    """Share of pairs that are ranked as people rank them, half for those ranked equal; None without any."""
    known = margins[~np.isnan(margins)]
    return None if len(known) == 0 else float(np.mean((np.sign(known) + 1) / 2))


def clusters_of(block: Block, clusters: Sequence[str]) -> list[str]:
    """The prompts of the rows that count."""
    return [cluster for cluster, counts in zip(clusters, block.rows, strict=True) if counts]


def spread(values: Numbers, columns: Flags) -> Numbers:
    """[p] from values of the columns that count, 0 for others."""
    spread = np.zeros(len(columns))
    spread[columns] = values
    return spread


def _nothing_selected(why: str) -> JobFailedError:
    return JobFailedError(
        LearnFailure.NOTHING_SELECTED,
        f"{why}, so none explains what people prefer; look at the labels, ask for more criteria "
        "(`criteria_per_pair`), or use a stronger judge",
    )
