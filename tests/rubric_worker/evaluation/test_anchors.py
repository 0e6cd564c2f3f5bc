from services.rubric_worker.evaluation.anchors import ANCHORS
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
