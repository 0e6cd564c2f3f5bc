"""From groups of images to questions for the judge, and its outcomes back to their groups.

Owns which questions a group needs: each pair of its candidates, each candidate by itself, or both. Refuses to make
anything of the outcomes; that is done in `results`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, combinations, islice

from services.judging.callers import Caller
from services.judging.images import JudgeImage
from services.judging.judge import Judge
from services.judging.questions import (
    ImageAnswer,
    ImageQuestion,
    JudgeFailure,
    PairAnswer,
    PairQuestion,
    ShownExample,
)
from services.reward_api.terms import Terms
from shared_schemas.reward import CachePolicy, Group, Orders, RewardRequest
from shared_schemas.rubrics import Mode, RubricContent


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedPair:
    """Two candidates of a group, by their indices."""

    first: int
    second: int
    question: PairQuestion
    outcome: PairAnswer | JudgeFailure


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedCandidate:
    """One candidate by itself."""

    question: ImageQuestion
    outcome: ImageAnswer | JudgeFailure


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedGroup:
    """One group and all that the judge was asked about it."""

    group: Group
    pairs: tuple[JudgedPair, ...] = ()
    """Pairwise: all K(K−1)/2, in the order (0, 1), (0, 2) … (K−2, K−1)."""
    candidates: tuple[JudgedCandidate, ...] = ()
    """All K, pointwise and where the request asks `per_criterion`."""

    @property
    def asked(self) -> Sequence[JudgedPair | JudgedCandidate]:
        """Everything that was asked."""
        return (*self.pairs, *self.candidates)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquiry:
    """One request on its way to the judge."""

    judge: Judge
    meta: RewardRequest
    images: Mapping[str, JudgeImage]
    """By the ids that `meta` uses."""
    rubric: RubricContent
    guide: tuple[ShownExample, ...]
    """The rubric's exemplars, shown with every pair; not looked at pointwise."""
    terms: Terms
    caller: Caller
    time_left: Callable[[], timedelta]
    """Until the request's deadline; what is not answered by then has failed."""

    async def ask(self) -> list[JudgedGroup]:
        """Ask everything that the groups need; the answer is in their order.

        Candidates that are rated besides their pairs come last: rewards must not wait for what only explains them.
        """
        pairs: list[tuple[JudgedPair, ...]] = [() for _ in self.meta.groups]
        candidates: list[tuple[JudgedCandidate, ...]] = [() for _ in self.meta.groups]
        if self.terms.mode is Mode.PAIRWISE:
            pairs = await self._compare()
        if self.terms.mode is Mode.POINTWISE or (self.meta.per_criterion and self.rubric.criteria):
            candidates = await self._rate()
        return [
            JudgedGroup(group=group, pairs=compared, candidates=rated)
            for group, compared, rated in zip(self.meta.groups, pairs, candidates, strict=True)
        ]

    async def _compare(self) -> list[tuple[JudgedPair, ...]]:
        asked = [self._pair_questions(group) for group in self.meta.groups]
        outcomes = iter(
            await self.judge.compare(
                list(chain.from_iterable(asked)),
                deadline=self.time_left(),
                use_cache=self._use_cache,
                orders=self.meta.orders,
                tie_margin=self.terms.tie_band,
                caller=self.caller,
            )
        )
        return [
            tuple(
                JudgedPair(first=first, second=second, question=question, outcome=outcome)
                for (first, second), question, outcome in zip(
                    _pairs(group), questions, islice(outcomes, len(questions)), strict=True
                )
            )
            for group, questions in zip(self.meta.groups, asked, strict=True)
        ]

    async def _rate(self) -> list[tuple[JudgedCandidate, ...]]:
        asked = [self._image_questions(group) for group in self.meta.groups]
        outcomes = iter(
            await self.judge.rate(
                list(chain.from_iterable(asked)),
                deadline=self.time_left(),
                use_cache=self._use_cache,
                caller=self.caller,
            )
        )
        return [
            tuple(
                JudgedCandidate(question=question, outcome=outcome)
                for question, outcome in zip(questions, islice(outcomes, len(questions)), strict=True)
            )
            for questions in asked
        ]

    @property
    def _use_cache(self) -> bool:
        return self.meta.cache is CachePolicy.USE

    def _pair_questions(self, group: Group) -> list[PairQuestion]:
        images = [self.images[name] for name in group.candidates]
        source = self._source(group)
        return [
            PairQuestion(
                prompt=group.prompt,
                first=images[first],
                second=images[second],
                source=source,
                rubric=self.rubric,
                guide=self.guide,
            )
            for first, second in _pairs(group)
        ]

    def _image_questions(self, group: Group) -> list[ImageQuestion]:
        source = self._source(group)
        return [
            ImageQuestion(prompt=group.prompt, image=self.images[name], source=source, rubric=self.rubric)
            for name in group.candidates
        ]

    def _source(self, group: Group) -> JudgeImage | None:
        return None if group.source is None else self.images[group.source]


def num_calls(group: Group, meta: RewardRequest, rubric: RubricContent, mode: Mode) -> int:
    """Judge calls that a group takes when nothing of it is remembered; with adaptive orders, the most it can take."""
    rated = len(group.candidates) * len(rubric.criteria)
    if mode is Mode.POINTWISE:
        return rated
    orders = 1 if meta.orders is Orders.SINGLE else 2
    return orders * len(_pairs(group)) + (rated if meta.per_criterion else 0)


def _pairs(group: Group) -> list[tuple[int, int]]:
    return list(combinations(range(len(group.candidates)), 2))
