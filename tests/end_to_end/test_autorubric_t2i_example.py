"""`examples/autorubric_t2i` as its user runs it, a few steps of it; pre-training is left out by filling its cache."""

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
from arr.demo.tiny_sd3 import build_random_tiny_sd3, cached_tiny_sd3

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose cache holds a tiny SD3 with random weights, and the ground truth."""
    directory = tmp_path_factory.mktemp("data")
    build_random_tiny_sd3(cached_tiny_sd3(directory / "demo"))
    ensure_ground_truth(directory / "demo")
    return directory


def _command(data_dir: Path, output: Path, *overrides: str) -> list[str]:
    paths = ["--output", str(output), "--data-dir", str(data_dir)]
    return [sys.executable, "-m", "examples.autorubric_t2i.run", "--smoke", *paths, *overrides]


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)


def _records(output: Path) -> list[dict[str, object]]:
    metrics = output / "run" / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _steps(output: Path) -> list[object]:
    return [record["step"] for record in _records(output) if record["kind"] == "step"]


@pytest.fixture(scope="module")
def output(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a finished run left."""
    folder = tmp_path_factory.mktemp("out")
    finished = _run(_command(data_dir, folder))
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"learned tiny-drawings@1: \d weighted criteria", finished.stdout), finished.stdout
    assert "mean score, of the highest there is:" in finished.stdout
    return folder


def test_it_ends_with_a_report_that_needs_nothing_else(output: Path) -> None:
    assert _steps(output) == [0, 1, 2, 3]
    report = (output / "report.html").read_text()
    assert set(re.findall(r'src="([a-z]+:)', report)) == {"data:"}
    assert "http" not in report
    assert "StableDiffusion3Pipeline" in report
    assert (output / "learned" / "report.html").exists()
    assert (output / "adapter" / "pytorch_lora_weights.safetensors").exists()
    plots = {path.stem for path in (output / "plots").glob("*.png")}
    assert plots == {"score_curve", "learning_curve", "before_after", "judge_against_truth", "signal"}


def test_every_candidate_is_scored_by_itself_under_learned_weights(output: Path) -> None:
    learned = json.loads((output / "learned" / "report.json").read_text())
    assert learned["parameters"]["method"] == "autorubric_t2i"
    kept = learned["result"]["sparse"]["kept"]
    weights = [criterion["weight"] for criterion in kept]
    assert min(weights) > 0
    assert weights == sorted(weights, reverse=True)
    verdicts = (output / "run" / "evaluations" / "step-000002.jsonl").read_text().splitlines()
    results = [json.loads(line)["result"] for line in verdicts]
    assert all(result["rewards"] == result["scores"] for result in results)
    assert all(0 <= score <= sum(weights) for result in results for score in result["scores"])
    second = next(record for record in _records(output) if record["kind"] == "step" and record["step"] == 1)
    assert second["judge_calls"] == 4 * 3 * len(kept)  # prompts × candidates × criteria; the first has the probe's


def test_ctrl_c_saves_and_the_same_command_goes_on(
    data_dir: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    output = tmp_path / "out"
    command = _command(data_dir, output, "steps=10", "evaluation.every=10")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0, cwd=ROOT
    )
    wait_until(lambda: len(_steps(output)) >= 2, timeout_seconds=240, what="the second step")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in errors
    done = len(_steps(output))
    assert 2 <= done < 10
    again = _run(command)
    assert again.returncode == 0, again.stderr
    assert f"resuming at step {done}" in again.stdout
    assert _steps(output) == list(range(10))
