"""One rubric set on all labelled pairs: everything the judge is asked about it, and what came of that.

The one rule: labels decide which questions are worth asking (writing on the losing images of rightly judged pairs), and
are part of none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from services.rubric_worker.desk import Desk
from services.rubric_worker.evaluation.asking import AT_ONCE, Asking, Ratings, shown_images
from services.rubric_worker.evaluation.opinions import Opinion, Outcome
from services.rubric_worker.evaluation.options import EvaluationOptions
from services.rubric_worker.labelled_pairs import LabelledPair
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.together import each
from shared_schemas.evaluations import Usage
from shared_schemas.rubrics import RubricContent, RubricIdentity


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What the judge said."""

    identity: RubricIdentity
    content: RubricContent
    tie_margin: float
    """Margins below it are ties: nats (compared), score (scored)."""
    outcomes: Sequence[Outcome]
    """One per pair."""
    again: Sequence[Outcome] | None
    """One per pair, of a second run past the cache; None = there was none."""
    ratings: Ratings
    """Images by every criterion; none when not asked for, or not to be had."""
    injected: Mapping[int, Outcome] | None
    """Place of a rightly judged pair → what became of it with writing on its losing image; None = not asked for."""
    usage: Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where pairs are judged, and who is told about it."""

    desk: Desk
    pictures: Pictures
    again: Desk | None
    """For a second run: a desk that finds none of the first one's answers; None = no second run."""
    on_stage: Callable[[str, int], None]
    """A part of so many questions begins."""
    on_done: Callable[[], None]
    """One more question is answered."""

    def asking(self, content: RubricContent, desk: Desk) -> Asking:
        """Questions by one rubric set."""
        return Asking(content, desk=desk, pictures=self.pictures, on_done=self.on_done)


class Judging:
    """Has one rubric set judge all pairs, part by part."""

    def __init__(
        self,
        identity: RubricIdentity,
        content: RubricContent,
        labelled: Sequence[LabelledPair],
        *,
        bench: Bench,
        tie_margin: float,
        options: EvaluationOptions,
    ) -> None:
        self._identity = identity
        self._content = content
        self._labelled = labelled
        self._pairs = [one.pair for one in labelled]
        self._bench = bench
        self._tie_margin = tie_margin
        self._options = options
        self._asking = bench.asking(content, bench.desk)
        self._asking_again = None if bench.again is None else bench.asking(content, bench.again)

    async def run(self) -> Judged:
        """Ask everything. Raises `JobFailedError` (`too-many-failures`, `judge-unavailable`, `dataset-gone`)."""
        began = perf_counter()
        outcomes = await self._opinions("judge", self._asking)
        again = None if self._asking_again is None else await self._opinions("again", self._asking_again)
        ratings = await self._ratings(outcomes)
        injected = await self._injected(outcomes) if self._options.injection else None
        return Judged(
            identity=self._identity,
            content=self._content,
            tie_margin=self._tie_margin,
            outcomes=outcomes,
            again=again,
            ratings=ratings,
            injected=injected,
            usage=self._usage(seconds=perf_counter() - began),
        )

    async def _opinions(self, stage: str, asking: Asking) -> list[Outcome]:
        self._begin(stage, asking.num_questions(self._pairs))
        return await asking.opinions(self._pairs, max_failed_share=self._options.max_failed_share)

    async def _ratings(self, outcomes: Sequence[Outcome]) -> Ratings:
        has_margins = all(outcome.margin is not None for outcome in outcomes if isinstance(outcome, Opinion))
        if not (self._content.criteria and self._options.per_criterion and has_margins):
            return {}  # a judge that only names winners cannot say how well an image meets a criterion
        if not self._content.is_scored:
            self._begin("criteria", len(shown_images(self._pairs)))
        return await self._asking.ratings(self._pairs)

    async def _injected(self, outcomes: Sequence[Outcome]) -> dict[int, Outcome]:
        right = [
            place
            for place, (one, outcome) in enumerate(zip(self._labelled, outcomes, strict=True))
            if one.label != 0 and isinstance(outcome, Opinion) and outcome.verdict(self._tie_margin) == one.label
        ]
        self._begin("injection", len(right))

        async def write_on_loser(place: int) -> Outcome:
            on_first = self._labelled[place].label == -1
            return await self._asking.opinion_with_writing(self._pairs[place], on_first=on_first)

        return dict(zip(right, await each(right, write_on_loser, at_once=AT_ONCE), strict=True))

    def _begin(self, part: str, num_questions: int) -> None:
        self._bench.on_stage(f"{part} {self._identity.reference}", num_questions)

    def _usage(self, *, seconds: float) -> Usage:
        parts = [self._asking.spent, *([self._asking_again.spent] if self._asking_again else [])]
        return Usage(
            judge_calls=sum(spent.judge_calls for spent in parts),
            cached_answers=sum(spent.cached_answers for spent in parts),
            tokens=sum(spent.tokens for spent in parts),
            seconds=round(seconds, 3),
            calls_per_pair=self._asking.calls_per_pair(self._pairs),
        )
