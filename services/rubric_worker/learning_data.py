"""What a learning job learns from: a dataset's rows, shared out, and whether there is enough in them.

The one rule: what can be known to be too little is said before anybody is asked anything.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.judging.writing import Assignment
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.labelled_pairs import pairs_of
from services.rubric_worker.methods.labels import LearningRow, ScoreRange, learning_rows, score_range
from services.storage.datasets import DatasetRepository
from services.storage.splits import Part, Splits, prompt_key, split
from shared_schemas.autorubric import AutoRubricParameters
from shared_schemas.datasets import Dataset, DatasetRow
from shared_schemas.learning import ArrParameters, LearnFailure, LearnRequest
from shared_schemas.rubrics import Mode, json_digest

MIN_LABELS = 2
"""Below that, whatever is learned would be about one pair."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningData:
    """The rows of a dataset, by what they may be used for."""

    dataset: Dataset
    splits: Splits
    about: Assignment
    train: tuple[LearningRow, ...]
    validation: tuple[LearningRow, ...]
    held_out: tuple[DatasetRow, ...]
    """What the set must prove itself on: nothing is learned from these rows. A method that chooses between sets by the
    validation part proves nothing there."""

    def provenance(self) -> Mapping[str, Any]:
        """What a version says of it."""
        return {
            "dataset": self.dataset.digest,
            "splits": {part.value: _described(self.splits.rows_of(part)) for part in Part},
        }


async def load(request: LearnRequest, datasets: DatasetRepository, *, tenant: str) -> LearningData:
    """Read and share out.

    Raises `JobFailedError`: `dataset-gone`, `task-mismatch`, `scores-out-of-range`, `all-ties`, `too-few-pairs`.
    """
    dataset = await datasets.get(request.dataset, tenant=tenant)
    if dataset is None:
        raise JobFailedError(
            LearnFailure.DATASET_GONE, f"there is no dataset {request.dataset} any more; upload it again"
        )
    if request.task not in {None, dataset.task}:
        raise JobFailedError(
            LearnFailure.TASK_MISMATCH,
            f"the dataset is for {dataset.task.value}; ask for that, or for no task at all",
        )
    rows = await datasets.rows(dataset.id)
    return await asyncio.to_thread(_checked, request, dataset, rows)


def _checked(request: LearnRequest, dataset: Dataset, rows: Sequence[DatasetRow]) -> LearningData:
    data = _shared_out(request, dataset, rows)
    _check(data, request)
    return data


def _shared_out(request: LearnRequest, dataset: Dataset, rows: Sequence[DatasetRow]) -> LearningData:
    options = request.parameters
    splits = split(rows, seed=request.seed, fractions=options.fractions)
    scores = None  # the method `autorubric_t2i` learns from pairs alone
    if isinstance(options, ArrParameters):
        scores = score_range(rows, lowest=options.min_score, highest=options.max_score)
        _check_scores(rows, scores)
    about = Assignment(
        task=dataset.task,
        mode=request.mode,
        language=options.language,
        task_description=options.task_description,
        min_score=None if scores is None else scores.lowest,
        max_score=None if scores is None else scores.highest,
    )
    train, validation = (
        learning_rows(part, mode=request.mode, scores=scores) for part in (splits.train, splits.validation)
    )
    held_out = splits.test if isinstance(options, AutoRubricParameters) else splits.validation + splits.test
    return LearningData(
        dataset=dataset, splits=splits, about=about, train=train, validation=validation, held_out=held_out
    )


def _check_scores(rows: Sequence[DatasetRow], given: ScoreRange | None) -> None:
    """Raise `JobFailedError` for scores that nobody could have given."""
    found = score_range(rows, lowest=None, highest=None)
    if found is None or given is None or given.lowest <= found.lowest <= found.highest <= given.highest:
        return
    raise JobFailedError(
        LearnFailure.SCORES_OUT_OF_RANGE,
        f"the data has scores from {found.lowest:g} to {found.highest:g}, which are not within `min_score` and "
        f"`max_score` ({given.lowest:g} to {given.highest:g}); give the whole range, or leave it to the data",
    )


def _check(data: LearningData, request: LearnRequest) -> None:
    """Raise `JobFailedError` for data that nothing can be learned from, or nothing shown with."""
    mode = request.mode
    num_labels = sum(len(row.known) for row in data.train)
    if not num_labels and data.dataset.num_ties and data.dataset.num_ties == data.dataset.num_pairs:
        detail = f"people call all {data.dataset.num_ties} pairs a tie, which says nothing; label pairs that differ"
        raise JobFailedError(LearnFailure.ALL_TIES, detail)
    if num_labels < MIN_LABELS:
        hint = "" if mode is Mode.POINTWISE else "; images that are scored alone count in the mode `pointwise`"
        raise JobFailedError(
            LearnFailure.TOO_FEW_PAIRS,
            f"{num_labels} labelled pairs that are no ties fall to the training part, and {MIN_LABELS} are the least "
            f"there is to learn from; label more{hint}",
        )
    num_prompts, num_needed = _num_held_out_prompts(data), _least_prompts(request.parameters.significance)
    if num_prompts < num_needed and not request.publish_anyway:
        raise JobFailedError(
            LearnFailure.TOO_FEW_PAIRS,
            f"{num_prompts} prompts with a preference are held out, and with fewer than {num_needed} no gain is "
            f"significant at {request.parameters.significance:g}; label more prompts, hold out a larger share, or ask "
            "to publish anyway",
        )


def _num_held_out_prompts(data: LearningData) -> int:
    """Prompts on which the set can prove itself."""
    return len({prompt_key(one.pair.prompt) for one in pairs_of(data.held_out) if one.label != 0})


def _least_prompts(significance: float) -> int:
    """n with 2⁻ⁿ ≤ significance: the p-value when a sign test is won on every prompt."""
    return max(1, math.ceil(-math.log2(significance)))


def _described(rows: Sequence[DatasetRow]) -> Mapping[str, Any]:
    return {"rows": len(rows), "digest": json_digest(sorted(row.digest for row in rows))}
