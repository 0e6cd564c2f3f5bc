"""Service process, client, training: the whole loop on real, small parts."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image
from typer.testing import CliRunner

from arr.main import app
from arr.service_process import ServiceProcess
from reward_client import RewardClient
from shared_schemas.rubrics import Criterion, RubricContent
from trainer.checkpoint import CheckpointStore
from trainer.config import TrainConfig
from trainer.errors import ConfigError, RewardsUnavailable, TrainingDiverged
from trainer.train import train

MakeConfig = Callable[..., TrainConfig]


def _records(config: TrainConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (config.output_dir / "metrics.jsonl").read_text().splitlines()]


def _curve(config: TrainConfig) -> list[tuple[Any, ...]]:
    """Everything of a run's records that must not depend on how often it was interrupted: all but the clock."""
    steps = [record for record in _records(config) if record["kind"] == "step"]
    evaluations = [record for record in _records(config) if record["kind"] == "evaluation"]
    return [(step["step"], step["update"], step["verdicts"]) for step in steps] + [
        (evaluation["step"], evaluation["overall"]) for evaluation in evaluations
    ]


def test_a_step_samples_asks_for_rewards_and_moves_the_adapter(make_config: MakeConfig) -> None:
    config = make_config(steps=1)
    outcome = train(config)
    assert outcome.is_complete
    (step,) = (record for record in _records(config) if record["kind"] == "step")
    assert step["verdicts"]["num_groups"] == 8
    assert step["verdicts"]["scored"] > 0
    assert step["verdicts"]["failed"] == 0
    assert step["update"]["grad_norm"] > 0
    assert step["update"]["max_ratio_error"] < 1e-5
    newest = CheckpointStore(config.output_dir / "checkpoints", keep=1).newest()
    assert newest is not None
    moved = [name for name, value in newest.adapter.items() if "lora_B" in name and value.abs().max() > 0]
    assert moved


def test_training_raises_the_win_rate_it_is_rewarded_for(make_config: MakeConfig, service_url: str) -> None:
    brightness = Criterion(id="brightness", theme="Brightness", tips=("The image is bright.",))
    with RewardClient(service_url) as client:
        client.publish_rubric("bright", RubricContent(task="t2i", criteria=(brightness,)))
    config = make_config(
        steps=16,
        reward={"rubric": "bright"},
        optimizer={"learning_rate": 1e-2, "warmup_steps": 2},  # at 2e-2 it overshoots and comes back, on some machines
        evaluation={"every": 16, "images_per_prompt": 8},
        rollout={"prompts_per_step": 32},
    )
    train(config)
    first, last = (record["overall"] for record in _records(config) if record["kind"] == "evaluation")
    assert first["win_rate"] == 0.5  # an untrained adapter draws the base's images: every pair is a tie
    assert first["ties"] == 24
    assert last["low"] > 0.5


def test_group_relative_training_of_sd3_raises_the_score_it_is_rewarded_for(
    make_config: MakeConfig, tiny_sd3: Path, service_url: str
) -> None:
    criteria = (
        Criterion(id="brightness", theme="Brightness", tips=("The image is bright.",), weight=2.0),
        Criterion(id="noise", theme="Noise", tips=("There is no noise.",)),
    )
    with RewardClient(service_url) as client:
        client.publish_rubric("bright-score", RubricContent(task="t2i", mode="pointwise", criteria=criteria))
    config = make_config(
        steps=8,
        model={"family": "sd3", "path": str(tiny_sd3), "guidance_scale": 2.0},
        rollout={"prompts_per_step": 8, "candidates": 6, "step": "flow", "eta": 0.7, "same_initial_noise": False},
        reward={"rubric": "bright-score", "mode": "pointwise", "tie_margin": None},
        loss={"scale": "batch", "kl_weight": 0.004},
        optimizer={"learning_rate": 1e-2, "warmup_steps": 1},
        evaluation={"every": 8, "images_per_prompt": 8},
    )
    train(config)
    records = _records(config)
    steps = [record for record in records if record["kind"] == "step"]
    assert all(step["update"]["max_ratio_error"] < 1e-5 for step in steps)
    assert {step["verdicts"]["scored"] for step in steps} == {8}
    assert steps[-1]["verdicts"]["mean_score"] > steps[0]["verdicts"]["mean_score"]
    first, last = (record["overall"] for record in records if record["kind"] == "evaluation")
    assert first["win_rate"] == 0.5
    assert last["low"] > 0.5


