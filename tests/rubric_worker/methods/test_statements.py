import re

from hypothesis import given, settings
from hypothesis import strategies as st

from services.judging.writing import Assignment, ProposedCriterion
from services.rubric_worker.methods.statements import ids_of, one_by_one, rubric_of
from shared_schemas.base import NAME_PATTERN
from shared_schemas.rubrics import Criterion, Language, Mode, Task


def test_ids_are_made_of_themes_and_numbered_when_they_repeat() -> None:
    themes = ["Colour & shape", "颜色", "Colour / Shape", "c2"]
    assert ids_of(themes) == ("colour-shape", "c2", "colour-shape-2", "c2-2")


@settings(deadline=None)
@given(st.lists(st.text(max_size=80), max_size=8))
def test_ids_are_always_names_and_never_repeat(themes: list[str]) -> None:
    ids = ids_of(themes)
    assert len(set(ids)) == len(ids) == len(themes)
    assert all(re.match(NAME_PATTERN, id) for id in ids)


def test_statements_become_criteria_of_their_own() -> None:
    about = Assignment(
        task=Task.EDIT,
        mode=Mode.POINTWISE,
        language=Language.ZH,
        task_description="photographs",
        min_score=None,
        max_score=None,
    )
    [criterion] = one_by_one([ProposedCriterion(theme="Edit", statement="The edit was made.")])
    content = rubric_of([criterion], about=about)
    assert criterion == Criterion(id="edit", theme="Edit", tips=("The edit was made.",), weight=1.0)
    assert (content.task, content.mode, content.language) == (Task.EDIT, Mode.POINTWISE, Language.ZH)
    assert content.task_description == "photographs"
