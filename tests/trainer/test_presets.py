from pathlib import Path

import pytest

from shared_schemas.reward import Scheme
from trainer.config import TrainConfig, load_config
from trainer.errors import ConfigError

RECIPE = """
output_dir = "runs/x"
preset = "paper"
[model]
path = "somewhere"
[data]
prompts = "prompts.jsonl"
[reward]
rubric = "shapes"
[loss]
clip_range = 0.1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_the_paper_preset_is_what_was_published_for_flux(recipe: Path) -> None:
    config = load_config(recipe)
    assert (config.rollout.step, config.rollout.eta, config.rollout.candidates) == ("dance", 0.3, 2)
    assert (config.reward.preferred, config.reward.dispreferred, config.reward.tie_margin) == (1.0, -0.1, 0.0)
    assert config.reward.scheme is Scheme.BINARY
    assert (config.loss.kl, config.loss.kl_weight, config.loss.baseline) == ("log_ratio", 0.01, "none")
    assert (config.lora.rank, config.lora.alpha, len(config.lora.targets)) == (16, 32, 12)
    assert (config.optimizer.learning_rate, config.optimizer.max_grad_norm) == (5e-5, 1.0)
    assert (config.model.num_inference_steps, config.model.resolution, config.rollout.prompts_per_step) == (8, 512, 32)


def test_the_recipes_own_values_win_and_their_neighbours_stay(recipe: Path) -> None:
    config = load_config(recipe, ["rollout.eta=0.5", "lora.rank=4", 'lora.targets=["to_q"]'])
    assert (config.loss.clip_range, config.loss.kl_weight) == (0.1, 0.01)
    assert (config.rollout.eta, config.rollout.step) == (0.5, "dance")
    assert (config.lora.rank, config.lora.alpha, config.lora.targets) == (4, 32, ("to_q",))


def test_a_preset_can_be_named_on_the_command_line(recipe: Path) -> None:
    defaults = load_config(recipe, ["preset=default"])
    assert (defaults.rollout.step, defaults.reward.dispreferred, defaults.loss.kl_weight) == ("cps", -1.0, 0.0)
    assert defaults.loss.clip_range == 0.1


def test_a_recipe_that_writes_everything_out_says_the_same_with_and_without_the_preset(recipe: Path) -> None:
    whole = load_config(recipe)
    values = whole.model_dump(mode="json", exclude_none=True)
    assert TrainConfig.model_validate(values | {"preset": "default"}).shaping_values() == whole.shaping_values()
    assert TrainConfig.model_validate(values).shaping_values() == whole.shaping_values()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("preset=papr", "preset: Input should be 'default' or 'paper'"),
        ("model.family=sd3", "there is no preset 'paper' for the family 'sd3'; there is one for flux"),
        ("loss.klweight=1", "loss.klweight: Extra inputs"),
        ("rollout.candidates=4", "reward.scheme = binary is for 2 candidates"),
        ("rollout.window=8", "of 8 denoising steps 7 can be stochastic; rollout.window is 8"),
    ],
)
def test_a_mistake_in_a_recipe_with_a_preset_is_named(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(recipe, [override])


def test_the_successor_of_qwen_image_edit_takes_its_values(recipe: Path) -> None:
    config = load_config(recipe, ["model.family=qwen_image_edit_plus"])
    assert (config.optimizer.learning_rate, config.lora.rank, config.loss.kl_weight) == (1e-5, 32, 0.02)
    assert (config.model.num_inference_steps, config.rollout.prompts_per_step) == (10, 16)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "trainer" / "configs" / "presets").glob("*.toml")), ids=lambda p: p.stem
)
def test_every_preset_is_a_valid_recipe_for_its_family(recipe: Path, path: Path) -> None:
    preset, _, family = path.stem.partition("_")
    assert load_config(recipe, [f"preset={preset}", f"model.family={family}"]).preset == preset
