"""How often rubric sets agree with people, on the same pairs."""

from collections.abc import Sequence

from services.judging.questions import JudgeFailure
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.labels import Known
from shared_schemas.rubrics import RubricContent


async def judge_known(
    known: Sequence[Known], rubrics: Sequence[RubricContent], context: Context, *, stage: str
) -> tuple[tuple[float, ...], ...]:
    """Rubric sets × what all of them could be asked about: 1 = agrees with people, ½ = cannot tell, 0 = disagrees.

    Raises `JobFailedError` when a server stays away or too many questions fail.
    """

    async def one(item: Known) -> tuple[float, ...] | JudgeFailure:
        agreements = []
        for rubric in rubrics:
            opinion = await context.opinions.of(item.shown, rubric)
            if isinstance(opinion, JudgeFailure):
                return opinion
            agreements.append(opinion.agreement(item.sign))
        return tuple(agreements)

    judged = [agreements for agreements in await context.stage(stage, known, one) if agreements is not None]
    return tuple(zip(*judged, strict=True)) if judged else ((),) * len(rubrics)
