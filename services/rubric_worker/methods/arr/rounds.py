"""Propose, verify, revise: the rounds in which the criteria of every row are found, or given up.

The one rule: all rows are in the same round, so that every stage has its own progress and cost, and what a row gets
never depends on how fast another one was.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

from services.judging.questions import JudgeFailure
from services.rubric_worker.methods.arr.attempts import Attempt
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.arr.propose import propose, revise
from services.rubric_worker.methods.arr.verify import draw_others, verify
from services.rubric_worker.methods.labels import LearningRow


async def run_rounds(
    rows: Sequence[LearningRow], all_rows: Sequence[LearningRow], context: Context
) -> tuple[Attempt, ...]:
    """What becomes of `rows`, in their order; the other pairs to verify on are drawn from `all_rows`.

    Raises `JobFailedError` when a server stays away or too many rows fail.
    """
    rounds = _Rounds(len(rows), all_rows, context)
    attempts = await rounds.verified(await rounds.proposed(rows))
    for _ in range(context.options.max_revisions):
        if not any(attempt.refutation for attempt in attempts):
            break
        attempts = await rounds.verified(await rounds.revised(attempts))
    return tuple(attempts)


class _Rounds:
    """The three stages, each over those rows that are up for it."""

    def __init__(self, num_rows: int, all_rows: Sequence[LearningRow], context: Context) -> None:
        self._all_rows = all_rows
        self._context = context
        self._budget = context.budget(num_rows, "rows")

    async def proposed(self, rows: Sequence[LearningRow]) -> list[Attempt]:
        """The first criteria of every row."""

        async def one(row: LearningRow) -> Attempt | JudgeFailure:
            linted = await propose(row, self._context)
            if isinstance(linted, JudgeFailure):
                return linted
            return Attempt(row=row, criteria=linted.kept, num_refused=linted.num_refused)

        found = await self._context.stage("propose", rows, one, budget=self._budget)
        return [attempt or Attempt(row=row) for attempt, row in zip(found, rows, strict=True)]

    async def verified(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Those that are new, verified."""

        async def one(place: int) -> Attempt | JudgeFailure:
            attempt = attempts[place]
            seed = self._context.job.call_seed("others", attempt.row.key)
            num_others = self._context.options.other_pairs
            others = draw_others(attempt.row, self._all_rows, num=num_others, seed=seed)
            verification = await verify(attempt.criteria, attempt.row, others, self._context)
            if isinstance(verification, JudgeFailure):
                return verification
            return replace(attempt, verification=verification)

        new = [place for place, attempt in enumerate(attempts) if attempt.is_new]
        return await self._at(new, attempts, one, stage="verify")

    async def revised(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Those that were verified in vain, written anew."""
        refuted = {
            place: refutation
            for place, attempt in enumerate(attempts)
            if (refutation := attempt.refutation) is not None
        }

        async def one(place: int) -> Attempt | JudgeFailure:
            attempt = attempts[place]
            num_revisions = attempt.num_revisions + 1
            linted = await revise(attempt.row, attempt.criteria, refuted[place], self._context, revision=num_revisions)
            if isinstance(linted, JudgeFailure):
                return linted
            return Attempt(
                row=attempt.row,
                criteria=linted.kept,
                num_revisions=num_revisions,
                num_refused=attempt.num_refused + linted.num_refused,
            )

        return await self._at(refuted, attempts, one, stage="revise")

    async def _at(
        self,
        places: Collection[int],
        attempts: Sequence[Attempt],
        do: Callable[[int], Awaitable[Attempt | JudgeFailure]],
        *,
        stage: str,
    ) -> list[Attempt]:
        """All attempts in their order, those at `places` as `do` leaves them; a row that failed is given up."""
        results = await self._context.stage(stage, list(places), do, budget=self._budget)
        after = list(attempts)
        for place, result in zip(places, results, strict=True):
            before = attempts[place]
            after[place] = result or Attempt(row=before.row, num_refused=before.num_refused)
        return after
