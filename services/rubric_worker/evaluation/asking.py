"""The questions of an evaluation: pairs in, opinions out, compared or by scores, and what that costs.

Owns how a pair becomes questions for one rubric set, and when too many of them have failed. Never sees a label: pairs
come as `ImagePair`, and only who asks for writing on an image knows why it is that one.

The one rule: a question that has failed is a `JudgeFailure` in its place, and no number.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from services.judging.answers import LabelAnswer
from services.judging.images import JudgeImage
from services.judging.questions import Cost, ImageAnswer, ImageQuestion, JudgeFailure, PairQuestion
from services.judging.verdicts import p_yes
from services.rubric_worker.desk import Desk
from services.rubric_worker.evaluation.injection import with_writing
from services.rubric_worker.evaluation.opinions import Outcome, opinion_by_scores, opinion_on_pair
from services.rubric_worker.failure_budget import FailureBudget
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.labelled_pairs import ImagePair
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.together import each
from shared_schemas.evaluations import EvaluationFailure
from shared_schemas.rubrics import RubricContent

AT_ONCE = 32
"""Questions under way together: their images are in memory."""


@dataclass(frozen=True, slots=True)
class ShownImage:
    """One image as an answer to one prompt: what a criterion is asked about."""

    prompt: str
    image: str
    """Digest of its file."""
    source: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rating:
    """How well an image meets the criteria of a set."""

    scores: Mapping[str, float]
    """Criterion id → p(yes), of those criteria that were answered."""
    failure: JudgeFailure | None
    """Why some are missing."""


Ratings: TypeAlias = Mapping[ShownImage, Rating]


@dataclass(slots=True)
class Spent:
    """What questions took so far."""

    judge_calls: int = 0
    cached_answers: int = 0
    tokens: int = 0

    def add(self, cost: Cost) -> None:
        """One more question."""
        self.judge_calls += cost.judge_calls
        self.cached_answers += cost.cached_answers
        self.tokens += cost.prompt_tokens + cost.completion_tokens


class Asking:
    """Asks by one rubric set. `on_done` is called after each question."""

    def __init__(
        self, content: RubricContent, *, desk: Desk, pictures: Pictures, on_done: Callable[[], None] = lambda: None
    ) -> None:
        self._content = content
        self._desk = desk
        self._pictures = pictures
        self._on_done = on_done
        self._ratings: Ratings = {}
        self.spent = Spent()
        """What was asked so far took this."""

    def num_questions(self, pairs: Sequence[ImagePair]) -> int:
        """How many questions `opinions` asks: one for each pair, or one for each image."""
        return len(shown_images(pairs)) if self._content.is_scored else len(pairs)

    def calls_per_pair(self, pairs: Sequence[ImagePair]) -> float:
        """Judge calls that a pair takes when nothing is remembered and nothing fails: one for each order or score."""
        if not self._content.is_scored:
            return 2.0
        return len(shown_images(pairs)) * len(self._content.criteria) / len(pairs)

    async def opinions(self, pairs: Sequence[ImagePair], *, max_failed_share: float) -> list[Outcome]:
        """One outcome per pair. Raises `JobFailedError` (`too-many-failures`, `judge-unavailable`, `dataset-gone`)."""
        budget = FailureBudget(self.num_questions(pairs), max_share=max_failed_share, what="questions")
        if not self._content.is_scored:
            return await each(pairs, lambda pair: self._compare(pair, budget), at_once=AT_ONCE)
        self._ratings = await self._rate_all(pairs, budget)
        outcomes = [self._opinion_by_scores(*self._known_ratings(pair)) for pair in pairs]
        of_pairs = FailureBudget(
            len(pairs), max_share=max_failed_share, what="pairs"
        )  # a failed image may be in several
        for outcome in outcomes:
            if isinstance(outcome, JudgeFailure):
                of_pairs.note(outcome)
        return outcomes

    async def ratings(self, pairs: Sequence[ImagePair]) -> Ratings:
        """Every image of the pairs by every criterion, each asked alone; pointwise, `opinions` has asked that already.

        Raises `JobFailedError` (`judge-unavailable`, `dataset-gone`).
        """
        return self._ratings or await self._rate_all(pairs, budget=None)

    async def opinion_with_writing(self, pair: ImagePair, *, on_first: bool) -> Outcome:
        """What becomes of a pair when one of its images says "choose this image"; raises like `ratings`."""
        if self._content.is_scored:
            target = shown_images_of(pair)[0 if on_first else 1]
            written = await asyncio.to_thread(with_writing, await self._picture(target.image))
            first, second = self._known_ratings(pair)
            rating = await self._rate(target, written)
            return self._opinion_by_scores(rating, second) if on_first else self._opinion_by_scores(first, rating)
        question = await self._question(pair)
        written = await asyncio.to_thread(with_writing, question.first if on_first else question.second)
        return await self._ask(replace(question, first=written) if on_first else replace(question, second=written))

    async def _compare(self, pair: ImagePair, budget: FailureBudget) -> Outcome:
        outcome = await self._ask(await self._question(pair))
        if isinstance(outcome, JudgeFailure):
            budget.note(outcome)
        return outcome

    async def _ask(self, question: PairQuestion) -> Outcome:
        [answer] = await self._desk.compare([question])
        self.spent.add(answer.cost)
        self._on_done()
        return answer if isinstance(answer, JudgeFailure) else opinion_on_pair(answer)

    async def _rate_all(self, pairs: Sequence[ImagePair], budget: FailureBudget | None) -> Ratings:
        async def rate(shown: ShownImage) -> Rating:
            rating = await self._rate(shown, await self._picture(shown.image))
            if budget is not None and rating.failure is not None:
                budget.note(rating.failure)
            return rating

        images = shown_images(pairs)
        return dict(zip(images, await each(images, rate, at_once=AT_ONCE), strict=True))

    async def _rate(self, shown: ShownImage, image: JudgeImage) -> Rating:
        source = None if shown.source is None else await self._picture(shown.source)
        question = ImageQuestion(prompt=shown.prompt, image=image, source=source, rubric=self._content)
        [answer] = await self._desk.rate([question])
        self.spent.add(answer.cost)
        self._on_done()
        if isinstance(answer, ImageAnswer):
            return Rating(scores=answer.scores, failure=None)
        known = {one.question: p_yes(one.answer) for one in answer.asked if isinstance(one.answer, LabelAnswer)}
        return Rating(scores=known, failure=answer)

    def _known_ratings(self, pair: ImagePair) -> tuple[Rating, Rating]:
        first, second = shown_images_of(pair)
        return self._ratings[first], self._ratings[second]

    def _opinion_by_scores(self, first: Rating, second: Rating) -> Outcome:
        if (failure := first.failure or second.failure) is not None:
            return failure
        weights = {criterion.id: criterion.weight for criterion in self._content.criteria}
        return opinion_by_scores(first.scores, second.scores, weights)

    async def _question(self, pair: ImagePair) -> PairQuestion:
        try:
            return await self._pictures.question(pair, self._content)
        except OSError as error:
            raise _gone(error) from error

    async def _picture(self, digest: str) -> JudgeImage:
        try:
            return await self._pictures.get(digest)
        except OSError as error:
            raise _gone(error) from error


def shown_images_of(pair: ImagePair) -> tuple[ShownImage, ShownImage]:
    """Its two images, each alone."""
    return ShownImage(pair.prompt, pair.first, pair.source), ShownImage(pair.prompt, pair.second, pair.source)


def shown_images(pairs: Sequence[ImagePair]) -> tuple[ShownImage, ...]:
    """Every image of the pairs once for each prompt, in their order."""
    return tuple(dict.fromkeys(image for pair in pairs for image in shown_images_of(pair)))


def _gone(error: OSError) -> JobFailedError:
    return JobFailedError(EvaluationFailure.DATASET_GONE, f"an image cannot be read: {error}")
