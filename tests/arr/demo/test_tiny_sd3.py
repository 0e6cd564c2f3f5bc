from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from arr.demo.model_cache import recipe_fingerprint
from arr.demo.pretrain import Recipe
from arr.demo.tiny_sd3 import build_random_tiny_sd3, build_tiny_sd3, cached_tiny_sd3, ensure_tiny_sd3

SHORT = Recipe(vae_steps=2, flow_steps=2, num_drawings=16, prompt_dropout=0.5)


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    pipeline = StableDiffusion3Pipeline.from_pretrained(directory)
    parts = {"transformer": pipeline.transformer, "vae": pipeline.vae, "clip": pipeline.text_encoder_2}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def test_equal_seeds_give_equal_weights_and_another_seed_gives_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build_tiny_sd3(tmp_path / name, seed=seed, recipe=SHORT)
    first, again, other = (weights_of(tmp_path / name) for name in "abc")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["transformer.proj_out.weight"], other["transformer.proj_out.weight"])


def test_an_existing_model_is_never_overwritten(tmp_path: Path) -> None:
    build_random_tiny_sd3(tmp_path / "model")
    with pytest.raises(FileExistsError):
        build_tiny_sd3(tmp_path / "model", recipe=SHORT)


def test_a_model_in_the_cache_is_not_built_again(tmp_path: Path) -> None:
    build_random_tiny_sd3(cached_tiny_sd3(tmp_path, seed=3))

    def refuse(stage: str, done: int, total: int) -> None:
        raise AssertionError("built again")

    assert ensure_tiny_sd3(tmp_path, seed=3, progress=refuse) == cached_tiny_sd3(tmp_path, seed=3)


def test_the_fingerprint_follows_the_dropout_and_a_recipe_without_it_keeps_its_name() -> None:
    # The name of the demo's FLUX since before there was a dropout: models in people's caches stay what they are.
    assert recipe_fingerprint(Recipe(), version=1) == "68a6d7347c35"
    assert recipe_fingerprint(Recipe(prompt_dropout=0.1), version=1) != recipe_fingerprint(Recipe(), version=1)
