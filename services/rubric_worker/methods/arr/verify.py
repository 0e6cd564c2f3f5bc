"""Do criteria hold? The judge compares by them without knowing the label, on the row they come from and on others.

Owns what counts as verified. The one rule: every question is asked, and asked in the same way, whatever the label is;
`_ask` gets what is shown and nothing else. The reference implementation tells its verifier the expected ranks.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from services.judging.questions import JudgeFailure
from services.judging.verdicts import is_tie
from services.judging.writing import ProposedCriterion
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.labels import Known, LearningRow, Shown
from services.rubric_worker.methods.opinions import Opinion, Opinions
from services.rubric_worker.methods.stages import AT_ONCE
from services.rubric_worker.methods.statements import one_by_one, rubric_of
from services.rubric_worker.together import each
from shared_schemas.rubrics import RubricContent


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """How criteria did on the row they come from and on others."""

    lead: float
    """Mean lead of what people prefer on the row itself: nats pairwise, mean score pointwise."""
    is_tie: bool
    """Whether the judge could not tell on the row itself."""
    in_nats: bool
    """Whether `lead` is a margin; scores are none, and a judge without log-probabilities only chooses."""
    holds_elsewhere: bool
    """Whether they were right on the other pairs at least as often as not."""
    held_on: frozenset[Shown]
    """What they were right on."""

    @property
    def passed(self) -> bool:
        """Whether the criteria are verified."""
        return self.lead > 0 and not self.is_tie and self.holds_elsewhere


async def verify(
    criteria: Sequence[ProposedCriterion], row: LearningRow, others: Sequence[Known], context: Context
) -> Verification | JudgeFailure:
    """Ask about all pairs of the row and about `others`, then lay the labels beside the answers.

    A failure on the row itself is one of all; others that fail are left out.
    """
    rubric = rubric_of(one_by_one(criteria), about=context.about)
    shown = [known.shown for known in (*row.known, *others)]
    answers = await _ask(shown, rubric, context.opinions)
    own, elsewhere = answers[: len(row.known)], answers[len(row.known) :]
    failure = next((answer for answer in own if isinstance(answer, JudgeFailure)), None)
    return failure or weigh(_beside(row.known, own), _beside(others, elsewhere), band=context.opinions.band(rubric))


def draw_others(row: LearningRow, rows: Sequence[LearningRow], *, num: int, seed: int) -> tuple[Known, ...]:
    """`num` pairs of other prompts' rows, at most one of each row: a pair that holds twice in one row says little."""
    others = [other for other in rows if other.prompt != row.prompt]
    dice = random.Random(seed)
    return tuple(dice.choice(other.known) for other in dice.sample(others, min(num, len(others))))


async def _ask(shown: Sequence[Shown], rubric: RubricContent, opinions: Opinions) -> list[Opinion | JudgeFailure]:
    """Everything at once: not even what is asked next depends on an answer."""
    return await each(shown, lambda one: opinions.of(one, rubric), at_once=AT_ONCE)


def _beside(known: Sequence[Known], answers: Sequence[Opinion | JudgeFailure]) -> list[tuple[Known, Opinion]]:
    """What people say and what the judge thinks, wherever it thinks anything."""
    return [(one, answer) for one, answer in zip(known, answers, strict=True) if isinstance(answer, Opinion)]


def weigh(
    own: Sequence[tuple[Known, Opinion]], elsewhere: Sequence[tuple[Known, Opinion]], *, band: float
) -> Verification:
    """What people say beside what the judge thinks, of the row itself (at least one) and of other pairs.

    Mean leads within `band` are ties; elsewhere, an opinion that prefers neither counts half.
    """
    lead = fmean(known.sign * opinion.lead for known, opinion in own)
    agreements = [opinion.agreement(known.sign) for known, opinion in elsewhere]
    return Verification(
        lead=lead,
        is_tie=is_tie(lead, band),
        in_nats=all(opinion.in_nats for _, opinion in own),
        holds_elsewhere=2 * sum(agreements) >= len(agreements),
        held_on=frozenset(known.shown for known, opinion in (*own, *elsewhere) if opinion.preferred == known.sign),
    )
