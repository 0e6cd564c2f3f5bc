"""Asking for criteria: for a row's images and label, and again with a critique of the first attempt."""

from collections.abc import Sequence

from services.judging import writing
from services.judging.chat_messages import ChatMessage
from services.judging.questions import JudgeFailure
from services.judging.writing import Critique, Proposal, ProposedCriterion
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.arr.verify import Verification
from services.rubric_worker.methods.labels import LearningRow, LoneImage
from services.rubric_worker.methods.lint import Linted, lint
from services.rubric_worker.methods.statements import one_by_one, rubric_of
from shared_schemas.problems import FailureType


async def propose(row: LearningRow, context: Context) -> Linted | JudgeFailure:
    """Criteria that explain a row's label, as far as the lint lets them pass."""
    messages = writing.propose(
        await context.labelled_images(row.row),
        about=context.about,
        num_criteria=context.options.criteria_per_pair,
    )
    return await _ask(messages, context, stage="propose", row=row)


async def revise(
    row: LearningRow,
    criteria: Sequence[ProposedCriterion],
    verification: Verification,
    context: Context,
    *,
    revision: int,
) -> Linted | JudgeFailure:
    """Criteria in place of some that were not verified; `revision` counts from 1."""
    scores = await _criterion_scores(row, criteria, context)
    if isinstance(scores, JudgeFailure):
        return scores
    messages = writing.revise(
        await context.labelled_images(row.row),
        about=context.about,
        criteria=criteria,
        critique=Critique(
            margin=verification.lead if verification.in_nats else None,
            is_tie=verification.is_tie,
            criterion_scores=scores,
        ),
    )
    return await _ask(messages, context, stage=f"revise {revision}", row=row)


async def _ask(
    messages: Sequence[ChatMessage], context: Context, *, stage: str, row: LearningRow
) -> Linted | JudgeFailure:
    num_criteria = context.options.criteria_per_pair
    proposal = await context.write(messages, schema=Proposal, stage=stage, item=row.key, num_parts=num_criteria)
    if isinstance(proposal, JudgeFailure):
        return proposal
    return lint(proposal.criteria[:num_criteria])


async def _criterion_scores(
    row: LearningRow, criteria: Sequence[ProposedCriterion], context: Context
) -> tuple[tuple[float, ...], ...] | JudgeFailure | None:
    """Criteria × images: p(yes) of each alone; none from a judge without log-probabilities."""
    rubric = rubric_of(one_by_one(criteria), about=context.about)
    columns = []
    for image in row.row.images:
        shown = LoneImage(prompt=row.prompt, image=image, source=row.row.source)
        scores = await context.opinions.scores(shown, rubric)
        if isinstance(scores, JudgeFailure):
            return None if scores.type is FailureType.JUDGE_LACKS_LOG_PROBS else scores
        columns.append([scores[criterion.id] for criterion in rubric.criteria])
    return tuple(zip(*columns, strict=True))
