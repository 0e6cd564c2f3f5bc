import pytest

from services.judging.drawings import NUM_PAIRS, drawn_pairs


def test_the_series_begins_with_another_thing_then_noise_then_another_shape_then_another_colour() -> None:
    assert [pair.prompt for pair in drawn_pairs(4)] == [
        "a red circle", "a green square", "a blue triangle", "an orange circle"
    ]  # fmt: skip


def test_no_picture_is_compared_with_itself_and_no_pair_comes_twice() -> None:
    pairs = drawn_pairs(NUM_PAIRS)
    assert all(pair.first.digest != pair.second.digest for pair in pairs)
    assert len({(pair.prompt, pair.first.digest, pair.second.digest) for pair in pairs}) == NUM_PAIRS


def test_a_longer_series_begins_like_a_shorter_one() -> None:
    assert drawn_pairs(9)[:3] == drawn_pairs(3)


@pytest.mark.parametrize("num_pairs", [0, NUM_PAIRS + 1])
def test_pairs_beyond_the_series_are_refused(num_pairs: int) -> None:
    with pytest.raises(ValueError, match="1 to 60"):
        drawn_pairs(num_pairs)
