import numpy as np
import pytest

from services.rubric_worker.methods.embeddings import TfidfEmbedder, reduced, unit_rows
from shared_schemas.rubrics import Language

STATEMENTS = [
    "The object has the colour that was asked for.",
    "The object has the colour that was requested.",
    "The background is plain.",
]


async def test_what_says_nearly_the_same_lies_close_together() -> None:
    vectors = await TfidfEmbedder(Language.EN).embed(STATEMENTS)
    closeness = vectors @ vectors.T
    assert np.diag(closeness) == pytest.approx(1)
    assert closeness[0, 1] > 0.5 > closeness[0, 2]


async def test_chinese_is_compared_by_its_characters() -> None:
    statements = ["物体的颜色符合提示词。", "物体的颜色与提示词相符。", "背景干净。"]
    closeness = (vectors := await TfidfEmbedder(Language.ZH).embed(statements)) @ vectors.T
    assert closeness[0, 1] > 0.3 > closeness[0, 2]


async def test_equal_statements_give_equal_vectors() -> None:
    one, other = [await TfidfEmbedder(Language.EN).embed(STATEMENTS) for _ in range(2)]
    assert np.array_equal(one, other)


def test_rows_become_as_long_as_one_and_zeros_stay() -> None:
    assert unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))


def test_reducing_keeps_all_angles_when_there_is_room() -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(5, 40)))
    small = reduced(vectors)
    assert small.shape == (5, 5)
    assert small @ small.T == pytest.approx(vectors @ vectors.T)


def test_reducing_keeps_the_greatest_directions() -> None:
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(30, 2)) @ generator.normal(size=(2, 50))
    vectors = unit_rows(plane + 1e-6 * generator.normal(size=(30, 50)))
    small = reduced(vectors, max_dimensions=2)
    assert small.shape == (30, 2)
    assert small @ small.T == pytest.approx(vectors @ vectors.T, abs=1e-4)
    assert np.linalg.norm(small, axis=1) == pytest.approx(1)


def test_there_are_never_more_than_64_directions() -> None:
    assert reduced(unit_rows(np.random.default_rng(0).normal(size=(100, 200)))).shape == (100, 64)


def test_equal_vectors_are_one_dimension() -> None:
    assert reduced(unit_rows(np.ones((4, 3)))).shape == (4, 1)
