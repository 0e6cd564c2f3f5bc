"""Groups of any size, both modes and every scheme, over HTTP and in front of a scripted judge.

The judge's margin between two grey pictures is 4 · (difference of their brightness); its score of one is
sigmoid(4 · (brightness − ½)).
"""

from itertools import combinations
from typing import Any

import httpx
import pytest

from services.judging.verdicts import sigmoid
from shared_schemas.reward import GroupResult, RewardResponse

LEVELS = {"a": 51, "b": 255, "c": 0, "d": 153}  # 0.2, 1.0, 0.0 and 0.6 of full brightness
GROUP = {"id": "g", "prompt": "a lamp", "candidates": list(LEVELS)}
BRIGHT_AND_DARK = {
    "task": "t2i",
    "mode": "pointwise",
    "criteria": [
        {"id": "bright", "theme": "BRIGHT", "weight": 3.0},
        {"id": "dark", "theme": "DARK"},
    ],
}


def parsed(answer: httpx.Response) -> RewardResponse:
    assert answer.status_code == 200, answer.text
    return RewardResponse.model_validate_json(answer.content)


def only(answer: httpx.Response) -> GroupResult:
    [result] = parsed(answer).results
    return result


@pytest.fixture
def images(png) -> dict[str, bytes]:
    return {name: png(level / 255) for name, level in LEVELS.items()}


async def test_four_candidates_are_compared_pair_by_pair_and_ranked(service, ask, images) -> None:
    response = parsed(await ask(service, [GROUP], images))
    [result] = response.results
    assert result.ranks == (3.0, 1.0, 4.0, 2.0)
    assert result.rewards == pytest.approx((1 - 2 / 3 * 1.1, 1.0, -0.1, 1 - 1 / 3 * 1.1))
    assert [(pair.first, pair.second) for pair in result.pairs] == list(combinations(range(4), 2))
    assert [pair.winner for pair in result.pairs] == [1, 0, 3, 1, 1, 3]
    assert [pair.margin for pair in result.pairs] == pytest.approx([-3.2, 0.8, -1.6, 4.0, 1.6, -2.4])
    assert response.usage.judge_calls == 12


async def test_margin_and_win_rate_are_means_over_the_others(service, ask, images) -> None:
    margins = only(await ask(service, [GROUP], images, reward={"scheme": "margin"}))
    assert margins.rewards == pytest.approx([-4 / 3, 8.8 / 3, -7.2 / 3, 2.4 / 3])
    win_rates = only(await ask(service, [GROUP], images, reward={"scheme": "win_rate"}))
    assert win_rates.rewards is not None
    assert win_rates.rewards[0] == pytest.approx((sigmoid(-3.2) + sigmoid(0.8) + sigmoid(-1.6)) / 3)
    assert sum(win_rates.rewards) == pytest.approx(2.0)  # one win for each of six pairs, over three others


async def test_permuting_the_candidates_permutes_the_rewards(service, ask, images) -> None:
    forward = only(await ask(service, [GROUP], images, cache="off"))
    backward = only(await ask(service, [GROUP | {"candidates": list(LEVELS)[::-1]}], images, cache="off"))
    assert forward.rewards is not None
    assert backward.rewards == forward.rewards[::-1]


async def test_groups_of_different_sizes_get_the_scheme_that_suits_each(service, ask, images) -> None:
    groups = [GROUP, GROUP | {"id": "two", "candidates": ["b", "c"]}]
    four, two = parsed(await ask(service, groups, images)).results
    assert four.rewards is not None
    assert len(four.rewards) == 4
    assert two.rewards == (1.0, -0.1)


async def test_a_pair_that_failed_is_left_out_while_the_others_connect_all(service, ask, images, png) -> None:
    coloured = {"b": png(colour=(255, 255, 200)), "d": png(colour=(150, 150, 100))}  # together they get a 500
    result = only(await ask(service, [GROUP], images | coloured, reward={"scheme": "rank"}))
    assert result.status == "scored"
    assert result.ranks == (3.0, 1.0, 4.0, 2.0)
    assert [(pair.first, pair.second) for pair in result.pairs] == [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]


async def test_a_group_that_falls_apart_has_failed_and_shows_what_was_judged(service, ask, png) -> None:
    group = GROUP | {"candidates": ["a", "b", "c"]}
    coloured = {name: png(colour=(200, 100, level)) for name, level in (("a", 0), ("b", 50), ("c", 90))}
    groups = [group, GROUP | {"id": "h", "candidates": ["a", "b", "grey"]}]
    apart, whole = parsed(await ask(service, groups, coloured | {"grey": png(0.1)})).results
    assert (apart.status, apart.rewards, apart.pairs) == ("failed", None, ())
    assert apart.error is not None
    assert (apart.error.type, apart.error.retryable) == ("judge-unavailable", True)
    assert "3 of 3 pairs" in apart.error.detail
    assert whole.status == "scored"


