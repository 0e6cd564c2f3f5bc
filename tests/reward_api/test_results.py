"""What becomes of verdicts and failures inside a group, built by hand."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.answers import ChoiceAnswer
from services.judging.images import JudgeImage
from services.judging.questions import (
    FIRST_SECOND,
    Asked,
    Cost,
    ImageAnswer,
    ImageQuestion,
    JudgeFailure,
    PairAnswer,
    PairQuestion,
)
from services.judging.verdicts import Preference, Verdict, combine_orders
from services.reward_api.inquiry import JudgedCandidate, JudgedGroup, JudgedPair
from services.reward_api.results import group_result, usage
from services.reward_api.terms import Terms
from shared_schemas.problems import FailureType
from shared_schemas.reward import Group, GroupResult, RewardScheme, Scheme, Status
from shared_schemas.rubrics import Criterion, Mode, RubricContent, Task

RUBRIC = RubricContent(
    task=Task.T2I, criteria=(Criterion(id="colour", theme="Colour", weight=2.0), Criterion(id="shape", theme="Shape"))
)
IMAGE = JudgeImage(digest="sha256:" + "0" * 64, width=1, height=1, png=b"")
PAIR_QUESTION = PairQuestion(prompt="p", first=IMAGE, second=IMAGE, source=None, rubric=RUBRIC)
IMAGE_QUESTION = ImageQuestion(prompt="p", image=IMAGE, source=None, rubric=RUBRIC)

TIMEOUT = JudgeFailure(type=FailureType.JUDGE_TIMEOUT, detail="too late", cost=Cost(judge_calls=3))
REFUSED = JudgeFailure(type=FailureType.JUDGE_REFUSED, detail="no")
OFF_TOPIC = JudgeFailure(type=FailureType.JUDGE_OFF_TOPIC, detail="prose")


def margin(nats: float) -> PairAnswer:
    cost = Cost(judge_calls=1, cached_answers=1, prompt_tokens=10, completion_tokens=2)
    return PairAnswer(verdict=combine_orders(nats, -nats, 1.0), asked=(), cost=cost)


def choice(preferred: Preference) -> PairAnswer:
    verdict = Verdict(preferred=preferred, margin=None, position_bias=None, consistent=True, label_mass=None)
    answer = ChoiceAnswer(chose_first=preferred == 1, prompt_tokens=1, completion_tokens=1)
    asked = Asked(key="sha256:" + "0" * 64, question=FIRST_SECOND, answer=answer, cached=False, seconds=0.1)
    return PairAnswer(verdict=verdict, asked=(asked,), cost=Cost())


def rating(colour: float, shape: float) -> ImageAnswer:
    return ImageAnswer(scores={"colour": colour, "shape": shape}, label_mass=0.9, asked=(), cost=Cost())


def group_of(num_candidates: int) -> Group:
    return Group(id="g", prompt="p", candidates=tuple(f"c{index}" for index in range(num_candidates)))


def pairwise(
    num_candidates: int,
    outcomes: dict[tuple[int, int], PairAnswer | JudgeFailure],
    *,
    scheme: Scheme | None = None,
    tie_margin: float = 0.05,
) -> GroupResult:
    pairs = tuple(
        JudgedPair(first=first, second=second, question=PAIR_QUESTION, outcome=outcome)
        for (first, second), outcome in outcomes.items()
    )
    reward = None if scheme is None else RewardScheme(scheme=scheme)
    terms = Terms(mode=Mode.PAIRWISE, reward=reward, tie_band=tie_margin)
    judged = JudgedGroup(group=group_of(num_candidates), pairs=pairs)
    return group_result(judged, terms=terms, rubric=RUBRIC, per_criterion=False)


def pointwise(*outcomes: ImageAnswer | JudgeFailure) -> GroupResult:
    candidates = tuple(JudgedCandidate(question=IMAGE_QUESTION, outcome=outcome) for outcome in outcomes)
    judged = JudgedGroup(group=group_of(len(outcomes)), candidates=candidates)
    terms = Terms(mode=Mode.POINTWISE, reward=None, tie_band=0.0)
    return group_result(judged, terms=terms, rubric=RUBRIC, per_criterion=True)


def test_a_failed_pair_fails_a_group_of_two_in_its_own_words() -> None:
    result = pairwise(2, {(0, 1): REFUSED})
    assert (result.status, result.rewards, result.pairs) == (Status.FAILED, None, ())
    assert result.error is not None
    assert result.error.model_dump() == {"type": "judge-refused", "detail": "no", "retryable": False}


def test_a_group_of_three_stands_while_two_pairs_connect_it() -> None:
    result = pairwise(3, {(0, 1): margin(1.0), (0, 2): TIMEOUT, (1, 2): margin(1.0)})
    assert (result.status, result.ranks) == (Status.SCORED, (1, 2, 3))
    assert [(pair.first, pair.second) for pair in result.pairs] == [(0, 1), (1, 2)]


def test_a_group_that_falls_apart_keeps_the_verdicts_it_has() -> None:
    result = pairwise(3, {(0, 1): margin(1.0), (0, 2): TIMEOUT, (1, 2): TIMEOUT})
    assert (result.status, len(result.pairs)) == (Status.FAILED, 1)
    assert result.error is not None
    assert result.error.detail == "2 of 3 pairs were not judged, too many to rank all candidates: too late"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        # Candidate 2 can be had by asking (1, 2) again: retryable, though (0, 2) never will be judged.
        ({(0, 1): margin(1.0), (0, 2): REFUSED, (1, 2): TIMEOUT}, FailureType.JUDGE_TIMEOUT),
        # Candidate 2 is refused against everybody: asking (0, 1) again cannot help.
        ({(0, 1): TIMEOUT, (0, 2): REFUSED, (1, 2): REFUSED}, FailureType.JUDGE_REFUSED),
        # Of several that cannot help, the same one whatever the order.
        ({(0, 1): OFF_TOPIC, (0, 2): REFUSED, (1, 2): OFF_TOPIC}, FailureType.JUDGE_REFUSED),
        ({(0, 1): REFUSED, (0, 2): OFF_TOPIC, (1, 2): OFF_TOPIC}, FailureType.JUDGE_REFUSED),
    ],
)
def test_a_group_is_retryable_exactly_when_asking_again_can_connect_it(
    outcomes: dict[tuple[int, int], PairAnswer | JudgeFailure], expected: FailureType
) -> None:
    error = pairwise(3, outcomes).error
    assert error is not None
    assert (error.type, error.retryable) == (expected, expected.is_retryable)


outcomes_of_pairs: st.SearchStrategy[PairAnswer | JudgeFailure] = st.sampled_from(
    [margin(1.0), margin(-2.0), margin(0.01), choice(1), TIMEOUT, REFUSED, OFF_TOPIC]
)


@given(num_candidates=st.integers(2, 5), data=st.data(), scheme=st.sampled_from([Scheme.RANK, Scheme.WIN_RATE]))
def test_permuting_the_candidates_permutes_numbers_and_keeps_status_and_error(
    num_candidates: int, data: st.DataObject, scheme: Scheme
) -> None:
    outcomes = {pair: data.draw(outcomes_of_pairs) for pair in combinations(range(num_candidates), 2)}
    place = data.draw(st.permutations(range(num_candidates)))
    before = pairwise(num_candidates, outcomes, scheme=scheme)
    after = pairwise(num_candidates, {(place[i], place[j]): one for (i, j), one in outcomes.items()}, scheme=scheme)
    assert (after.status, after.error) == (before.status, before.error)
    for moved, numbers in ((after.rewards, before.rewards), (after.ranks, before.ranks)):
        assert (moved is None) == (numbers is None)
        if moved is not None and numbers is not None:
            assert tuple(moved[place[i]] for i in range(num_candidates)) == numbers


@pytest.mark.parametrize("scheme", [Scheme.WIN_RATE, Scheme.MARGIN])
def test_rewards_made_of_margins_fail_for_a_judge_that_only_chooses(scheme: Scheme) -> None:
    result = pairwise(2, {(0, 1): choice(1)}, scheme=scheme)
    assert result.error is not None
    assert (result.error.type, result.error.retryable) == ("judge-lacks-log-probs", False)
    assert [pair.winner for pair in result.pairs] == [0]


def test_rewards_made_of_ranks_need_no_more_than_a_choice() -> None:
    result = pairwise(2, {(0, 1): choice(-1)}, tie_margin=5.0)
    assert (result.rewards, result.ranks) == ((-0.1, 1.0), (2.0, 1.0))
    [pair] = result.pairs
    assert (pair.winner, pair.margin, pair.p_first, pair.label_mass) == (1, None, None, None)
    assert pair.consistent


def test_choices_that_contradict_each_other_are_a_tie() -> None:
    result = pairwise(2, {(0, 1): choice(0)}, tie_margin=0.0)
    assert (result.status, result.pairs[0].winner) == (Status.TIED, None)


def test_scores_are_weighted_sums() -> None:
    result = pointwise(rating(0.5, 0.25), rating(1.0, 0.0))
    assert result.scores == result.rewards == (1.25, 2.0)
    assert result.ranks == (2.0, 1.0)
    assert [one.scores for one in result.criteria] == [{"colour": 0.5, "shape": 0.25}, {"colour": 1.0, "shape": 0.0}]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((rating(0.5, 0.5), TIMEOUT), FailureType.JUDGE_TIMEOUT),
        ((TIMEOUT, rating(0.5, 0.5), REFUSED), FailureType.JUDGE_REFUSED),
    ],
)
def test_scores_need_every_candidate_so_a_group_is_retryable_only_when_all_failures_are(
    outcomes: tuple[ImageAnswer | JudgeFailure, ...], expected: FailureType
) -> None:
    result = pointwise(*outcomes)
    assert result.error is not None
    assert result.error.type is expected
    assert (result.scores, result.rewards, result.criteria) == (None, None, ())


def test_the_cost_of_a_request_is_that_of_all_its_questions_failed_ones_included() -> None:
    pairs = tuple(
        JudgedPair(first=0, second=1, question=PAIR_QUESTION, outcome=outcome) for outcome in (margin(1.0), TIMEOUT)
    )
    candidate = JudgedCandidate(question=IMAGE_QUESTION, outcome=rating(0.5, 0.5))
    spent = usage([JudgedGroup(group=group_of(2), pairs=pairs, candidates=(candidate,))] * 2)
    assert (spent.judge_calls, spent.cached_verdicts, spent.prompt_tokens, spent.completion_tokens) == (8, 2, 20, 4)
