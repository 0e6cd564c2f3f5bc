"""Measuring rubric sets on labelled pairs: the judge is asked, then the figures are computed in a thread."""

import asyncio
from collections.abc import Callable, Sequence

from services.rubric_worker.desk import Desk
from services.rubric_worker.evaluation.judged import Bench, Judging
from services.rubric_worker.evaluation.options import EvaluationOptions
from services.rubric_worker.evaluation.report import reports
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.labelled_pairs import LabelledPair
from services.rubric_worker.pictures import Pictures
from shared_schemas.evaluations import EvaluationFailure, RubricReport
from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import RubricContent, RubricIdentity

MIN_PREFERENCES = 2
"""Pairs with a preference that there must be."""


async def evaluate_pairs(
    labelled: Sequence[LabelledPair],
    rubrics: Sequence[tuple[RubricIdentity, RubricContent]],
    *,
    desk: Desk,
    pictures: Pictures,
    judge: JudgeIdentity,
    options: EvaluationOptions,
    on_stage: Callable[[str, int], None] = lambda _name, _num_questions: None,
    on_done: Callable[[], None] = lambda: None,
    again: Desk | None = None,
) -> tuple[RubricReport, ...]:
    """Judge these pairs by every rubric set; one report each, in their order.

    A set without criteria is the judge without rubrics: the others are tested against it. `judge` is whose calibrations
    count; `again` is for a second run: a desk that finds none of the first one's answers. `on_stage` is called with a
    name and a number of questions before each part, `on_done` after each question.

    Raises `JobFailedError`: `too-few-pairs` for fewer than two pairs with a preference, `too-many-failures`,
    `judge-unavailable`, `dataset-gone`.
    """
    num_preferences = sum(one.label != 0 for one in labelled)
    if num_preferences < MIN_PREFERENCES:
        detail = f"{num_preferences} of {len(labelled)} pairs have a preference; it takes {MIN_PREFERENCES}"
        raise JobFailedError(EvaluationFailure.TOO_FEW_PAIRS, detail)
    bench = Bench(desk=desk, pictures=pictures, again=again, on_stage=on_stage, on_done=on_done)
    judged = []
    for identity, content in rubrics:
        tie_margin = options.tie_margin_of(content, judge)
        judging = Judging(identity, content, labelled, bench=bench, tie_margin=tie_margin, options=options)
        judged.append(await judging.run())
    return await asyncio.to_thread(reports, labelled, judged, options)