def test_a_run_that_was_stopped_and_started_again_has_the_curve_of_one_that_was_not(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    whole = make_config(steps=4, output_dir=tmp_path / "whole")
    train(whole)
    parts = make_config(steps=4, output_dir=tmp_path / "parts", checkpoint={"every": 3})
    stops = iter([False, True])
    stopped = train(parts, should_stop=lambda: next(stops))
    assert (stopped.step, stopped.is_complete) == (2, False)
    assert train(parts).is_complete
    assert _curve(parts) == _curve(whole)


def test_records_after_the_last_checkpoint_are_computed_again_not_doubled(make_config: MakeConfig) -> None:
    config = make_config(steps=3, checkpoint={"every": 2})
    train(config)
    curve = _curve(config)
    newest = CheckpointStore(config.output_dir / "checkpoints", keep=2)._saved()[-1]
    for file in newest.iterdir():  # a crash before the last checkpoint was written …
        file.unlink()
    newest.rmdir()
    with (config.output_dir / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"kind": "step", "st')  # … and in the middle of a line
    train(config)
    assert _curve(config) == curve


def test_a_run_says_who_judges_it_by_what_also_without_a_rubric(make_config: MakeConfig) -> None:
    lines: list[str] = []
    train(make_config(steps=1, reward={"rubric": "any@none"}), announce=lines.append)
    (line,) = lines
    assert "rubric any@none (sha256:" in line
    assert "judge pixel-judge (sha256:" in line


def test_a_finished_run_started_again_changes_nothing(make_config: MakeConfig) -> None:
    config = make_config(steps=2)
    train(config)
    curve = _curve(config)
    assert train(config).step == 2
    assert _curve(config) == curve


def test_a_run_refuses_to_go_on_with_another_recipe(make_config: MakeConfig) -> None:
    train(make_config(steps=1))
    with pytest.raises(ConfigError, match=r"other values of optimizer\.learning_rate"):
        train(make_config(steps=2, optimizer={"learning_rate": 1e-4}))


def test_the_rubric_is_pinned_and_a_moved_alias_does_not_change_a_running_run(
    make_config: MakeConfig, service_url: str
) -> None:
    content = RubricContent(task="t2i", criteria=(Criterion(id="a", theme="Contrast"),))
    other = RubricContent(task="t2i", criteria=(Criterion(id="b", theme="Brightness"),))
    with RewardClient(service_url) as client:
        client.publish_rubric("pinned", content)
        client.set_alias("pinned", "production", 1)
        client.publish_rubric("pinned", other)
        config = make_config(steps=2, reward={"rubric": "pinned@production"})

        def move_the_alias() -> bool:
            client.set_alias("pinned", "production", 2)
            return False

        assert train(config, should_stop=move_the_alias).pinned.rubric.digest == content.digest
    with pytest.raises(ConfigError, match="another rubric version"):
        train(make_config(steps=3, reward={"rubric": "pinned@production"}))
    lines: list[str] = []
    accepting = make_config(
        steps=3, reward={"rubric": "pinned@production"}, checkpoint={"accept_changes": ["rubric"], "every": 1}
    )
    assert train(accepting, announce=lines.append).pinned.rubric.digest == other.digest
    assert lines[0].startswith("resuming at step 2, with another rubric: ")
    (change,) = (record for record in _records(accepting) if record["kind"] == "change")
    assert change == {
        "step": 2,
        "what": "rubric",
        "before": content.digest,
        "after": other.digest,
        "kind": "change",
    }
    train(make_config(steps=4, reward={"rubric": "pinned@production"}))  # from its next checkpoint on it is the run's


def test_the_pixel_judge_needs_to_be_allowed(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match="allow_pixel_judge = true"):
        train(make_config(reward={"allow_pixel_judge": False}))


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ({"url": "http://127.0.0.1:9"}, "127.0.0.1:9"),
        ({"url": "localhost:8080"}, "write http://host:port"),
        ({"rubric": "no-such-rubric"}, "no-such-rubric"),
    ],
)
def test_a_wrong_address_or_rubric_is_one_clear_error_before_any_weight_is_loaded(
    make_config: MakeConfig, reward: dict[str, str], message: str
) -> None:
    config = make_config(reward=reward, model={"path": "nowhere"})
    with pytest.raises(ConfigError, match=message):
        train(config)


