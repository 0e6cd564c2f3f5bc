from pathlib import Path

import pytest
import yaml

from trainer.config import load_config
from trainer.policies import ENCODERS

CONFIGS = Path(__file__).parents[2] / "trainer" / "configs"
RECIPES = sorted(CONFIGS.glob("*.toml"))


def by_stem(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", RECIPES, ids=by_stem)
def test_every_shipped_recipe_is_a_valid_configuration(path: Path) -> None:
    config = load_config(path)
    assert config.model.family in ENCODERS
    assert config.output_dir == Path("runs") / path.stem
    assert config.rollout.prompts_per_step % config.rollout.micro_batches == 0


def test_the_recipes_of_the_paper_are_there_with_its_numbers() -> None:
    flux, edit = (load_config(CONFIGS / f"{name}_rpo.toml") for name in ("flux1_dev", "qwen_image_edit"))
    assert (flux.optimizer.learning_rate, edit.optimizer.learning_rate) == (5e-5, 1e-5)
    assert (flux.model.num_inference_steps, edit.model.num_inference_steps) == (8, 10)
    assert (flux.rollout.prompts_per_step, edit.rollout.prompts_per_step) == (32, 16)
    assert (flux.lora.rank, edit.lora.rank) == (16, 32)
    assert (flux.reward.dispreferred, edit.reward.dispreferred) == (-0.1, -0.1)
    for config in (flux, edit):
        assert config.model.dtype == "bfloat16"
        assert config.model.gradient_checkpointing


@pytest.mark.parametrize("path", sorted((CONFIGS / "accelerate").glob("*.yaml")), ids=by_stem)
def test_every_recipe_for_large_models_can_be_shared_by_the_processes_of_a_launch(path: Path) -> None:
    launch = yaml.safe_load(path.read_text())
    large = [recipe for recipe in RECIPES if recipe.stem != "tiny_flux"]
    assert large
    for recipe in large:
        assert load_config(recipe).rollout.micro_batches % launch["num_processes"] == 0


def test_the_launch_that_shards_asks_for_the_fsdp_that_the_trainer_knows() -> None:
    launch = yaml.safe_load((CONFIGS / "accelerate" / "fsdp2.yaml").read_text())
    assert (launch["distributed_type"], launch["fsdp_config"]["fsdp_version"]) == ("FSDP", 2)
