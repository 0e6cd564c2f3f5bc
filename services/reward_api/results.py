"""From what the judge said to what the client gets. Pure functions.

The one rule: only a verdict outside the tie band becomes numbers; everything else says so in its status.
"""

from collections.abc import Iterable

from services.judging.judge import JudgeFailure, PairAnswer
from services.judging.verdicts import binary_rewards, ranks
from shared_schemas.reward import Group, GroupError, GroupResult, PairVerdict, RewardScheme, Status, Usage


def group_result(
    group: Group, outcome: PairAnswer | JudgeFailure, *, scheme: RewardScheme, tie_margin: float
) -> GroupResult:
    """What became of a group of two; `tie_margin` in nats."""
    if isinstance(outcome, JudgeFailure):
        error = GroupError(type=outcome.type, detail=outcome.detail, retryable=outcome.type.is_retryable)
        return GroupResult(id=group.id, status=Status.FAILED, error=error)
    margin = outcome.verdict.margin
    rewards = binary_rewards(
        margin, tie_margin=tie_margin, preferred=scheme.preferred, dispreferred=scheme.dispreferred
    )
    return GroupResult(
        id=group.id,
        status=Status.TIED if rewards is None else Status.SCORED,
        rewards=rewards,
        ranks=ranks(margin, tie_margin=tie_margin),
        pairs=(_pair_verdict(outcome),),
    )


def usage(outcomes: Iterable[PairAnswer | JudgeFailure]) -> Usage:
    """What all groups of a request cost together."""
    outcomes = list(outcomes)
    answers = [outcome for outcome in outcomes if isinstance(outcome, PairAnswer)]
    return Usage(
        judge_calls=sum(outcome.judge_calls for outcome in outcomes),
        cached_verdicts=sum(answer.cached_answers for answer in answers),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
    )


def _pair_verdict(answer: PairAnswer) -> PairVerdict:
    verdict = answer.verdict
    return PairVerdict(
        first=0,
        second=1,
        margin=verdict.margin,
        p_first=verdict.p_first(),
        position_bias=verdict.position_bias,
        consistent=verdict.consistent,
        label_mass=verdict.label_mass,
        cached=answer.cached,
    )
