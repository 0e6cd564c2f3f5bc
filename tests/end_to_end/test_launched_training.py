"""`accelerate launch … -m arr.main train`, as people type it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from trainer.config import TrainConfig

CONFIGS = Path(__file__).parents[2] / "trainer" / "configs" / "accelerate"

pytestmark = pytest.mark.timeout(900)  # five processes import everything, on a machine that may be busy


@pytest.fixture
def launch(
    make_config: Callable[..., TrainConfig], tmp_path: Path, free_port: Callable[[], int]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`launch("ddp.yaml", "steps=1")`: one small step on two processes, as shipped but for their number."""
    recipe = tmp_path / "recipe.toml"
    config = make_config(
        steps=1,
        rollout={"prompts_per_step": 2, "micro_batches": 2},
        evaluation={"prompts": None},
        tracking={"trackers": []},
    )
    recipe.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))

    def run(config_file: str, *overrides: str) -> "subprocess.CompletedProcess[str]":
        launcher = ["accelerate.commands.launch", "--config_file", str(CONFIGS / config_file), "--num_processes", "2"]
        here = ["--main_process_port", str(free_port())]
        command = [sys.executable, "-m", *launcher, *here, "-m", "arr.main", "train", str(recipe), *overrides]
        without_gpus = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # there may be one, and these are two
        return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=without_gpus)

    return run


def _own_lines(stderr: str) -> list[str]:
    """Without the launcher's report: errors in one line, and tracebacks, which torch marks with the rank."""
    return [line for line in stderr.splitlines() if line.startswith(("error:", "[rank"))]


def test_two_launched_processes_train_and_one_of_them_reports(
    launch: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    done = launch("fsdp2.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("starting: ") == 1
    assert done.stdout.count("1 steps done") == 1
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["verdicts"]["num_groups"] for line in lines] == [2]


def test_processes_that_all_run_out_of_memory_say_so_in_one_line(
    launch: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    failed = launch("fsdp2.yaml", f"model.resolution={16 << 20}")
    assert failed.returncode != 0
    (ours,) = _own_lines(failed.stderr)
    assert ours.startswith("error: out of memory on rank ")
    assert "model.gradient_checkpointing=true" in ours


def test_an_error_that_nobody_foresaw_keeps_its_traceback_and_has_it_once(
    launch: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    (tmp_path / "run" / "metrics.jsonl").mkdir(parents=True)  # where the first process will write a file
    failed = launch("ddp.yaml")
    assert failed.returncode != 0
    ours = _own_lines(failed.stderr)
    assert ours[0] == "[rank0]: Traceback (most recent call last):"
    assert ours[-1].startswith("[rank0]: IsADirectoryError: ")
    assert sum("Traceback" in line for line in ours) == 1


def test_a_mistake_is_one_line_of_two_launched_processes(
    launch: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    failed = launch("ddp.yaml", "rollout.prompts_per_step=3", "rollout.micro_batches=3")
    assert failed.returncode != 0
    ours = [line for line in failed.stderr.splitlines() if "micro_batches" in line]
    assert ours == ["error: rollout.micro_batches (3) must be a multiple of the number of processes (2)"]
