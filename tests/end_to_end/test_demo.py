"""`arr demo` as its user runs it; only the pre-training is left out, by filling its cache with untrained parts."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arr.demo.ground_truth import ensure_ground_truth
from arr.demo.tiny_flux import build_random_tiny_flux, ensure_tiny_flux, fingerprint
from trainer.config import load_config


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose cache holds a tiny FLUX with random weights, and the ground truth."""
    directory = tmp_path_factory.mktemp("data")
    model = directory / "demo" / f"tiny-flux-{fingerprint()}-seed-0"
    build_random_tiny_flux(model)
    assert ensure_tiny_flux(directory / "demo") == model
    ensure_ground_truth(directory / "demo")
    return directory


def _command(data_dir: Path, output: Path, *overrides: str) -> list[str]:
    paths = ["--output", str(output), "--data-dir", str(data_dir)]
    return [sys.executable, "-m", "arr.main", "demo", "--smoke", *paths, "reward.tie_margin=0.0", *overrides]


def _steps(output: Path) -> list[int]:
    metrics = output / "run" / "metrics.jsonl"
    if not metrics.exists():
        return []
    records = [json.loads(line) for line in metrics.read_text().splitlines() if line.endswith("}")]
    return [record["step"] for record in records if record["kind"] == "step"]


def test_the_demo_leaves_a_self_contained_report_an_adapter_and_a_recipe(data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "demo_out"
    finished = subprocess.run(_command(data_dir, output), capture_output=True, text=True, timeout=200, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "win rate against the base (judge)" in finished.stdout
    assert str(output / "report.html") in finished.stdout
    report = (output / "report.html").read_text()
    assert set(re.findall(r'src="([a-z]+:)', report)) == {"data:"}
    assert "http" not in report
    for prompt in ("a red circle", "a purple triangle"):
        assert prompt in report
    plots = {path.stem for path in (output / "plots").glob("*.png")}
    assert plots == {"learning_curve", "before_after", "judge_against_truth", "signal", "time_per_phase"}
    assert _steps(output) == [0, 1, 2, 3]
    assert (output / "metrics.jsonl").read_text() == (output / "run" / "metrics.jsonl").read_text()
    assert (output / "adapter" / "pytorch_lora_weights.safetensors").exists()
    assert {path.name for path in (output / "examples").iterdir()} == {"base.png", "tuned.png"}
    recipe = load_config(output / "recipe.toml")
    assert (recipe.steps, recipe.reward.rubric) == (4, "tiny-shapes@production")


def test_ctrl_c_saves_and_the_same_command_goes_on(
    data_dir: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    output = tmp_path / "demo_out"
    command = _command(data_dir, output, "steps=12", "evaluation.every=12")
    # The whole group gets the signal, as from a terminal: the service must outlive it until the step is done.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    wait_until(lambda: len(_steps(output)) >= 2, timeout_seconds=120, what="the second step")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in errors
    assert not (output / "report.html").exists()
    done = len(_steps(output))
    assert 2 <= done < 12
    again = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert again.returncode == 0, again.stderr
    assert f"resuming at step {done}" in again.stdout
    assert _steps(output) == list(range(12))


def test_a_finished_demo_started_again_starts_anew(data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "demo_out"
    for seed_line in ("seed=0", "seed=1"):
        finished = subprocess.run(
            _command(data_dir, output, "steps=2", seed_line), capture_output=True, text=True, timeout=200, check=False
        )
        assert finished.returncode == 0, finished.stderr
        assert "starting:" in finished.stdout
