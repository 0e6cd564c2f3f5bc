from services.rubric_worker.labelled_pairs import ImagePair
from services.rubric_worker.methods.labels import LoneImage, ScoreRange, known_pairs, learning_rows, score_range
from shared_schemas.datasets import DatasetRow
from shared_schemas.rubrics import Mode


def row(*rank: int, prompt: str = "a cat", score: tuple[float, ...] | None = None) -> DatasetRow:
    images = tuple(f"sha256:{index:064x}" for index in range(len(rank)))
    return DatasetRow(prompt=prompt, images=images, rank=rank, score=score)


def test_three_images_say_as_much_as_they_differ() -> None:
    [found] = learning_rows([row(2, 1, 2)], mode=Mode.PAIRWISE, scores=None)
    assert [known.sign for known in found.known] == [-1, 1]
    assert all(isinstance(known.shown, ImagePair) for known in found.known)


def test_rows_that_say_nothing_are_left_out() -> None:
    rows = [row(1, 1), row(1, score=(4.0,)), row(1, 2, prompt="a dog")]
    [found] = learning_rows(rows, mode=Mode.PAIRWISE, scores=ScoreRange(lowest=1, highest=5))
    assert found.prompt == "a dog"


def test_an_image_that_stands_alone_is_good_above_the_middle_of_the_range() -> None:
    rows = [row(1, prompt=str(score), score=(score,)) for score in (1.0, 3.0, 4.5)]
    found = learning_rows(rows, mode=Mode.POINTWISE, scores=ScoreRange(lowest=1, highest=5))
    signs = {one.prompt: known.sign for one in found for known in one.known}
    assert signs == {"1.0": -1, "4.5": 1}
    assert all(isinstance(known.shown, LoneImage) for one in found for known in one.known)
    assert known_pairs(found) == ()


def test_the_range_is_the_datas_own_unless_it_is_given() -> None:
    rows = [row(1, score=(2.0,)), row(1, 2, score=(8.0, 3.0)), row(1, 2)]
    assert score_range(rows, lowest=None, highest=None) == ScoreRange(lowest=2, highest=8)
    assert score_range(rows, lowest=0, highest=10) == ScoreRange(lowest=0, highest=10)
    assert score_range([row(1, 2)], lowest=0, highest=10) is None


def test_a_rows_name_and_place_do_not_depend_on_its_label() -> None:
    rows = [row(1, 2, prompt=str(number)) for number in range(9)]
    swapped = [one.model_copy(update={"rank": one.rank[::-1]}) for one in rows]
    names = [[found.key for found in learning_rows(some, mode=Mode.PAIRWISE, scores=None)] for some in (rows, swapped)]
    assert names[0] == names[1]
