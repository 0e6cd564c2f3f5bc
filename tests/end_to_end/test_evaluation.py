"""Evaluation during training, on real, small parts: two judges, the average of the weights, the alarm."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from arr.main import app
from arr.service_process import ServiceProcess
from reward_client import RewardClient
from shared_schemas.rubrics import Criterion, RubricContent
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import TrainConfig
from trainer.data import read_run_examples
from trainer.errors import ConfigError, JudgesParted
from trainer.evaluation.files import as_bytes
from trainer.evaluation.samples import draw, sample_grid
from trainer.export import Which, export_run
from trainer.policies import load_policy
from trainer.train import train

MakeConfig = Callable[..., TrainConfig]


def _records(config: TrainConfig, kind: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (config.output_dir / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == kind]


def _grid(config: TrainConfig, name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(config.output_dir / "evaluations" / f"{name}.png"))


def _drawn_with(state: dict[str, Tensor], config: TrainConfig) -> NDArray[np.uint8]:
    """The grid of an evaluation with these weights."""
    examples, evaluated = read_run_examples(config)
    policy = load_policy(config, examples=evaluated, device=torch.device("cpu"))
    policy.load_adapter_state(state)
    samples = sample_grid(evaluated, examples, config.evaluation)
    images = as_bytes(draw(policy, samples, seed=config.evaluation.seed)).unflatten(0, (len(evaluated), -1))
    return np.asarray(images.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1))


def _newest(config: TrainConfig) -> Checkpoint:
    newest = CheckpointStore(config.output_dir / "checkpoints", keep=1).newest()
    assert newest is not None
    return newest


def test_when_only_the_training_judge_sees_progress_the_run_stops_with_a_checkpoint(
    make_config: MakeConfig, service_url: str, tmp_path: Path
) -> None:
    with RewardClient(service_url) as client:
        brightness = Criterion(id="brightness", theme="Brightness", tips=("The image is bright.",))
        client.publish_rubric("bright", RubricContent(task="t2i", criteria=(brightness,)))
    prompts = tmp_path / "ten.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"shape {letter}"}) + "\n" for letter in "abcdefghij"))
    config = make_config(
        steps=7,
        data={"prompts": str(prompts)},
        reward={"rubric": "bright"},
        optimizer={"learning_rate": 2e-2, "warmup_steps": 0},
        evaluation={
            "prompts": str(prompts),
            "every": 2,
            "images_per_prompt": 2,
            "held_out_rubric": "any@none",
            "held_out_tie_margin": 100.0,  # nothing is ever better than anything
            "stop_on_alarm": True,
        },
    )
    with pytest.raises(JudgesParted, match=r"since step 0 .*evaluation\.stop_on_alarm=false goes on"):
        train(config)
    (alarm,) = _records(config, "alarm")
    assert alarm["step"] == _newest(config).state.step < 7
    assert alarm["training_change"] > alarm["held_out_change"] == 0.0
    last = _records(config, "evaluation")[-1]
    assert last["overall"]["low"] > 0.5
    assert last["held_out_judge"]["overall"]["ties"] == 20
    with pytest.raises(JudgesParted):
        train(config)  # nothing has changed: the files of the earlier evaluations remember
    goes_on = config.evaluation.model_copy(update={"stop_on_alarm": False})
    assert train(config.model_copy(update={"evaluation": goes_on})).is_complete
    assert _records(config, "alarm")[0] == alarm


def test_the_adapter_that_the_held_out_judge_liked_best_is_kept_and_exported_also_of_a_run_that_was_stopped(
    make_config: MakeConfig, service_url: str, tmp_path: Path
) -> None:
    with RewardClient(service_url) as client:
        for name, theme in (("bright-too", "Brightness"), ("light", "Bright lighting")):
            criterion = Criterion(id="brightness", theme=theme, tips=("The image is bright.",))
            client.publish_rubric(name, RubricContent(task="t2i", criteria=(criterion,)))
    prompts = tmp_path / "ten.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"shape {letter}"}) + "\n" for letter in "abcdefghij"))
    config = make_config(
        steps=6,
        data={"prompts": str(prompts)},
        reward={"rubric": "bright-too"},
        optimizer={"learning_rate": 2e-2, "warmup_steps": 0},
        checkpoint={"every": 100, "keep": 1},
        evaluation={"prompts": str(prompts), "every": 1, "held_out_rubric": "light", "held_out_tie_margin": 0.0},
    )
    stops = iter([False, False, False, False, True])
    train(config, should_stop=lambda: next(stops))
    train(config)
    rates = [record["held_out_judge"]["overall"]["win_rate"] for record in _records(config, "evaluation")]
    best = rates.index(max(rates))
    assert max(rates) > 0.5
    assert best < config.steps, rates
    saved = sorted(path.name for path in (config.output_dir / "checkpoints").glob("step-*"))
    assert saved == [f"step-{best:06d}", "step-000006"]
    chosen: dict[Which, int] = {"best": best, "newest": 6}
    for which, step in chosen.items():
        weights = load_file(config.output_dir / "checkpoints" / f"step-{step:06d}" / "adapter.safetensors")
        adapter = export_run(config, tmp_path / "adapter", which=which)
        written = load_file(adapter / "adapter_model.safetensors")
        assert all(torch.equal(value, written[f"base_model.model.{name}"]) for name, value in weights.items())
        assert f"| steps | {step} |" in (adapter / "README.md").read_text()


def test_without_a_held_out_judge_no_checkpoint_is_the_best(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(steps=1)
    train(config)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    refused = CliRunner().invoke(app, ["export", str(recipe), "--offline", "--checkpoint", "best"])
    assert refused.exit_code == 2
    assert "holds no best checkpoint: no held-out judge (evaluation.held_out_rubric, " in refused.stderr


def test_a_held_out_judge_that_goes_away_is_in_the_record_and_the_run_goes_on(
    make_config: MakeConfig, make_service: Callable[[], AbstractContextManager[ServiceProcess]]
) -> None:
    with make_service() as service:
        config = make_config(
            steps=2,
            reward={"deadline_seconds": 5.0},
            evaluation={"every": 1, "held_out_url": service.url, "held_out_rubric": "any@none"},
        )

        def stop_the_held_out_judge() -> bool:
            service.stop()
            return False

        assert train(config, should_stop=stop_the_held_out_judge).is_complete
    first, *_, last = (record["held_out_judge"] for record in _records(config, "evaluation"))
    assert (first["overall"]["ties"], first["failed"], first["problem"]) == (6, 0, None)
    assert last["overall"] is None
    assert "gave no rewards" in last["problem"]
    assert _records(config, "evaluation")[-1]["overall"] is not None


def test_the_training_judge_cannot_be_its_own_held_out_judge(make_config: MakeConfig, rubric: str) -> None:
    with pytest.raises(ConfigError, match=r"the held-out judge is the training judge \(pixel-judge"):
        train(make_config(model={"path": "nowhere"}, evaluation={"held_out_rubric": rubric}))


def test_a_held_out_judge_that_is_not_there_is_one_clear_error_before_any_weight_is_loaded(
    make_config: MakeConfig,
) -> None:
    with pytest.raises(ConfigError, match=r"^the held-out judge: .*127\.0\.0\.1:9"):
        train(make_config(model={"path": "nowhere"}, evaluation={"held_out_url": "http://127.0.0.1:9"}))


def test_what_is_evaluated_and_exported_is_the_average_also_of_a_run_that_was_stopped(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    whole = make_config(
        steps=2,
        output_dir=tmp_path / "whole",
        ema={"decay": 0.9},
        optimizer={"learning_rate": 1e-2},
        rollout={"micro_batches": 2},  # eight images at once, and the six of the grid in one batch
    )
    train(whole)
    parts = whole.model_copy(update={"output_dir": tmp_path / "parts"})
    assert train(parts, should_stop=lambda: True).step == 1
    train(parts)
    average, resumed = _newest(whole).ema, _newest(parts).ema
    assert average is not None
    assert resumed is not None
    assert all(torch.equal(value, resumed[name]) for name, value in average.items())
    last = _newest(whole).adapter
    assert any(not torch.equal(value, last[name]) for name, value in average.items())
    assert all(record["is_average"] for record in _records(whole, "evaluation"))
    assert np.array_equal(_drawn_with(average, whole), _grid(whole, "step-000002"))
    assert not np.array_equal(_drawn_with(last, whole), _grid(whole, "step-000002"))
    for state, flag in ((average, False), (last, True)):
        written = load_file(export_run(whole, tmp_path / "adapter", last=flag) / "adapter_model.safetensors")
        assert all(torch.equal(value, written[f"base_model.model.{name}"]) for name, value in state.items())
