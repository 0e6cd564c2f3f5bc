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


def test_the_held_out_judge_shares_what_the_recipe_does_not_say_of_it_and_nobody_waits_for_it(recipe: Path) -> None:
    assert load_config(recipe).held_out_reward() is None
    held_out = load_config(recipe, ["evaluation.held_out_rubric=taste@2", "reward.tie_margin=0.1"]).held_out_reward()
    assert held_out is not None
    assert (held_out.url, held_out.rubric, held_out.tie_margin) == ("http://127.0.0.1:8080", "taste@2", None)
    assert (held_out.max_wait_seconds, held_out.max_failed_fraction) == (0.0, 1.0)
    url = "http://other:8080"
    other = load_config(recipe, [f"evaluation.held_out_url={url}", "reward.mode=pairwise"]).held_out_reward()
    assert other is not None
    assert (other.url, other.rubric, other.mode) == (url, "shapes", "pairwise")


@pytest.mark.parametrize("override", ["evaluation.stop_on_alarm=true", "evaluation.held_out_tie_margin=0.1"])
def test_settings_of_a_held_out_judge_need_one(recipe: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="there is no held-out judge"):
        load_config(recipe, [override])
    load_config(recipe, [override, "evaluation.held_out_rubric=taste"])


def test_what_only_costs_memory_may_be_turned_down_in_a_run_that_goes_on(recipe: Path) -> None:
    smaller = load_config(recipe, ["rollout.micro_batches=8", "model.gradient_checkpointing=true"])
    assert smaller.shaping_values() == load_config(recipe).shaping_values()
    assert (smaller.rollout.groups_at_once, smaller.rollout.images_at_once) == (4, 8)  # of 32 groups of 2


def test_a_changed_decay_shapes_the_result_and_where_the_average_is_kept_does_not(recipe: Path) -> None:
    shaping = [
        load_config(recipe, [f"ema.{key}"]).shaping_values() for key in ("decay=0.9", "decay=0.5", "on_cpu=true")
    ]
    assert shaping[0] != shaping[1]
    assert shaping[2] == load_config(recipe).shaping_values()
