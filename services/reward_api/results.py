"""From what the judge said about a group to what the client gets. Pure functions.

Owns what becomes of failures inside a group; the maths of strengths, ranks and rewards is in `services.judging.groups`.

The one rule: only verdicts that connect all candidates and lie outside the tie band become numbers; everything else
says so in its status.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from services.judging.groups import (
    Comparison,
    Standing,
    comparative_rewards,
    connects,
    standing_of_pairs,
    standing_of_scores,
    weighted_score,
)
from services.judging.questions import ImageAnswer, JudgeFailure, PairAnswer
from services.reward_api.inquiry import JudgedCandidate, JudgedGroup, JudgedPair
from services.reward_api.terms import Terms
from shared_schemas.problems import FailureType
from shared_schemas.reward import (
    CriterionScores,
    GroupError,
    GroupResult,
    PairVerdict,
    Scheme,
    Status,
    Usage,
)
from shared_schemas.rubrics import Mode, RubricContent

_NEEDS_MARGINS = {Scheme.WIN_RATE, Scheme.MARGIN}

_CHOICES_ONLY = JudgeFailure(
    type=FailureType.JUDGE_LACKS_LOG_PROBS,
    detail="`win_rate` and `margin` rewards need log-probabilities, and the judge only names winners",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Numbers:
    """What the verdicts on one group come to."""

    status: Status
    rewards: tuple[float, ...] | None = None
    ranks: tuple[float, ...] | None = None
    scores: tuple[float, ...] | None = None


def group_result(judged: JudgedGroup, *, terms: Terms, rubric: RubricContent, per_criterion: bool) -> GroupResult:
    """What became of one group."""
    if terms.mode is Mode.POINTWISE:
        found = _by_scores(judged.candidates, terms, rubric=rubric)
    else:
        found = _by_pairs(judged, terms)
    group_id, pairs = judged.group.id, _pair_verdicts(judged.pairs, temperature=terms.temperature)
    criteria = _criterion_scores(judged.candidates) if per_criterion else ()
    if isinstance(found, JudgeFailure):
        error = GroupError(type=found.type, detail=found.detail, retryable=found.type.is_retryable)
        return GroupResult(id=group_id, status=Status.FAILED, pairs=pairs, criteria=criteria, error=error)
    return GroupResult(
        id=group_id,
        status=found.status,
        rewards=found.rewards,
        ranks=found.ranks,
        scores=found.scores,
        pairs=pairs,
        criteria=criteria,
    )


def usage(groups: Iterable[JudgedGroup]) -> Usage:
    """What all groups of a request cost together."""
    costs = [asked.outcome.cost for group in groups for asked in group.asked]
    return Usage(
        judge_calls=sum(cost.judge_calls for cost in costs),
        cached_verdicts=sum(cost.cached_answers for cost in costs),
        prompt_tokens=sum(cost.prompt_tokens for cost in costs),
        completion_tokens=sum(cost.completion_tokens for cost in costs),
    )


def _by_pairs(judged: JudgedGroup, terms: Terms) -> _Numbers | JudgeFailure:
    comparisons = [
        Comparison(first=pair.first, second=pair.second, verdict=pair.outcome.verdict)
        for pair in judged.pairs
        if isinstance(pair.outcome, PairAnswer)
    ]
    standing = standing_of_pairs(len(judged.group.candidates), comparisons, tie_margin=terms.tie_band)
    if standing is None:
        return _why_unconnected(judged)
    if terms.scheme.scheme in _NEEDS_MARGINS and not standing.has_margins:
        return _CHOICES_ONLY
    return _compared(standing, terms)


def _by_scores(
    candidates: Sequence[JudgedCandidate], terms: Terms, *, rubric: RubricContent
) -> _Numbers | JudgeFailure:
    answers = [rated.outcome for rated in candidates if isinstance(rated.outcome, ImageAnswer)]
    if len(answers) < len(candidates):
        failures = [rated.outcome for rated in candidates if isinstance(rated.outcome, JudgeFailure)]
        return _told(failures, retryable=all(failure.type.is_retryable for failure in failures))
    weights = {criterion.id: criterion.weight for criterion in rubric.criteria}
    scores = tuple(weighted_score(answer.scores, weights) for answer in answers)
    standing = standing_of_scores(scores, tie_score=terms.tie_band)
    if terms.scheme.scheme is Scheme.SCORE:
        return _Numbers(status=Status.SCORED, rewards=scores, ranks=standing.ranks, scores=scores)
    return replace(_compared(standing, terms), scores=scores)


def _compared(standing: Standing, terms: Terms) -> _Numbers:
    if standing.is_tied:
        return _Numbers(status=Status.TIED)
    rewards = comparative_rewards(standing, terms.scheme, temperature=terms.temperature)
    return _Numbers(status=Status.SCORED, rewards=rewards, ranks=standing.ranks)


def _why_unconnected(judged: JudgedGroup) -> JudgeFailure:
    """The failure of a group whose judged pairs do not connect all candidates.

    It is retryable exactly when the pairs that can be asked again would connect them together with those judged.
    """
    failures = [pair.outcome for pair in judged.pairs if isinstance(pair.outcome, JudgeFailure)]
    within_reach = [
        (pair.first, pair.second)
        for pair in judged.pairs
        if isinstance(pair.outcome, PairAnswer) or pair.outcome.type.is_retryable
    ]
    failure = _told(failures, retryable=connects(len(judged.group.candidates), within_reach))
    if len(judged.pairs) == 1:
        return failure
    counts = f"{len(failures)} of {len(judged.pairs)} pairs were not judged, too many to rank all candidates"
    return replace(failure, detail=f"{counts}: {failure.detail}")


def _told(failures: Sequence[JudgeFailure], *, retryable: bool) -> JudgeFailure:
    """One of several failures; by its type, so that the order of the candidates does not decide."""
    fitting = [failure for failure in failures if failure.type.is_retryable is retryable]
    return min(fitting, key=lambda failure: list(FailureType).index(failure.type))


def _pair_verdicts(pairs: Sequence[JudgedPair], *, temperature: float) -> tuple[PairVerdict, ...]:
    """The verdicts on those pairs that have one."""
    return tuple(
        _pair_verdict(pair, pair.outcome, temperature=temperature)
        for pair in pairs
        if isinstance(pair.outcome, PairAnswer)
    )


def _pair_verdict(pair: JudgedPair, answer: PairAnswer, *, temperature: float) -> PairVerdict:
    verdict = answer.verdict
    winners = {1: pair.first, 0: None, -1: pair.second}
    return PairVerdict(
        first=pair.first,
        second=pair.second,
        winner=winners[verdict.preferred],
        margin=verdict.margin,
        p_first=verdict.p_first(temperature),
        position_bias=verdict.position_bias,
        consistent=verdict.consistent,
        label_mass=verdict.label_mass,
        cached=answer.cached,
    )


def _criterion_scores(candidates: Sequence[JudgedCandidate]) -> tuple[CriterionScores, ...]:
    """One per candidate; none at all when one of them could not be rated."""
    answers = [rated.outcome for rated in candidates if isinstance(rated.outcome, ImageAnswer)]
    if len(answers) < len(candidates):
        return ()
    return tuple(
        CriterionScores(candidate=index, scores=answer.scores, label_mass=answer.label_mass, cached=answer.cached)
        for index, answer in enumerate(answers)
    )
