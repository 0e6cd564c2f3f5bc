"""Sets drawn by chance have the form of the learned one, and nothing else in common with it."""

import pytest

from examples.learn_rubrics.random_sets import NUM_SETS, POOL, random_sets
from shared_schemas.rubrics import Criterion, RubricContent

LEARNED = RubricContent(
    task="edit",
    task_description="Photographs.",
    criteria=(
        Criterion(id="a", theme="Edit", tips=("It is done.", "It is where it should be."), weight=2.0),
        Criterion(id="b", theme="The rest is preserved"),
    ),
)


def test_as_many_criteria_with_as_many_statements_and_the_same_weights() -> None:
    for content in random_sets(LEARNED):
        assert [len(criterion.tips) for criterion in content.criteria] == [2, 1]
        assert [criterion.weight for criterion in content.criteria] == [2.0, 1.0]
        assert (content.task, content.mode, content.task_description) == (
            LEARNED.task,
            LEARNED.mode,
            LEARNED.task_description,
        )


def test_statements_come_from_the_pool_and_none_twice_into_a_set() -> None:
    for content in random_sets(LEARNED):
        statements = [tip for criterion in content.criteria for tip in criterion.tips]
        assert set(statements) <= set(POOL)
        assert len(set(statements)) == len(statements)


def test_equal_seeds_draw_equal_sets() -> None:
    sets = random_sets(LEARNED, seed=5)
    assert sets == random_sets(LEARNED, seed=5) != random_sets(LEARNED, seed=6)
    assert len({content.digest for content in sets}) == NUM_SETS


def test_the_pool_is_forty_different_statements() -> None:
    assert len(POOL) == len(set(POOL)) == 40


def test_a_set_larger_than_the_pool_cannot_be_drawn() -> None:
    large = LEARNED.model_copy(
        update={"criteria": tuple(Criterion(id=f"c{n}", theme=f"Theme {n}", tips=("x",) * 3) for n in range(14))}
    )
    with pytest.raises(ValueError, match="larger sample"):
        random_sets(large)
