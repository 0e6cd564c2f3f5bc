"""What the judge thinks by a rubric set: of two images which is better, of one whether it is good.

Owns the way from something that can be shown to one signed number. The one rule: nothing here knows a label.
"""

from dataclasses import dataclass

from services.judging.groups import weighted_score
from services.judging.questions import ImageQuestion, JudgeFailure
from services.judging.verdicts import Preference, is_tie
from services.rubric_worker.desk import Desk
from services.rubric_worker.labelled_pairs import ImagePair
from services.rubric_worker.methods.labels import LoneImage, Shown, Sign
from services.rubric_worker.pictures import Pictures
from shared_schemas.rubrics import RubricContent

TIE_SCORE = 0.02
"""Mean scores (0 to 1) that differ by less are a tie: as much as a bfloat16 server's rounding moves one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """What the judge thinks of a pair, both orders averaged, or of one image."""

    preferred: Preference
    """1 = the first image is better, or the image is good; 0 = neither way by enough."""
    lead: float
    """By how much: nats pairwise, mean score pointwise; ±1 from a judge that only chooses."""
    in_nats: bool
    """Whether `lead` is a margin."""

    def agreement(self, sign: Sign) -> float:
        """1 when people say the same, ½ when the judge cannot tell, else 0."""
        return (1 + self.preferred * sign) / 2


class Opinions:
    """Gets opinions, each by the mode of the rubric set it is asked by."""

    def __init__(self, desk: Desk, pictures: Pictures, *, tie_margin: float) -> None:
        """Leads below `tie_margin` nats prefer nobody; pointwise, `TIE_SCORE` is the bound."""
        self._desk = desk
        self._pictures = pictures
        self._tie_margin = tie_margin

    async def of(self, shown: Shown, rubric: RubricContent) -> Opinion | JudgeFailure:
        """Of what is shown, by `rubric`; a pair by an empty one is always compared.

        Raises `JobFailedError` (`judge-unavailable`), `OSError` for an image that is gone, and `ValueError` for a
        pairwise set and an image that stands alone.
        """
        if rubric.is_scored:
            return await self._by_scores(shown, rubric)
        if isinstance(shown, LoneImage):
            raise ValueError("an image that stands alone cannot be compared")
        [answer] = await self._desk.compare([await self._pictures.question(shown, rubric)])
        if isinstance(answer, JudgeFailure):
            return answer
        margin = answer.verdict.margin
        if margin is None:
            return Opinion(preferred=answer.verdict.preferred, lead=answer.verdict.preferred, in_nats=False)
        return _opinion(margin, band=self._tie_margin, in_nats=True)

    def band(self, rubric: RubricContent) -> float:
        """Leads below it are ties."""
        return TIE_SCORE if rubric.is_scored else self._tie_margin

    async def scores(self, shown: LoneImage, rubric: RubricContent) -> dict[str, float] | JudgeFailure:
        """Criterion id → p(yes) of one image."""
        source = None if shown.source is None else await self._pictures.get(shown.source)
        image = await self._pictures.get(shown.image)
        question = ImageQuestion(prompt=shown.prompt, image=image, source=source, rubric=rubric)
        [answer] = await self._desk.rate([question])
        return answer if isinstance(answer, JudgeFailure) else answer.scores

    async def _by_scores(self, shown: Shown, rubric: RubricContent) -> Opinion | JudgeFailure:
        if isinstance(shown, LoneImage):
            mean = await self._mean_score(shown, rubric)
            return mean if isinstance(mean, JudgeFailure) else _opinion(mean - 0.5, band=TIE_SCORE, in_nats=False)
        means = []
        for image in _images_of(shown):
            mean = await self._mean_score(image, rubric)
            if isinstance(mean, JudgeFailure):
                return mean
            means.append(mean)
        return _opinion(means[0] - means[1], band=TIE_SCORE, in_nats=False)

    async def _mean_score(self, image: LoneImage, rubric: RubricContent) -> float | JudgeFailure:
        """Weighted mean of p(yes) over the criteria, 0 to 1."""
        scores = await self.scores(image, rubric)
        if isinstance(scores, JudgeFailure):
            return scores
        weights = {criterion.id: criterion.weight for criterion in rubric.criteria}
        return weighted_score(scores, weights) / sum(weights.values())


def _images_of(pair: ImagePair) -> tuple[LoneImage, LoneImage]:
    first, second = (
        LoneImage(prompt=pair.prompt, image=image, source=pair.source) for image in (pair.first, pair.second)
    )
    return first, second


def _opinion(lead: float, *, band: float, in_nats: bool) -> Opinion:
    preferred: Preference = 0 if is_tie(lead, band) else 1 if lead > 0 else -1
    return Opinion(preferred=preferred, lead=lead, in_nats=in_nats)
