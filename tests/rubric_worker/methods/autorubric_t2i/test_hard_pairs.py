"""Which wrongly ranked pairs there are, and which of them are drawn."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rubric_worker.methods.autorubric_t2i.hard_pairs import Bucket, draw, misranked, mix_of_round
from shared_schemas.autorubric import AutoRubricParameters, BucketMix

SMALL, LARGE, HIGH = Bucket.SMALL_MARGIN, Bucket.LARGE_MARGIN, Bucket.HIGH_REWARD


def test_wrongly_ranked_pairs_are_of_three_kinds() -> None:
    #                  right, small, large, high, equal, unknown
    better = np.array([9.0, 1.0, 1.0, 7.0, 2.0, np.nan])
    worse = np.array([3.0, 1.1, 5.0, 8.0, 2.0, 1.0])
    # |margins| are 6, 0.1, 4, 1, 0: their median is 1. Of all rewards the 60th percentile is 4.2.
    found = misranked(better, worse, small_margin_percentile=50, high_reward_percentile=60)
    assert found == {1: SMALL, 2: LARGE, 3: HIGH, 4: SMALL}


def test_nothing_is_wrong_with_pairs_that_have_no_scores() -> None:
    unknown = np.array([np.nan, np.nan])
    assert misranked(unknown, unknown, small_margin_percentile=30, high_reward_percentile=60) == {}


def test_the_mix_moves_from_the_first_to_the_last() -> None:
    first = BucketMix(small_margin=0.3, large_margin=0.6, high_reward=0.1)
    last = BucketMix(small_margin=0.1, large_margin=0.0, high_reward=0.9)
    mixes = [mix_of_round(number, of=3, first=first, last=last) for number in (1, 2, 3)]
    assert (mixes[0], mixes[2]) == (first, last)
    assert [mixes[1].small_margin, mixes[1].large_margin, mixes[1].high_reward] == pytest.approx([0.2, 0.3, 0.5])
    assert mix_of_round(1, of=1, first=first, last=last) == first


def test_kinds_are_drawn_in_their_shares_and_others_fill_up() -> None:
    found = dict(enumerate([SMALL] * 10 + [LARGE] * 10 + [HIGH] * 2))
    mix = BucketMix(small_margin=0.25, large_margin=0.25, high_reward=0.5)
    drawn = draw(found, mix, num_pairs=8, lots=list(range(22)), uses={}, max_uses=4)
    assert drawn == [0, 1, 2, 3, 10, 11, 20, 21]  # 2 + 2 + 4, of which 2 are there; small ones fill up


def test_lots_decide_within_a_kind() -> None:
    found = dict.fromkeys(range(5), LARGE)
    mix = BucketMix(small_margin=0, large_margin=1, high_reward=0)
    assert draw(found, mix, num_pairs=2, lots=[5, 1, 4, 0, 3], uses={}, max_uses=4) == [1, 3]


KINDS = st.dictionaries(st.integers(0, 19), st.sampled_from(Bucket), max_size=20)


@given(KINDS, st.integers(1, 12), st.integers(1, 4), st.integers(1, 12))
def test_no_pair_is_drawn_more_often_than_allowed_and_no_more_than_asked_for(
    found: dict[int, Bucket], num_pairs: int, max_uses: int, num_rounds: int
) -> None:
    options, uses = AutoRubricParameters(), Counter[int]()
    for number in range(1, num_rounds + 1):
        mix = mix_of_round(number, of=num_rounds, first=options.first_mix, last=options.last_mix)
        lots = np.random.default_rng(number).permutation(20).tolist()
        left = sum(uses[place] < max_uses for place in found)
        drawn = draw(found, mix, num_pairs=num_pairs, lots=lots, uses=uses, max_uses=max_uses)
        assert len(drawn) == len(set(drawn)) == min(num_pairs, left)
        uses.update(drawn)
    assert all(count <= max_uses for count in uses.values())
    assert set(uses) <= set(found)
