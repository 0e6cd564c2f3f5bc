import pytest

from services.rubric_worker.evaluation.anchors import ANCHORS, anchors_for
from shared_schemas.rubrics import Task


def test_every_task_has_published_figures_with_their_source() -> None:
    for task in Task:
        assert ANCHORS[task]
        for anchor in ANCHORS[task]:
            assert 0.5 < anchor.alone < 1
            assert anchor.with_rubrics is None or anchor.alone < anchor.with_rubrics < 1
            assert anchor.source.startswith("arXiv 2605.")


def test_figures_are_shares() -> None:
    found = {(one.benchmark, one.judge): (one.alone, one.with_rubrics) for one in ANCHORS[Task.EDIT]}
    assert found["EditReward-Bench", "GPT-5"] == (0.575, 0.61)


@pytest.mark.parametrize(
    ("model", "is_one_of_them"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", True),
        ("gpt-5", True),
        ("gpt-5-2025-08-07", True),
        ("google/gemini-3.1-pro", True),
        ("gpt-5.1", False),
        ("Qwen/Qwen3-VL-2B-Instruct", False),
        ("pixel-judge", False),
    ],
)
def test_they_stand_beside_judges_that_are_among_them_alone(model: str, is_one_of_them: bool) -> None:
    for task in Task:
        assert anchors_for(task, model) == (ANCHORS[task] if is_one_of_them else ())
