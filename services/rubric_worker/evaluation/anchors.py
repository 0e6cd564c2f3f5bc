"""Published figures to read one's own beside: accuracies on public benchmarks, judges alone and with learned rubrics.

Other labelled pairs and other splits than one's own, so the size of a gain compares better than a level. The one rule:
they stand beside a judge that is among them, and beside no other.
"""

from shared_schemas.evaluations import Anchor
from shared_schemas.rubrics import Task

_ARR = "arXiv 2605.08354"
"""Auto-Rubric as Reward: the method `arr`."""

_AUTORUBRIC_T2I = f"arXiv 2605.17602; alone: {_ARR}"
"""AutoRubric-T2I: the method `autorubric_t2i`."""


def _anchor(benchmark: str, judge: str, alone: float, with_rubrics: float | None, source: str = _ARR) -> Anchor:
    """Accuracies in percent, as they are published."""
    share = None if with_rubrics is None else round(with_rubrics / 100, 4)
    return Anchor(benchmark=benchmark, judge=judge, alone=round(alone / 100, 4), with_rubrics=share, source=source)


ANCHORS: dict[Task, tuple[Anchor, ...]] = {
    Task.T2I: (
        _anchor("HPDv3", "Qwen3-VL-8B", 67.2, 70.2),
        _anchor("HPDv3", "GPT-5", 72.4, 76.1),
        _anchor("HPDv3", "Gemini 3.1 Pro", 76.6, 78.3),
        _anchor("HPDv3", "HPSv3", 76.9, None),
        _anchor("MMRB2 T2I", "Qwen3-VL-8B", 57.6, 62.7),
        _anchor("MMRB2 T2I", "Qwen3-VL-8B", 57.6, 62.5, _AUTORUBRIC_T2I),
        _anchor("MMRB2 T2I", "GPT-5", 70.5, 74.7),
        _anchor("MMRB2 T2I", "Gemini 3.1 Pro", 75.1, 78.9),
        _anchor("MMRB2 T2I", "HPSv3", 60.2, None),
    ),
    Task.EDIT: (
        _anchor("MMRB2 Edit", "Qwen3-VL-8B", 59.2, 65.5),
        _anchor("MMRB2 Edit", "GPT-5", 73.8, 77.5),
        _anchor("MMRB2 Edit", "Gemini 3.1 Pro", 77.4, 79.2),
        _anchor("EditReward-Bench", "Qwen3-VL-8B", 54.0, 57.2),
        _anchor("EditReward-Bench", "GPT-5", 57.5, 61.0),
        _anchor("EditReward-Bench", "Gemini 3.1 Pro", 61.2, 63.3),
    ),
}
"""By what the judge looks at."""


def anchors_for(task: Task, model: str) -> tuple[Anchor, ...]:
    """The published figures, if `model` is one of the judges they are about; a size or a date may follow its name."""
    name = _plain(model.rpartition("/")[2])
    anchors = ANCHORS[task]
    return anchors if any(f"{name}-".startswith(f"{_plain(anchor.judge)}-") for anchor in anchors) else ()


def _plain(name: str) -> str:
    """`Gemini 3.1 Pro` as its identifier is written: `gemini-3.1-pro`."""
    return name.lower().replace(" ", "-")
