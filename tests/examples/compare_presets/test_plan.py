"""The plan, its record and its tables; and one short run through all of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from arr.demo.ground_truth import train_ground_truth
from examples.compare_presets.plan import ARMS, RATES, REPORTED_SEEDS, SWEEP_SEEDS, Run, recipe, reported, sweep
from examples.compare_presets.run import Record
from examples.compare_presets.table import best_rate, tables
from examples.compare_presets.training import Trial
from shared_schemas.rubrics import RubricContent
from trainer.config import TrainConfig

RUBRIC = RubricContent.model_validate_json((Path(__file__).parents[3] / "arr" / "demo" / "rubric.json").read_text())


def _result(run: Run, win_rate: float) -> dict[str, Any]:
    scores = {"win_rate": win_rate, "win_rate_held_out": 0.5, "truth": 0.5, "truth_held_out": 0.5}
    counts = {"num_images": 2400, "num_comparisons": 1200, "tied": 0.25, "wrong": 0.2}
    return {"key": run.key, "run": asdict(run), "scores": [scores], **counts}


def test_a_rate_is_never_chosen_on_a_seed_that_is_reported() -> None:
    assert not set(SWEEP_SEEDS) & set(REPORTED_SEEDS)
    assert len(REPORTED_SEEDS) >= 5


def test_what_is_compared_spends_the_same_on_what_it_is_compared_at() -> None:
    per_step = {arm.name: (arm.num_groups * arm.num_candidates, arm.num_groups * arm.num_pairs) for arm in ARMS}
    assert per_step["paper"] == per_step["default"] == (60, 30)
    assert per_step["fours, equal images"] == (60, 90)
    assert per_step["fours, equal calls"] == (20, 30)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_recipe_is_valid_and_has_its_presets_maths(arm: Any) -> None:
    config = TrainConfig.model_validate(recipe(Run(arm=arm.name, judge="sound", rate=1e-3, seed=7), model="m"))
    assert config.rollout.step == ("dance" if arm.preset == "paper" else "cps")
    assert (config.optimizer.learning_rate, config.seed) == (1e-3, 7)


def test_the_best_rate_is_the_one_with_the_best_mean_over_the_sweep_alone() -> None:
    runs = list(sweep(ARMS[0], "sound"))
    assert len(runs) == len(RATES) * len(SWEEP_SEEDS)
    results = [_result(run, 0.7 if run.rate == RATES[1] else 0.6) for run in runs]
    results += [_result(run, 0.99) for run in reported(ARMS[0], "sound", rate=RATES[0])]
    assert best_rate({result["key"]: result for result in results}, "paper", "sound") == RATES[1]


def test_tables_have_mean_and_deviation_of_the_reported_runs() -> None:
    results = [_result(run, 0.6) for run in sweep(ARMS[0], "sound")]
    results += [_result(run, 0.70 + 0.01 * run.seed) for run in reported(ARMS[0], "sound", rate=RATES[0])]
    text = tables({result["key"]: result for result in results})
    assert "| paper | 0.600 | 0.600 | 0.600 | 0.600 |" in text
    assert "| paper | 0.0001 | 5 | 0.720 ± 0.016 |" in text  # deviations −2 … 2 hundredths: √(10/4) = 1.58
    assert "2,400 | 1,200 | 0.25 | 0.20 |" in text


def test_what_is_done_is_found_again(tmp_path: Path) -> None:
    run = Run(arm="paper", judge="sound", rate=1e-3, seed=0)
    Record(tmp_path / "results.jsonl").add(_result(run, 0.5))
    assert Record(tmp_path / "results.jsonl").results[run.key]["scores"][-1]["win_rate"] == 0.5


def test_a_short_run_goes_through_every_room(tiny_flux: Path) -> None:
    truth = train_ground_truth(seed=0, num_steps=1, num_drawings=100)
    run = Run(arm="fours, equal calls", judge="noisy", rate=1e-3, seed=0, steps=1)
    result = Trial(run, model=tiny_flux, rubric=RUBRIC, truth=truth).finish()
    assert (result.num_images, result.num_comparisons) == (20, 30)
    assert [scores["step"] for scores in result.scores] == [1]
    assert result.max_ratio_error == 0.0
    assert all(0 <= scores["win_rate"] <= 1 for scores in result.scores)
