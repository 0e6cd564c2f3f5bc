"""What an evaluation leaves on disk, and reads again when a run goes on.

    base.png, step-000010.png        lossless grids: a row per prompt, a column per noise, no margins
    step-000010.jsonl                the training judge's verdict on every pair, in the order of the cells
    step-000010.held-out.jsonl       the held-out judge's, and who that was

In every pair, candidate 0 is the tuned image. Shape suffixes: R prompts, C noises, H and W pixels.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from shared_schemas.reward import GroupResult
from trainer.evaluation.alarm import Floats, Opinions
from trainer.evaluation.samples import Sample
from trainer.evaluation.win_rates import outcome
from trainer.files import write_whole


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationFiles:
    """The files of one run's evaluations."""

    directory: Path
    samples: Sequence[Sample]
    num_noises: int
    """C."""

    def save_grid(self, images_RC3HW: Tensor, name: str) -> None:
        """Write uint8 images so that the grid can be cut up again."""
        grid_HW3 = images_RC3HW.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
        png = io.BytesIO()
        Image.fromarray(grid_HW3.numpy()).save(png, format="PNG")
        write_whole(self.directory / f"{name}.png", png.getvalue())

    def save_verdicts(self, results: Sequence[GroupResult], name: str, *, judge: str | None = None) -> None:
        """One JSON line per pair; with the name of the judge where that may change from one evaluation to the next."""
        signature = {} if judge is None else {"judge": judge}
        lines = [
            json.dumps(
                {
                    "prompt": sample.example.prompt,
                    "noise": sample.noise,
                    "is_held_out": sample.is_held_out,
                    "result": result.model_dump(mode="json"),
                }
                | signature
            )
            + "\n"
            for sample, result in zip(self.samples, results, strict=True)
        ]
        write_whole(self.directory / f"{name}.jsonl", "".join(lines).encode())

    def opinions(self, *, before: int, judge: str) -> list[Opinions]:
        """Of all evaluations of the same pairs before a step whose held-out judge was `judge`, oldest first."""
        return list(self._opinions(before, judge))

    def _opinions(self, before: int, judge: str) -> Iterator[Opinions]:
        for path in sorted(self.directory.glob("step-*.held-out.jsonl")):
            name = path.name.removesuffix(".held-out.jsonl")
            step, training = int(name.removeprefix("step-")), self.directory / f"{name}.jsonl"
            if step >= before or not training.exists():
                continue
            held_out_rows, training_rows = _read_rows(path), _read_rows(training)
            if {row["judge"] for row in held_out_rows} == {judge} and self._are_ours(held_out_rows, training_rows):
                yield Opinions(
                    step=step,
                    training_RC=self.outcomes([GroupResult.model_validate(row["result"]) for row in training_rows]),
                    held_out_RC=self.outcomes([GroupResult.model_validate(row["result"]) for row in held_out_rows]),
                )

    def _are_ours(self, *files: Sequence[dict[str, Any]]) -> bool:
        """Whether all of them are about the present pairs: prompts and noises may change when a run goes on."""
        ours = [(sample.example.prompt, sample.noise) for sample in self.samples]
        return all([(row["prompt"], row["noise"]) for row in rows] == ours for rows in files)

    def outcomes(self, results: Sequence[GroupResult]) -> Floats:
        """[R, C]; see `Opinions.training_RC`."""
        return np.array([outcome(result) for result in results]).reshape(-1, self.num_noises)


def as_bytes(images_B3HW: Tensor) -> Tensor:
    """Images in [0, 1] as uint8, in the way PNG files hold them."""
    return (images_B3HW * 255).round().to(torch.uint8)


def _read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
