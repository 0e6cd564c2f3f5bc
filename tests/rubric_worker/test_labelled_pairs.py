from dataclasses import fields

from services.rubric_worker.labelled_pairs import ImagePair, pairs_of, pairs_of_row
from shared_schemas.datasets import DatasetRow


def row(*places: int, prompt: str = "a cat") -> DatasetRow:
    return DatasetRow(prompt=prompt, images=tuple(f"sha256:{index:064x}" for index in range(len(places))), rank=places)


def test_the_label_is_the_sign_of_what_people_prefer() -> None:
    assert [pair.label for places in ((1, 2), (2, 1), (1, 1)) for pair in pairs_of_row(row(*places))] == [1, -1, 0]


def test_a_row_of_three_images_has_three_pairs_in_order() -> None:
    three = row(2, 1, 3)
    pairs = list(pairs_of_row(three))
    places = [(three.images.index(pair.pair.first), three.images.index(pair.pair.second)) for pair in pairs]
    assert places == [(0, 1), (0, 2), (1, 2)]
    assert [pair.label for pair in pairs] == [-1, 1, 1]
    assert {pair.row for pair in pairs} == {three.digest}


def test_an_image_that_is_scored_alone_makes_no_pair() -> None:
    assert pairs_of([row(1), row(1, 2)]) == tuple(pairs_of_row(row(1, 2)))


def test_what_is_shown_to_a_judge_has_no_field_for_a_label() -> None:
    assert {field.name for field in fields(ImagePair)} == {"prompt", "first", "second", "source"}
