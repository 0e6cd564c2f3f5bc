"""What a demo run came to: the judge's win rates beside the ground truth, at every evaluation.

Shape suffixes: R prompts (rows of an image grid), C noises (columns).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arr.demo.ground_truth import GroundTruth
from arr.demo.shapes import Pixels
from shared_schemas.reward import GroupResult
from trainer.config import TrainConfig
from trainer.data import read_run_examples
from trainer.records import WinRate


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedPair:
    """The judge on one pair: candidate 0 is the tuned image, candidate 1 the base's."""

    prompt: str
    noise: int
    result: GroupResult

    @property
    def tuned_won(self) -> bool:
        """Whether the judge preferred the tuned image by more than the tie band."""
        return self.result.ranks == (1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One evaluation."""

    step: int
    overall: WinRate
    held_out: WinRate
    accuracy: float
    """Share of tuned images that are clean drawings of their prompt, by ground truth."""
    held_out_accuracy: float
    grid: Pixels
    """uint8 [R·32, C·32, 3]: one row per prompt, one column per noise."""
    right_RC: NDArray[np.bool_]
    """Which of them match, by ground truth."""
    pairs: tuple[JudgedPair, ...]
    """R·C verdicts, row by row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A finished run."""

    prompts: tuple[str, ...]
    """R prompts, in the order of the grids' rows."""
    held_out: tuple[bool, ...]
    """Which of them were never trained on."""
    base_accuracy: float
    base_held_out_accuracy: float
    base_grid: Pixels
    base_right_RC: NDArray[np.bool_]
    evaluations: tuple[Evaluation, ...]
    steps: tuple[dict[str, Any], ...]
    """The step records of metrics.jsonl."""

    @property
    def last(self) -> Evaluation:
        """The evaluation of the finished adapter."""
        return self.evaluations[-1]


def read_outcome(config: TrainConfig, *, metrics: Path, truth: GroundTruth, prompts: Sequence[str]) -> Outcome:
    """Put together what a run wrote: its metrics, and its evaluation grids seen with the eyes of the ground truth."""
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    trained = {example.prompt for example in read_run_examples(config)[0]}
    held_out = tuple(prompt not in trained for prompt in prompts)
    folder, size = config.output_dir / "evaluations", config.model.resolution

    def look(name: str) -> tuple[Pixels, NDArray[np.bool_]]:
        grid = np.asarray(Image.open(folder / f"{name}.png"))
        return grid, _right(grid, truth, prompts, size=size)

    base_grid, base_right = look("base")
    evaluations = []
    for record in records:
        if record["kind"] == "evaluation":
            name = f"step-{record['step']:06d}"
            pairs = _read_pairs(folder / f"{name}.jsonl")
            evaluations.append(_evaluation(record, *look(name), np.array(held_out), pairs))
    return Outcome(
        prompts=tuple(prompts),
        held_out=held_out,
        base_accuracy=float(base_right.mean()),
        base_held_out_accuracy=float(base_right[np.array(held_out)].mean()),
        base_grid=base_grid,
        base_right_RC=base_right,
        evaluations=tuple(evaluations),
        steps=tuple(record for record in records if record["kind"] == "step"),
    )


def _right(grid: Pixels, truth: GroundTruth, prompts: Sequence[str], *, size: int) -> NDArray[np.bool_]:
    num_columns = grid.shape[1] // size
    images_RC = grid.reshape(len(prompts), size, num_columns, size, 3).swapaxes(1, 2)
    rows = [prompt for prompt in prompts for _ in range(num_columns)]
    return truth.matches(images_RC.reshape(-1, size, size, 3), rows).reshape(len(prompts), num_columns)


def _evaluation(
    record: dict[str, Any],
    grid: Pixels,
    right_RC: NDArray[np.bool_],
    held_out_R: NDArray[np.bool_],
    pairs: tuple[JudgedPair, ...],
) -> Evaluation:
    return Evaluation(
        step=record["step"],
        overall=WinRate(**record["overall"]),
        held_out=WinRate(**record["held_out"]),
        accuracy=float(right_RC.mean()),
        held_out_accuracy=float(right_RC[held_out_R].mean()),
        grid=grid,
        right_RC=right_RC,
        pairs=pairs,
    )


def _read_pairs(path: Path) -> tuple[JudgedPair, ...]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return tuple(
        JudgedPair(prompt=row["prompt"], noise=row["noise"], result=GroupResult.model_validate(row["result"]))
        for row in rows
    )