def test_when_the_service_goes_away_the_run_stops_with_the_reason_and_a_checkpoint(
    make_config: MakeConfig, make_service: Callable[[], AbstractContextManager[ServiceProcess]]
) -> None:
    with make_service() as service:
        with RewardClient(service.url) as client:
            client.publish_rubric("shapes", RubricContent(task="t2i", criteria=(Criterion(id="a", theme="Contrast"),)))
        reward = {"url": service.url, "rubric": "shapes", "deadline_seconds": 2, "max_wait_seconds": 0}
        config = make_config(steps=4, reward=reward, checkpoint={"every": 10})
        stops = iter([False])

        def stop_the_service() -> bool:
            next(stops)
            service.stop()
            return False

        with pytest.raises(RewardsUnavailable, match="gave no rewards"):
            train(config, should_stop=stop_the_service)
    assert [record["step"] for record in _records(config) if record["kind"] == "step"] == [0]
    newest = CheckpointStore(config.output_dir / "checkpoints", keep=1).newest()
    assert newest is not None
    assert newest.state.step == 1  # between two regular checkpoints


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_optimizer_steps(make_config: MakeConfig) -> None:
    config = make_config(loss={"kl_weight": 1e300}, evaluation={"prompts": None})
    with pytest.raises(TrainingDiverged, match="the gradient is not finite at step 1; the last checkpoint is unharmed"):
        train(config)
    newest = CheckpointStore(config.output_dir / "checkpoints", keep=1).newest()
    assert newest is not None
    assert all(bool(value.isfinite().all()) for value in newest.adapter.values())


def test_a_loss_that_is_not_finite_stops_the_run_before_the_optimizer_steps(make_config: MakeConfig) -> None:
    largest = 1.7e308  # a KL of 2 is beyond float64
    config = make_config(
        loss={"kl_weight": largest, "reduction": "sum"},
        optimizer={"learning_rate": 1e-2, "warmup_steps": 0},
        evaluation={"prompts": None},
    )
    with pytest.raises(TrainingDiverged, match="the loss is not finite at step 1; the last checkpoint is unharmed"):
        train(config)
    newest = CheckpointStore(config.output_dir / "checkpoints", keep=1).newest()
    assert newest is not None
    assert newest.state.step == 1
    assert all(bool(value.isfinite().all()) for value in newest.adapter.values())


def test_a_broken_adapter_is_never_saved_and_people_read_in_one_line_what_to_lower(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(optimizer={"learning_rate": 1e20, "warmup_steps": 0}, evaluation={"prompts": None})
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    left = CliRunner().invoke(app, ["train", str(recipe)])
    assert left.exit_code == 1
    assert left.stderr == (
        "error: the adapter's norm is not finite at step 0; the last checkpoint is unharmed. The same command would "
        "come to the same; lower optimizer.learning_rate (1e+20), in another output_dir\n"
    )
    assert not (config.output_dir / "checkpoints").exists()


def test_when_the_newest_checkpoint_is_damaged_the_run_says_so_and_goes_on_from_the_one_before(
    make_config: MakeConfig,
) -> None:
    config = make_config(steps=3, evaluation={"prompts": None})
    train(config)
    curve = _curve(config)
    (config.output_dir / "checkpoints" / "step-000003" / "adapter.safetensors").write_bytes(b"half")
    lines: list[str] = []
    train(config, announce=lines.append)
    assert lines[0].startswith("checkpoint step-000003 is damaged (adapter.safetensors")
    assert lines[1].startswith("resuming at step 2: ")
    assert _curve(config) == curve


def test_evaluation_writes_a_lossless_grid_and_a_verdict_per_cell(make_config: MakeConfig) -> None:
    config = make_config(steps=1)
    train(config)
    folder = config.output_dir / "evaluations"
    base, fresh = (np.asarray(Image.open(folder / f"{name}.png")) for name in ("base", "step-000000"))
    assert base.shape == (3 * 32, 2 * 32, 3)
    assert np.array_equal(base, fresh)
    verdicts = [json.loads(line) for line in (folder / "step-000001.jsonl").read_text().splitlines()]
    assert [(verdict["prompt"], verdict["noise"]) for verdict in verdicts][:3] == [
        ("a red circle", 0),
        ("a red circle", 1),
        ("a blue square", 0),
    ]
