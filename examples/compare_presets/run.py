"""Run the whole comparison and print its tables; what is done already is not done again.

    python -m examples.compare_presets.run

Owns the order of runs and the file they are written to.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from arr.demo.ground_truth import GroundTruth, ensure_ground_truth
from arr.demo.tiny_flux import ensure_tiny_flux
from arr.quiet import quiet_model_libraries
from examples.compare_presets.plan import ARMS, Arm, Run, reported, sweep
from examples.compare_presets.table import best_rate, tables
from shared_schemas.rubrics import RubricContent

_RUBRIC = Path(__file__).parents[2] / "arr" / "demo" / "rubric.json"


class Record:
    """Finished runs, in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.results: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                result = json.loads(line)
                self.results[result["key"]] = result

    def add(self, result: dict[str, Any]) -> None:
        """Keep one more."""
        self.results[result["key"]] = result
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(result) + "\n")


class Laboratory:
    """The model, the rubric set and the truth; and the runs that were made with them."""

    def __init__(self, record: Record, *, cache: Path) -> None:
        self.record = record
        self._model = ensure_tiny_flux(cache, seed=0)
        self._truth: GroundTruth = ensure_ground_truth(cache)
        self._rubric = RubricContent.model_validate_json(_RUBRIC.read_text())

    def run(self, runs: Sequence[Run]) -> None:
        """Make the runs that are missing."""
        from examples.compare_presets.training import Trial

        for run in runs:
            if run.key in self.record.results:
                continue
            trial = Trial(run, model=self._model, rubric=self._rubric, truth=self._truth)
            result = asdict(trial.finish())
            self.record.add(result)
            last = result["scores"][-1]
            typer.echo(
                f"{run.key}: win rate {last['win_rate']:.3f}, truth {last['truth']:.3f}, {result['seconds']:.0f} s"
            )


def compare(laboratory: Laboratory, arm: Arm, judge: str) -> None:
    """Sweep the arm's learning rate, then make the runs that are reported at the best one."""
    laboratory.run(list(sweep(arm, judge)))
    rate = best_rate(laboratory.record.results, arm.rate_of or arm.name, judge)
    laboratory.run(list(reported(arm, judge, rate=rate)))


def main(
    output: Annotated[Path, typer.Option(help="Where finished runs are written.")] = Path("runs/compare_presets"),
    cache: Annotated[Path, typer.Option(help="Where the tiny FLUX is kept.")] = Path(".arr/demo"),
    only_tables: Annotated[bool, typer.Option("--only-tables", help="Print what is there.")] = False,
) -> None:
    """Compare the presets, and pairs with groups of four, under a sound and a noisy, position-biased judge."""
    quiet_model_libraries()
    torch.set_num_threads(1)
    record = Record(output / "results.jsonl")
    if not only_tables:
        laboratory = Laboratory(record, cache=cache)
        for arm in ARMS:
            for judge in arm.judges:
                compare(laboratory, arm, judge)
    typer.echo(tables(record.results))


if __name__ == "__main__":
    typer.run(main)
