from pathlib import Path

import pytest

from trainer.config import load_config
from trainer.errors import ConfigError

RECIPE = """
output_dir = "runs/x"
[model]
path = "somewhere"
[data]
prompts = "prompts.jsonl"
[reward]
rubric = "shapes"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_overrides_replace_values_of_any_type(recipe: Path) -> None:
    config = load_config(
        recipe, ["steps=7", "optimizer.learning_rate=1e-3", "reward.rubric=shapes@3", 'lora.targets=["to_q", "to_k"]']
    )
    assert (config.steps, config.optimizer.learning_rate, config.reward.rubric) == (7, 1e-3, "shapes@3")
    assert config.lora.targets == ("to_q", "to_k")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rollout.prompts_per_step=30", "must be a multiple of micro_batches"),
        ("rollout.promts_per_step=32", "rollout.promts_per_step: Extra inputs"),
        ("model.resolution=50", "model.resolution: Input should be a multiple of 16"),
        ("rollout.eta=1.5", "rollout.eta"),
        ("reward.deadline_seconds=7200", "reward.deadline_seconds: Input should be less than or equal to 3600"),
        ("reward.rubric=not a reference", "reward.rubric: .*write name, name@3"),
        ("steps", "is not an override"),
        ("steps.deep=1", "steps: Input should be a valid integer"),
        ("output_dir.x=1", "'output_dir' is a value, not a section"),
    ],
)
def test_a_mistake_is_named_by_its_key(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(recipe, [override])


def test_a_file_that_is_not_there_or_not_toml_is_one_clear_error(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nowhere.toml")
    recipe.write_text("steps = = 3")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(recipe)