async def test_a_group_within_the_tie_band_is_tied_as_a_whole(service, ask, images) -> None:
    result = only(await ask(service, [GROUP], images, tie_margin=5.0))
    assert (result.status, result.rewards, result.ranks) == ("tied", None, None)
    assert len(result.pairs) == 6


async def test_candidates_that_tie_share_their_rank(service, ask, images, png) -> None:
    result = only(await ask(service, [GROUP], images | {"d": png(51 / 255)}))
    assert result.ranks == (2.5, 1.0, 4.0, 2.5)
    assert result.rewards == pytest.approx((0.45, 1.0, -0.1, 0.45))


async def test_the_same_image_twice_in_a_group_is_a_tie_within_it(service, ask, images) -> None:
    group = GROUP | {"candidates": ["a", "b", "a"]}
    result = only(await ask(service, [group], {name: images[name] for name in "ab"}))
    assert result.ranks == (2.5, 1.0, 2.5)
    assert result.pairs[1].margin == 0.0


@pytest.mark.parametrize("orders", ["single", "adaptive"])
async def test_an_image_never_beats_itself_in_whatever_order(service, ask, images, orders) -> None:
    group = GROUP | {"candidates": ["a", "a"]}
    assert only(await ask(service, [group], {"a": images["a"]}, orders=orders, tie_margin=0.0)).status == "tied"


async def test_one_order_costs_half_and_says_nothing_about_the_bias(service, ask, images) -> None:
    response = parsed(await ask(service, [GROUP], images, orders="single"))
    assert response.usage.judge_calls == 6
    for pair in response.results[0].pairs:
        assert pair.margin is not None
        assert (pair.position_bias, pair.consistent) == (None, None)


async def test_adaptive_orders_ask_the_second_one_only_when_in_doubt(running, ask, images) -> None:
    async with running(position_bias_bound=0.6) as service:
        response = parsed(await ask(service, [GROUP], images, rubric="t2i@none", orders="adaptive", tie_margin=0.05))
        both = [pair for pair in response.results[0].pairs if pair.position_bias is not None]
    # Log-odds of 0.8 ± 0.5 are clear of 0.65 in one order only, all larger margins in both.
    assert response.usage.judge_calls in {6, 7}
    assert response.usage.judge_calls == 6 + len(both)
    assert all(pair.margin == pytest.approx(0.8) for pair in both)


# Pointwise.


def scores(levels: list[int]) -> list[float]:
    log_odds = [4 * (level / 255 - 0.5) for level in levels]
    return [3 * sigmoid(x) + sigmoid(-x) for x in log_odds]


async def test_pointwise_candidates_are_scored_by_every_criterion(service, ask, images) -> None:
    response = parsed(await ask(service, [GROUP], images, rubric=BRIGHT_AND_DARK, per_criterion=True))
    [result] = response.results
    expected = scores(list(LEVELS.values()))
    assert (result.status, result.pairs) == ("scored", ())
    assert result.scores == result.rewards == pytest.approx(expected)
    assert result.ranks == (3.0, 1.0, 4.0, 2.0)
    assert [one.candidate for one in result.criteria] == [0, 1, 2, 3]
    assert result.criteria[1].scores == pytest.approx({"bright": sigmoid(2), "dark": sigmoid(-2)})
    assert list(result.criteria[1].scores) == ["bright", "dark"]
    assert response.usage.judge_calls == 8


async def test_criteria_are_told_only_when_asked_for(service, ask, images) -> None:
    assert only(await ask(service, [GROUP], images, rubric=BRIGHT_AND_DARK)).criteria == ()


async def test_one_candidate_alone_can_be_scored(service, ask, images) -> None:
    result = only(await ask(service, [GROUP | {"candidates": ["b"]}], {"b": images["b"]}, rubric=BRIGHT_AND_DARK))
    assert result.rewards == pytest.approx(scores([255]))
    assert result.ranks == (1.0,)


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        ({"scheme": "binary"}, [1.0, -0.1]),
        ({"scheme": "rank", "preferred": 3.0}, [3.0, -0.1]),
        ({"scheme": "margin"}, [2 * (sigmoid(2) - sigmoid(-2)), 2 * (sigmoid(-2) - sigmoid(2))]),
        ({"scheme": "score"}, scores([255, 0])),
    ],
)
async def test_scores_can_be_compared_by_any_scheme(service, ask, images, reward, expected) -> None:
    group = GROUP | {"candidates": ["b", "c"]}
    sent = {name: images[name] for name in "bc"}
    result = only(await ask(service, [group], sent, rubric=BRIGHT_AND_DARK, reward=reward))
    assert result.rewards == pytest.approx(expected)


async def test_equal_scores_tie_unless_the_scores_themselves_are_the_rewards(service, ask, images) -> None:
    group = GROUP | {"candidates": ["a", "a"]}
    meta: dict[str, Any] = {"rubric": BRIGHT_AND_DARK}
    tied = only(await ask(service, [group], {"a": images["a"]}, reward={"scheme": "binary"}, **meta))
    assert (tied.status, tied.rewards) == ("tied", None)
    assert tied.scores is not None
    scored = only(await ask(service, [group], {"a": images["a"]}, **meta))
    assert (scored.status, scored.ranks) == ("scored", (1.5, 1.5))
    assert scored.rewards == tied.scores


