"""The method `autorubric_t2i`, measured: what each round asks, and how long and how large the selection is.

Owns what is counted. The one rule: a question is one criterion about one image, whoever answers it.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.learning_place import Learned, Way, open_place
from benchmarks.memory import Memory, in_new_process
from services.rubric_worker.methods.autorubric_t2i.selection import select
from shared_schemas.autorubric import AutoRubricParameters, LearningRound
from shared_schemas.jobs import Job
from shared_schemas.learning import LearnRequest, LearnResult, Method
from shared_schemas.rubrics import MAX_CRITERIA

_NUM_TRUE = 10
"""Criteria that made-up labels follow."""
_NOISE = 0.5
"""Scale of the logistic noise in them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundCost:
    """What one round asked."""

    number: int
    num_criteria: int
    """Weighed in it."""
    num_new: int
    """Those of them that it added."""
    questions: int
    """Answers that its fit and its check on the validation part are made of."""
    judge_calls: int
    """Those that were paid for."""
    writing_calls: int
    """Of the model that writes, paid for: the new criteria."""
    seconds: float

    @property
    def remembered(self) -> int:
        """Answers that were there already."""
        return self.questions - self.judge_calls


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionCost:
    """One selection, from score differences to the weighted set."""

    num_pairs: int
    num_criteria: int
    num_kept: int
    seconds: float
    memory: Memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighing:
    """All that is measured of the method."""

    built: Learned
    again: Learned
    memory: Memory
    """Of the worker that learned both; its judge is another process."""
    rounds: tuple[RoundCost, ...]
    """Of `built`."""
    selection: SelectionCost


async def measure_weighing(
    folder: Path, judge_url: str, parameters: AutoRubricParameters, *, size: tuple[int, int]
) -> Weighing:
    """Learn a set twice in `folder`, and select from made-up scores: `size` = pairs, criteria."""
    (built, again), memory = await asyncio.to_thread(in_new_process, _learn_twice, folder, judge_url, parameters)
    (seconds, num_kept), of_selection = await asyncio.to_thread(in_new_process, _select, *size)
    return Weighing(
        built=built,
        again=again,
        memory=memory,
        rounds=tuple(rounds_of(built.job)),
        selection=SelectionCost(
            num_pairs=size[0], num_criteria=size[1], num_kept=num_kept, seconds=seconds, memory=of_selection
        ),
    )


def rounds_of(job: Job) -> Iterator[RoundCost]:
    """What each round of a job that has succeeded asked. Raises `ValidationError` for any other job."""
    sparse = LearnResult.model_validate(job.result).sparse
    assert sparse is not None, "the method weighs"
    first = sparse.rounds[0]
    num_scored = _num_images(job, "round 0: score", num_criteria=first.num_new)
    num_checked = _num_images(job, "round 0: check", num_criteria=first.num_kept)
    for each in sparse.rounds:
        yield _round_cost(job, each, num_scored=num_scored, num_checked=num_checked)


def _round_cost(job: Job, told: LearningRound, *, num_scored: int, num_checked: int) -> RoundCost:
    stages = {
        stage.name.partition(": ")[2]: stage for stage in job.stages if stage.name.startswith(f"round {told.round}: ")
    }
    judging = [stage for name, stage in stages.items() if name in ("score", "check")]
    writing = [stage for name, stage in stages.items() if name in ("diagnose", "extract")]
    if told.round == 0:
        writing = [stage for stage in job.stages if stage.name == "reason"]
    return RoundCost(
        number=told.round,
        num_criteria=told.num_candidates,
        num_new=told.num_new,
        questions=told.num_candidates * num_scored + told.num_kept * num_checked,
        judge_calls=sum(stage.judge_calls for stage in judging),
        writing_calls=sum(stage.judge_calls for stage in writing),
        seconds=sum(stage.seconds for stage in {*writing, *stages.values()}),
    )


def _num_images(job: Job, name: str, *, num_criteria: int) -> int:
    """Images that a stage was about; 0 for a stage that there was not. An item is an image and one set's criteria."""
    total = sum(stage.total for stage in job.stages if stage.name == name)
    return total // math.ceil(num_criteria / MAX_CRITERIA)


def _learn_twice(folder: Path, judge_url: str, parameters: AutoRubricParameters) -> tuple[Learned, Learned]:
    async def learn() -> tuple[Learned, Learned]:
        async with open_place(folder, judge_url, way=Way.BUILT) as place:
            request = LearnRequest(
                dataset=await place.store(folder / "pairs"),
                method=Method.AUTORUBRIC_T2I,
                parameters=parameters,
                publish_anyway=True,
            )
            return await place.learn(Way.BUILT, request), await place.learn(Way.AGAIN, request)

    return asyncio.run(learn())


def _select(num_pairs: int, num_criteria: int) -> tuple[float, int]:
    """Seconds, and how many criteria are kept, of scores that some criteria explain but for noise."""
    rng = np.random.default_rng(0)
    differences = rng.uniform(-1, 1, size=(num_pairs, num_criteria))
    margins = differences[:, :_NUM_TRUE].sum(axis=1) + rng.logistic(scale=_NOISE, size=num_pairs)
    differences *= np.sign(margins)[:, None]
    prompts = [f"prompt {pair}" for pair in range(num_pairs)]
    begun = time.perf_counter()
    selection = select(differences, prompts, AutoRubricParameters(), seed=0)
    return time.perf_counter() - begun, len(selection.kept)
