"""The pairs of both tasks, made once."""

import pytest

from examples.learn_rubrics.edits import edit_pairs
from examples.learn_rubrics.labelled_folder import LabelledPair
from examples.learn_rubrics.shapes import shape_pairs


@pytest.fixture(scope="session")
def drawings() -> list[LabelledPair]:
    """Labelled pairs of drawings, seed 0."""
    return shape_pairs(seed=0)


@pytest.fixture(scope="session")
def edits() -> list[LabelledPair]:
    """Labelled edits of photographs, seed 0."""
    return edit_pairs(seed=0)


@pytest.fixture(scope="session", params=["drawings", "edits"])
def pairs(request: pytest.FixtureRequest) -> list[LabelledPair]:
    """Both, one after the other."""
    found: list[LabelledPair] = request.getfixturevalue(request.param)
    return found
