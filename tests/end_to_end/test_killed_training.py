"""A run that is killed at random moments, again and again: nothing of it may be seen in its curve."""

import json
import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config import TrainConfig
from trainer.train import train

KILLS = 10
LIMIT_SECONDS = 300.0
"""How long a start may take until its first new checkpoint."""

# A server that has imported everything once: a start costs a fork instead of seconds.
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["trainer.train"])


def _curve(config: TrainConfig) -> list[tuple[Any, ...]]:
    lines = (config.output_dir / "metrics.jsonl").read_text().splitlines()
    return [(record["step"], record["update"], record["verdicts"]) for record in map(json.loads, lines)]


def _newest_step(config: TrainConfig) -> int:
    names = [path.name for path in (config.output_dir / "checkpoints").glob("step-*")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def _kill_at_a_random_moment(
    config: TrainConfig, moments: random.Random, wait_until: Callable[..., None], *, step_seconds: float
) -> None:
    """Within two steps' time after the first checkpoint of a new process."""
    done = _newest_step(config)
    process = FORKING.Process(target=train, args=(config,))
    process.start()
    wait_until(lambda: _newest_step(config) > done, timeout_seconds=LIMIT_SECONDS, what=f"a checkpoint after {done}")
    process.join(timeout=moments.uniform(0.0, 2.0 * step_seconds))
    process.kill()
    process.join()
    assert process.exitcode == -9


@pytest.mark.timeout(900)  # twelve starts, on a machine that may be busy
def test_a_run_that_was_killed_ten_times_has_the_curve_of_one_that_was_not(
    make_config: Callable[..., TrainConfig], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    small = {"prompts_per_step": 2, "micro_batches": 2}
    config = make_config(
        steps=60,
        output_dir=tmp_path / "killed",
        rollout=small,
        model={"num_inference_steps": 4},
        checkpoint={"every": 2},
        evaluation={"prompts": None},
        tracking={"trackers": []},
    )
    moments = random.Random(0)
    for _ in range(KILLS):
        _kill_at_a_random_moment(config, moments, wait_until, step_seconds=0.2)
    last_step = _newest_step(config) + 3
    assert last_step < config.steps
    rest = config.model_copy(update={"steps": last_step})
    train(rest)
    whole = rest.model_copy(update={"output_dir": tmp_path / "whole"})
    train(whole)
    assert _curve(rest) == _curve(whole)
