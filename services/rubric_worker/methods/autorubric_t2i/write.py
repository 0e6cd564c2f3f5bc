"""Having criteria written: for seeds by looking closely first, for wrongly ranked pairs by asking what is missed."""

from collections.abc import Sequence

from services.judging import writing
from services.judging.questions import JudgeFailure
from services.judging.writing import Diagnosis, Proposal, ProposedCriterion, Reasoned
from services.rubric_worker.methods.autorubric_t2i.context import Context
from services.rubric_worker.methods.autorubric_t2i.preferences import Preference
from shared_schemas.rubrics import Criterion


async def write_from_seeds(seeds: Sequence[Preference], context: Context) -> list[ProposedCriterion]:
    """Criteria for every seed, in their order. Raises `JobFailedError`."""

    async def one(preference: Preference) -> tuple[ProposedCriterion, ...] | JudgeFailure:
        num_criteria = context.options.criteria_per_pair
        images = await context.labelled_images(preference)
        messages = writing.reason(images, about=context.about, num_criteria=num_criteria)
        answer = await context.write(messages, schema=Reasoned, stage="reason", item=preference.key)
        return answer if isinstance(answer, JudgeFailure) else answer.criteria[:num_criteria]

    return _joined(await context.stage("reason", seeds, one))


async def write_from_failures(
    pairs: Sequence[Preference], in_use: Sequence[Criterion], context: Context, *, round_number: int
) -> list[ProposedCriterion]:
    """Criteria for pairs that those `in_use` rank wrongly: a diagnosis of each, then an extraction from it.

    Raises `JobFailedError`.
    """
    name = f"round {round_number}"

    async def diagnose(preference: Preference) -> Diagnosis | JudgeFailure:
        images = await context.labelled_images(preference)
        messages = writing.diagnose(images, about=context.about, criteria=in_use)
        return await context.write(messages, schema=Diagnosis, stage=f"{name}: diagnose", item=preference.key)

    async def extract(item: tuple[Preference, Diagnosis]) -> tuple[ProposedCriterion, ...] | JudgeFailure:
        preference, diagnosis = item
        num_criteria = context.options.criteria_per_pair
        messages = writing.extract(
            await context.labelled_images(preference),
            about=context.about,
            criteria=in_use,
            diagnosis=diagnosis,
            num_criteria=num_criteria,
        )
        answer = await context.write(messages, schema=Proposal, stage=f"{name}: extract", item=preference.key)
        return answer if isinstance(answer, JudgeFailure) else answer.criteria[:num_criteria]

    diagnoses = await context.stage(f"{name}: diagnose", pairs, diagnose)
    diagnosed = [(pair, found) for pair, found in zip(pairs, diagnoses, strict=True) if found is not None]
    return _joined(await context.stage(f"{name}: extract", diagnosed, extract))


def _joined(written: Sequence[tuple[ProposedCriterion, ...] | None]) -> list[ProposedCriterion]:
    return [criterion for criteria in written for criterion in criteria or ()]
