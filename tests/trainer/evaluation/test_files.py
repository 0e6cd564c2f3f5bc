from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared_schemas.reward import GroupError, GroupResult, Status
from trainer.data import Example
from trainer.evaluation.files import EvaluationFiles, as_bytes
from trainer.evaluation.samples import Sample

WON = GroupResult(id="g", status=Status.SCORED, rewards=(1.0, -1.0), ranks=(1, 2))
LOST = GroupResult(id="g", status=Status.SCORED, rewards=(-1.0, 1.0), ranks=(2, 1))
TIED = GroupResult(id="g", status=Status.TIED)
FAILED = GroupResult(
    id="g", status=Status.FAILED, error=GroupError(type="judge-timeout", detail="too slow", retryable=True)
)


def _files(directory: Path, *prompts: str) -> EvaluationFiles:
    samples = [
        Sample(example=Example(prompt), noise=noise, is_held_out=False) for prompt in prompts for noise in (0, 1)
    ]
    return EvaluationFiles(directory=directory, samples=samples, num_noises=2)


def _save(files: EvaluationFiles, step: int, training: list[GroupResult], held_out: list[GroupResult]) -> None:
    files.save_verdicts(training, f"step-{step:06d}")
    files.save_verdicts(held_out, f"step-{step:06d}.held-out", judge="judge 1")


def test_a_grid_has_a_row_per_prompt_and_a_column_per_noise(tmp_path: Path) -> None:
    images = torch.arange(4, dtype=torch.uint8).reshape(2, 2, 1, 1, 1).expand(2, 2, 3, 5, 7)
    _files(tmp_path, "a", "b").save_grid(images, "base")
    grid = np.asarray(Image.open(tmp_path / "base.png"))
    assert grid.shape == (10, 14, 3)
    assert [grid[0, 0, 0], grid[0, 7, 0], grid[5, 0, 0], grid[9, 13, 2]] == [0, 1, 2, 3]


def test_pixels_are_rounded_to_the_nearest_byte() -> None:
    assert as_bytes(torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.0])).tolist() == [0, 0, 1, 255]


def test_what_both_judges_said_before_is_read_again_oldest_first(tmp_path: Path) -> None:
    files = _files(tmp_path, "a", "b")
    _save(files, 10, [WON, TIED, LOST, FAILED], [LOST, LOST, WON, WON])
    _save(files, 5, [TIED] * 4, [TIED] * 4)
    _save(files, 20, [WON] * 4, [WON] * 4)
    first, second = files.opinions(before=20, judge="judge 1")
    assert (first.step, second.step) == (5, 10)
    np.testing.assert_array_equal(second.training_RC, [[1.0, 0.5], [0.0, np.nan]])
    np.testing.assert_array_equal(second.held_out_RC, [[0.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize(("prompts", "judge"), [(("a", "b"), "judge 2"), (("a", "c"), "judge 1"), (("a",), "judge 1")])
def test_what_another_judge_said_or_of_other_pairs_is_not_compared(
    tmp_path: Path, prompts: tuple[str, ...], judge: str
) -> None:
    _save(_files(tmp_path, "a", "b"), 10, [WON] * 4, [WON] * 4)
    assert _files(tmp_path, *prompts).opinions(before=20, judge=judge) == []
