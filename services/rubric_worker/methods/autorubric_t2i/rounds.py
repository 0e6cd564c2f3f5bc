"""The rounds: score, fit, check, look at what is ranked wrongly, and have criteria written for that.

Owns when it is enough and which round was the best. The one rule: the validation part decides, and nothing is fitted to
it.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers
from services.rubric_worker.methods.autorubric_t2i.candidates import Candidates
from services.rubric_worker.methods.autorubric_t2i.context import Context
from services.rubric_worker.methods.autorubric_t2i.fitted import Fitted, sparse_selection
from services.rubric_worker.methods.autorubric_t2i.hard_pairs import Bucket, counts, draw, misranked, mix_of_round
from services.rubric_worker.methods.autorubric_t2i.preferences import Preference
from services.rubric_worker.methods.autorubric_t2i.scoring import Scoring
from services.rubric_worker.methods.autorubric_t2i.selection import accuracy, select
from services.rubric_worker.methods.autorubric_t2i.write import write_from_failures
from services.rubric_worker.methods.findings import Findings
from shared_schemas.autorubric import LearningRound
from shared_schemas.rubrics import Criterion


class Course:
    """One run of all rounds."""

    def __init__(
        self,
        scored: Sequence[Preference],
        checked: Sequence[Preference],
        candidates: Candidates,
        context: Context,
        findings: Findings,
    ) -> None:
        """Weights are fitted to the pairs `scored` and compared on those `checked`, which may be none."""
        self._scored = scored
        self._candidates = candidates
        self._context = context
        self._findings = findings
        self._scoring = Scoring(scored, context, name="train")
        self._checking = Scoring(checked, context, name="validation") if checked else None
        self._uses: Counter[int] = Counter()
        self._best: tuple[tuple[float, float], Fitted] | None = None
        self.clusters = [preference.cluster for preference in scored]
        """The prompt of every scored pair."""
        self.rounds: list[LearningRound] = []
        """What has been done."""

    async def run(self) -> Fitted:
        """Every round until one is the last; returns the best one's fit. Raises `JobFailedError`."""
        num_new, number = len(self._candidates), 0
        while True:
            fitted = await self._fit(number)
            validation_accuracy = await self.check(fitted.kept, stage=f"round {number}: check")
            best = self._compare(fitted, validation_accuracy)
            wrong = self._misranked(fitted)
            drawn = [] if self._is_last(number, best) else self._draw(wrong, number + 1)
            self._note(fitted, validation_accuracy, best, wrong=wrong, drawn=drawn, num_new=num_new)
            if not drawn:
                return best
            number += 1
            self._uses.update(drawn)
            pairs = [self._scored[place] for place in drawn]
            written = await write_from_failures(pairs, fitted.kept, self._context, round_number=number)
            num_new = await self._candidates.add(written)

    async def check(self, criteria: Sequence[Criterion], *, stage: str) -> float | None:
        """Accuracy of weighted criteria on the validation part; None without pairs there. Raises `JobFailedError`."""
        if self._checking is None:
            return None
        await self._checking.add(criteria, stage=stage)
        return accuracy(_weighted(self._checking.differences([one.id for one in criteria]), criteria))

    async def _fit(self, number: int) -> Fitted:
        job = self._context.job
        criteria = self._candidates.criteria
        await self._scoring.add(criteria, stage=f"round {number}: score")
        differences = self._scoring.differences([criterion.id for criterion in criteria])
        job.stage(f"round {number}: fit", 1)
        seed = job.call_seed("fit", "weights")
        selection = await asyncio.to_thread(select, differences, self.clusters, self._context.options, seed=seed)
        job.advance()
        return Fitted(round_number=number, criteria=criteria, selection=selection, differences=differences)

    def _compare(self, fitted: Fitted, validation_accuracy: float | None) -> Fitted:
        """The best fit so far, on the validation part and then on the scored pairs; without that part, the last one."""
        accuracies = (validation_accuracy or 0.0, accuracy(fitted.selection.margins(fitted.differences)) or 0.0)
        if self._best is None or validation_accuracy is None or accuracies > self._best[0]:
            self._best = (accuracies, fitted)
        return self._best[1]

    def _is_last(self, number: int, best: Fitted) -> bool:
        options = self._context.options
        return number >= options.rounds or number - best.round_number >= options.patience

    def _misranked(self, fitted: Fitted) -> dict[int, Bucket]:
        options = self._context.options
        better, worse = self._scoring.of_pairs([one.id for one in fitted.kept])
        return misranked(
            _weighted(better, fitted.kept),
            _weighted(worse, fitted.kept),
            small_margin_percentile=options.small_margin_percentile,
            high_reward_percentile=options.high_reward_percentile,
        )

    def _draw(self, wrong: dict[int, Bucket], number: int) -> list[int]:
        """Places of the pairs that criteria are written for in round `number`."""
        options, job = self._context.options, self._context.job
        mix = mix_of_round(number, of=options.rounds, first=options.first_mix, last=options.last_mix)
        return draw(
            wrong,
            mix,
            num_pairs=options.pairs_per_round,
            lots=[job.call_seed(f"round {number}", preference.key) for preference in self._scored],
            uses=self._uses,
            max_uses=options.max_uses_per_pair,
        )

    def _note(
        self,
        fitted: Fitted,
        validation_accuracy: float | None,
        best: Fitted,
        *,
        wrong: dict[int, Bucket],
        drawn: Sequence[int],
        num_new: int,
    ) -> None:
        selection, options = fitted.selection, self._context.options
        margins = selection.margins(fitted.differences)
        self.rounds.append(
            LearningRound(
                round=fitted.round_number,
                num_candidates=len(fitted.criteria),
                num_new=num_new,
                num_nonzero=int(np.count_nonzero(selection.weights)),
                num_kept=len(selection.kept),
                c=selection.path.chosen_c,
                train_accuracy=accuracy(margins) or 0.0,
                validation_accuracy=validation_accuracy,
                misranked=counts(list(wrong.values())),
                drawn=counts([wrong[place] for place in drawn]),
                num_worn_out=sum(self._uses[place] >= options.max_uses_per_pair for place in wrong),
            )
        )
        self._findings.num_candidates = len(fitted.criteria)
        self._findings.num_selected = len(best.selection.kept)
        self._findings.sparse = sparse_selection(best, self.rounds)


def _weighted(scores: Numbers, criteria: Sequence[Criterion]) -> Numbers:
    """[n] sum of the `scores` [n, criteria], each times its criterion's weight."""
    rewards: Numbers = scores @ np.array([criterion.weight for criterion in criteria])
    return rewards