async def test_scores_nearer_than_the_band_tie(service, ask, images) -> None:
    meta: dict[str, Any] = {"rubric": BRIGHT_AND_DARK, "reward": {"scheme": "rank"}}
    near = abs(scores([51])[0] - scores([0])[0])
    result = only(await ask(service, [GROUP], images, tie_score=1.01 * near, **meta))
    assert result.ranks == (3.5, 1.0, 3.5, 2.0)
    assert only(await ask(service, [GROUP], images, tie_score=0.99 * near, **meta)).ranks == (3.0, 1.0, 4.0, 2.0)


async def test_a_candidate_that_cannot_be_scored_fails_its_group_alone(service, ask, images) -> None:
    groups = [GROUP | {"id": "bad", "prompt": "BROKEN"}, GROUP]
    bad, good = parsed(await ask(service, groups, images, rubric=BRIGHT_AND_DARK)).results
    assert bad.error is not None
    assert (bad.error.type, bad.scores, bad.rewards) == ("judge-unavailable", None, None)
    assert good.status == "scored"


async def test_a_request_may_ask_for_the_other_mode(service, ask, images) -> None:
    pairwise = only(await ask(service, [GROUP], images, rubric=BRIGHT_AND_DARK, mode="pairwise"))
    assert (pairwise.ranks, pairwise.scores, len(pairwise.pairs)) == ((3, 1, 4, 2), None, 6)
    await service.post("/rubrics/bright/versions", json={"content": BRIGHT_AND_DARK | {"mode": "pairwise"}})
    pointwise = only(await ask(service, [GROUP], images, rubric="bright", mode="pointwise"))
    assert pointwise.scores == pytest.approx(scores(list(LEVELS.values())))


async def test_criteria_of_compared_candidates_are_asked_besides_and_never_fail_the_group(service, ask, images) -> None:
    meta: dict[str, Any] = {"mode": "pairwise", "per_criterion": True}
    response = parsed(await ask(service, [GROUP], images, rubric=BRIGHT_AND_DARK, **meta))
    [result] = response.results
    assert result.ranks == (3.0, 1.0, 4.0, 2.0)
    assert [one.scores["bright"] for one in result.criteria] == pytest.approx(
        [sigmoid(4 * (level / 255 - 0.5)) for level in LEVELS.values()]
    )
    assert response.usage.judge_calls == 12 + 8


async def test_ratings_that_fail_leave_a_compared_group_as_it_is(service, ask, images) -> None:
    # The scripted judge reads user messages only: a pair's rubric stands in the system message, a criterion does not.
    rubric = {"task": "t2i", "criteria": [{"id": "c", "theme": "HOLD"}]}
    group = GROUP | {"candidates": ["b", "c"]}
    sent = {name: images[name] for name in "bc"}
    result = only(await ask(service, [group], sent, rubric=rubric, per_criterion=True, deadline_seconds=1.0))
    assert (result.status, result.rewards, result.criteria) == ("scored", (1.0, -0.1), ())


async def test_there_are_no_criteria_to_tell_without_a_rubric(service, ask, images) -> None:
    result = only(await ask(service, [GROUP], images, rubric="t2i@none", per_criterion=True))
    assert (result.ranks, result.criteria) == ((3, 1, 4, 2), ())


# Rubric sets that come along.


async def test_a_rubric_set_may_come_with_the_request(service, ask, images) -> None:
    response = parsed(await ask(service, [GROUP], images, rubric=BRIGHT_AND_DARK))
    published = await service.post("/rubrics/bright/versions", json={"content": BRIGHT_AND_DARK})
    assert (response.rubric.name, response.rubric.version) == (None, None)
    assert response.rubric.digest == published.json()["digest"]
    by_name = parsed(await ask(service, [GROUP], images, rubric="bright"))
    assert by_name.results[0].rewards == response.results[0].rewards
    assert by_name.usage.judge_calls == 0


async def test_a_rubric_set_that_comes_along_decides_the_task(service, ask, images, png) -> None:
    group = GROUP | {"source": "s"}
    edit = {"task": "edit", "criteria": [{"id": "c", "theme": "Brightness"}]}
    assert only(await ask(service, [group], images | {"s": png()}, rubric=edit)).ranks == (3.0, 1.0, 4.0, 2.0)


async def test_large_images_reach_the_judge_scaled_down(running, ask, png, judge) -> None:
    async with running(judge_max_pixels=1024) as service:
        judge.largest_image_pixels = 0  # the probe's own images are no matter of this
        group = GROUP | {"candidates": ["a", "b"]}
        sent = {"a": png(1.0, size=(128, 128)), "b": png(0.0, size=(100, 60))}
        assert only(await ask(service, [group], sent, rubric="t2i@none")).rewards == (1.0, -0.1)
    assert judge.largest_image_pixels == 1024
