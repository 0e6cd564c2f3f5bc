"""Rows of labelled data: the names they may use, and what their labels mean."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared_schemas.datasets import (
    IMAGES_NAMES,
    PROMPT_NAMES,
    RANK_NAMES,
    SCORE_NAMES,
    SOURCE_NAMES,
    DatasetRow,
    UploadedRow,
)

ROW = {"prompt": "a lamp", "images": ["a.png", "b.png"], "rank": [1, 2]}
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def refusals(**row: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as refusal:
        UploadedRow.model_validate(row)
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in refusal.value.errors()]


@pytest.mark.parametrize("prompt", PROMPT_NAMES)
@pytest.mark.parametrize("images", IMAGES_NAMES)
@pytest.mark.parametrize("source", SOURCE_NAMES)
@pytest.mark.parametrize("rank", RANK_NAMES)
def test_every_name_of_a_field_means_the_same(prompt: str, images: str, source: str, rank: str) -> None:
    row = UploadedRow.model_validate({prompt: "a lamp", images: ["a.png", "b.png"], source: "s.png", rank: [1, 2]})
    assert row == UploadedRow.model_validate({**ROW, "source": "s.png"})


@pytest.mark.parametrize("names", [PROMPT_NAMES, IMAGES_NAMES, SOURCE_NAMES, RANK_NAMES, SCORE_NAMES])
def test_no_two_names_of_a_field_go_together(names: tuple[str, ...]) -> None:
    whole = {**ROW, "source": "s.png", "score": [2.0, 1.0]}
    for first, second in permutations(names, 2):
        others = {name: value for name, value in whole.items() if name != names[0]}
        twice = others | {first: whole[names[0]], second: whole[names[0]]}
        assert any("Extra inputs" in message for _, message in refusals(**twice))


@pytest.mark.parametrize(
    ("rank", "places"),
    [
        ([1, 2], (1, 2)),
        ([2, 1], (2, 1)),
        ([0, 5], (1, 2)),
        ([7, 7], (1, 1)),
        ([3, 1, 3, 2], (3, 1, 3, 2)),
        ([1.0, 2], (1, 2)),
    ],
)
def test_only_the_order_of_ranks_matters(rank: list[int], places: tuple[int, ...]) -> None:
    row = UploadedRow.model_validate({**ROW, "images": [f"{n}.png" for n in range(len(rank))], "rank": rank})
    assert row.places == places


@pytest.mark.parametrize(
    ("score", "places"), [([0.9, 0.1], (1, 2)), ([-3, 2], (2, 1)), ([0.0, -0.0], (1, 1)), ([5, 1, 9, 5], (2, 4, 1, 2))]
)
def test_scores_become_ranks_and_are_kept(score: list[float], places: tuple[int, ...]) -> None:
    images = [f"{n}.png" for n in range(len(score))]
    row = UploadedRow.model_validate({"prompt": "x", "images": images, "label_score": score})
    assert (row.places, row.score) == (places, tuple(score))


def test_one_image_with_a_score_needs_no_brackets() -> None:
    row = UploadedRow.model_validate({"query": "a lamp", "response": "a.png", "label_score": 4})
    assert (row.images, row.score, row.places) == (("a.png",), (4.0,), (1,))


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"rank": [1]}, "rank", "has 1 numbers for 2 images"),
        ({"rank": [1, 2, 3]}, "rank", "has 3 numbers for 2 images"),
        ({"rank": [1, 1.5]}, "rank.1", "whole numbers"),
        ({"rank": [1, True]}, "rank.1", "whole numbers"),
        ({"rank": ["1", 2]}, "rank.0", "whole numbers"),
        ({"rank": [1, float("inf")]}, "rank.1", "whole numbers"),
        ({"rank": [-1, 2]}, "rank.0", "greater than or equal to 0"),
        ({"rank": None}, "", "neither `rank` nor `score`"),
        ({"score": [1.0]}, "score", "has 1 numbers for 2 images"),
        ({"score": [1.0, float("nan")]}, "score.1", "finite"),
        ({"score": [1.0, "2"]}, "score.1", "valid number"),
        ({"score": [1.0, 2.0]}, "", "do not agree"),
        ({"images": []}, "images", "at least 1"),
        ({"images": ["a.png"], "rank": [1]}, "", "one image and no `score`"),
        ({"images": [f"{n}" for n in range(65)]}, "images", "at most 64"),
        ({"images": ["a.png", ""]}, "images.1", "at least 1 character"),
        ({"prompt": ""}, "prompt", "at least 1 character"),
        ({"prompt": " \n\t"}, "prompt", "is blank"),
        ({"prompt": "a\0b"}, "prompt", "control character U+0000"),
        ({"prompt": "a\ud800"}, "prompt", "valid string"),
        ({"prompt": None}, "prompt", "valid string"),
        ({"typo": 1}, "typo", "Extra inputs"),
        ({"id": ""}, "id", "at least 1 character"),
    ],
)
def test_what_a_row_cannot_say_is_refused(change: dict[str, object], where: str, message: str) -> None:
    found = refusals(**{**ROW, **change})
    assert any(place == where and message in text for place, text in found), found


def test_a_row_that_is_kept_counts_its_pairs_and_ties() -> None:
    row = DatasetRow(prompt="x", images=(A, B, C), rank=(1, 1, 3))
    assert (row.num_pairs, row.num_ties) == (3, 1)
    assert (DatasetRow(prompt="x", images=(A,), rank=(1,), score=(2.0,)).num_pairs) == 0


kept_rows = st.builds(
    DatasetRow,
    id=st.none() | st.text("abc", min_size=1),
    prompt=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip),
    images=st.just((A, B)),
    rank=st.sampled_from([(1, 2), (2, 1), (1, 1)]),
    source=st.none() | st.just(C),
)


@given(kept_rows)
def test_a_row_survives_json(row: DatasetRow) -> None:
    assert DatasetRow.model_validate_json(row.model_dump_json()) == row


@given(kept_rows)
def test_a_row_that_was_read_can_be_sent_again(row: DatasetRow) -> None:
    again = UploadedRow.model_validate(row.model_dump())
    assert (again.prompt, again.images, again.places, again.source, again.id) == (
        *(row.prompt, row.images, row.rank, row.source, row.id),
    )


@given(kept_rows, kept_rows)
def test_digests_are_equal_exactly_when_rows_are(first: DatasetRow, second: DatasetRow) -> None:
    assert (first.digest == second.digest) == (first == second)
