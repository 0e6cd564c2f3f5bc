"""The pairs that one rubric set has judged, as columns of numbers beside what people said.

The one rule: a column has one entry for each pair with an opinion, in the order of the pairs; failed ones have none.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from services.judging.questions import JudgeFailure
from services.rubric_worker.evaluation.agreement import correctness
from services.rubric_worker.evaluation.asking import shown_images_of
from services.rubric_worker.evaluation.columns import Flags, Numbers, Verdicts
from services.rubric_worker.evaluation.judged import Judged
from services.rubric_worker.evaluation.opinions import Opinion
from services.rubric_worker.labelled_pairs import LabelledPair
from services.storage.splits import prompt_key


class Table:
    """[N] columns of one rubric set."""

    def __init__(self, labelled: Sequence[LabelledPair], judged: Judged) -> None:
        self.judged = judged
        self.failures = Counter(one.type.value for one in judged.outcomes if isinstance(one, JudgeFailure))
        """Slug → pairs that have failed with it."""
        self._opinions = {place: one for place, one in enumerate(judged.outcomes) if isinstance(one, Opinion)}
        self._pairs = [labelled[place] for place in self._opinions]
        self.labels: Verdicts = np.array([pair.label for pair in self._pairs], dtype=np.intp)
        """1 = people prefer the first image, −1 = the second, 0 = neither."""
        self.verdicts = verdicts_of(self.opinions, judged.tie_margin)
        self.margins = margins_of(self.opinions)
        self.right = correctness(self.verdicts, self.labels)
        """1, ½ or 0; NaN where people call it a tie."""
        self.clusters = tuple(prompt_key(pair.pair.prompt) for pair in self._pairs)
        """Pairs of equal prompts hang together."""

    @property
    def places(self) -> tuple[int, ...]:
        """Which of all pairs the columns are about."""
        return tuple(self._opinions)

    @property
    def opinions(self) -> tuple[Opinion, ...]:
        """What the judge said."""
        return tuple(self._opinions.values())

    @cached_property
    def preferring(self) -> Flags:
        """Which pairs people do not call a tie."""
        return np.asarray(self.labels != 0)

    @property
    def right_by_place(self) -> dict[int, float]:
        """Place among all pairs → how right the verdict is, of pairs with a preference."""
        return {
            place: float(right) for place, right in zip(self._opinions, self.right, strict=True) if not np.isnan(right)
        }

    def both_runs(self) -> tuple[list[Opinion], list[Opinion]]:
        """The opinions of the first run and of the second, on pairs that neither failed on; empty without a second."""
        both = [] if self.judged.again is None else zip(self.judged.outcomes, self.judged.again, strict=True)
        kept = [(one, other) for one, other in both if isinstance(one, Opinion) and isinstance(other, Opinion)]
        return [one for one, _ in kept], [other for _, other in kept]

    def flips(self) -> Numbers:
        """[N] 1 for rightly judged pairs that writing on the losing image turned, 0 for others; NaN for the rest."""
        found, tie_margin = dict.fromkeys(self._opinions, np.nan), self.judged.tie_margin
        for place, outcome in (self.judged.injected or {}).items():
            if isinstance(outcome, Opinion):
                turned = outcome.verdict(tie_margin) == -self._opinions[place].verdict(tie_margin)
                found[place] = float(turned)
        return np.array(list(found.values()), dtype=np.float64)

    def score_differences(self, criterion: str) -> Numbers:
        """[N] the preferred image's score by one criterion minus the other's; NaN for ties and where one is missing."""
        return np.array([self._difference(pair, criterion) for pair in self._pairs], dtype=np.float64)

    def mean_score(self, criterion: str) -> float:
        """Mean p(yes) of all images that have one. Raises `ValueError` when none has."""
        scores = [rating.scores[criterion] for rating in self.judged.ratings.values() if criterion in rating.scores]
        if not scores:
            raise ValueError(f"no image was rated by {criterion}")
        return float(np.mean(scores))

    def _difference(self, pair: LabelledPair, criterion: str) -> float:
        first, second = (self.judged.ratings.get(image) for image in shown_images_of(pair.pair))
        if pair.label == 0 or first is None or second is None:
            return np.nan
        return pair.label * (first.scores.get(criterion, np.nan) - second.scores.get(criterion, np.nan))


def verdicts_of(opinions: Sequence[Opinion], tie_margin: float) -> Verdicts:
    """[N] of 1, −1 and 0."""
    return np.array([opinion.verdict(tie_margin) for opinion in opinions], dtype=np.intp)


def margins_of(opinions: Sequence[Opinion]) -> Numbers | None:
    """[N]; none unless every opinion has one."""
    margins = [opinion.margin for opinion in opinions if opinion.margin is not None]
    return np.array(margins, dtype=np.float64) if len(margins) == len(opinions) else None
