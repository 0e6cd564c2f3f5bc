"""`arr prepare` and `arr export --from` as people call them: one line for every mistake, nothing twice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result


@pytest.fixture
def recipe(make_values: Callable[..., dict[str, Any]], tmp_path: Path) -> Path:
    """A recipe that names a folder for prepared rows."""
    import tomli_w

    path = tmp_path / "recipe.toml"
    values = make_values()
    values["data"]["prepared"] = str(tmp_path / "prepared")
    path.write_text(tomli_w.dumps(values))
    return path


def test_the_second_time_there_is_nothing_to_do(arr: Callable[..., Result], recipe: Path, tmp_path: Path) -> None:
    first = arr("prepare", recipe)
    assert first.exit_code == 0
    assert f"3 rows in {tmp_path / 'prepared'}, 3 of them new" in first.stdout
    assert "3 rows in" in (second := arr("prepare", recipe)).stdout
    assert "0 of them new" in second.stdout


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("data.prepared=", "data.prepared is empty; name the folder"),
        ("data.prompts=nowhere.jsonl", "nowhere.jsonl: prompts cannot be read"),
        ("model.family=sd3", "holds no Stable Diffusion 3 pipeline"),
        ("stepss=3", "stepss"),
    ],
)
def test_a_mistake_is_one_line(arr: Callable[..., Result], recipe: Path, override: str, complaint: str) -> None:
    result = arr("prepare", recipe, override)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_published_adapter_is_converted(
    arr: Callable[..., Result], tiny_flux: Path, make_config: Callable[..., Any], tmp_path: Path
) -> None:
    import torch

    from trainer.adapter_folder import save_peft_weights
    from trainer.policies import load_policy, lora

    policy = load_policy(make_config(), examples=(), device=torch.device("cpu"))
    published = tmp_path / "published"
    lora.peft_config(policy.transformer).save_pretrained(published)
    save_peft_weights(policy.adapter_state(), published)
    result = arr("export", "--from", published, "--base", tiny_flux, "--output", tmp_path / "converted")
    assert result.exit_code == 0, result.stderr
    assert f"adapter written to {tmp_path / 'converted'}" in result.stdout
    assert (tmp_path / "converted" / "pytorch_lora_weights.safetensors").is_file()
    config = json.loads((published / "adapter_config.json").read_text())
    (published / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    shutil.rmtree(tmp_path / "converted")
    refused = arr("export", "--from", published, "--output", tmp_path / "converted")
    assert refused.exit_code == 2
    assert "has use_dora; only plain LoRA can be converted" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give the recipe of a run, or --from"),
        (["--from", "x"], "--from needs --output"),
        (["recipe.toml", "--from", "x", "--output", "y"], "not both"),
        (["recipe.toml", "--base", "x"], "--base goes with --from"),
        (["--from", "nowhere", "--output", "y"], "nowhere is no PEFT adapter: there is no adapter_config.json"),
    ],
)
def test_what_to_export_is_said_in_one_way(arr: Callable[..., Result], arguments: list[str], complaint: str) -> None:
    result = arr("export", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
