from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from arr.demo.pretrain import Recipe
from arr.demo.shapes import PROMPTS, RESOLUTION
from arr.demo.tiny_flux import (
    GUIDANCE_SCALE,
    MAX_SEQUENCE_LENGTH,
    NUM_INFERENCE_STEPS,
    build_random_tiny_flux,
    build_tiny_flux,
    ensure_tiny_flux,
    fingerprint,
)
from arr.demo.tiny_flux_parts import random_pipeline

SHORT = Recipe(vae_steps=2, flow_steps=2, num_drawings=16)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> FluxPipeline:
    directory = tmp_path_factory.mktemp("models") / "random"
    build_random_tiny_flux(directory, seed=0)
    loaded = FluxPipeline.from_pretrained(directory)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    pipeline = FluxPipeline.from_pretrained(directory)
    parts = {"transformer": pipeline.transformer, "vae": pipeline.vae, "clip": pipeline.text_encoder}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def test_a_saved_pipeline_loads_like_any_other_and_draws_at_the_demo_settings(pipeline: FluxPipeline) -> None:
    images = pipeline(
        ["a red circle", "a blue square"],
        width=RESOLUTION,
        height=RESOLUTION,
        num_inference_steps=NUM_INFERENCE_STEPS,
        guidance_scale=GUIDANCE_SCALE,
        max_sequence_length=MAX_SEQUENCE_LENGTH,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images
    assert images.shape == (2, 32, 32, 3)
    assert np.isfinite(images).all()
    assert (images[0] != images[1]).any()


def test_the_geometry_is_that_of_flux(pipeline: FluxPipeline) -> None:
    assert pipeline.vae_scale_factor == 8
    assert pipeline.vae.config.latent_channels == 16
    assert pipeline.transformer.config.in_channels == 64
    assert pipeline.transformer.config.guidance_embeds


def test_the_schedule_is_shifted_by_three_without_dynamic_shifting(pipeline: FluxPipeline) -> None:
    pipeline.scheduler.set_timesteps(sigmas=[1.0, 0.5])
    # 3s / (1 + 2s) at s = 0.5 is 1.5 / 2.
    assert pipeline.scheduler.sigmas.tolist() == pytest.approx([1.0, 0.75, 0.0])


def test_every_prompt_looks_different_to_both_text_encoders(pipeline: FluxPipeline) -> None:
    tokens, pooled, _ = pipeline.encode_prompt(list(PROMPTS), None, max_sequence_length=MAX_SEQUENCE_LENGTH)
    for embedding in (tokens.flatten(1), pooled):
        distances = torch.pdist(embedding)
        assert distances.min() > 0.9


def test_the_tokenizers_are_the_same_every_time(pipeline: FluxPipeline) -> None:
    for _ in range(3):
        again = random_pipeline(0)
        assert again.tokenizer.get_vocab() == pipeline.tokenizer.get_vocab()
        assert again.tokenizer_2.get_vocab() == pipeline.tokenizer_2.get_vocab()


def test_known_words_are_one_token_and_unknown_words_are_spelled(pipeline: FluxPipeline) -> None:
    assert pipeline.tokenizer.tokenize("a purple triangle") == ["a</w>", "purple</w>", "triangle</w>"]
    assert pipeline.tokenizer_2.tokenize("a purple triangle") == ["▁a", "▁purple", "▁triangle"]
    assert pipeline.tokenizer.tokenize("ox") == ["o", "x</w>"]
    assert pipeline.tokenizer_2.tokenize("ox") == ["▁", "o", "x"]


def test_equal_seeds_give_equal_weights_and_another_seed_gives_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build_tiny_flux(tmp_path / name, seed=seed, recipe=SHORT)
    first, again, other = (weights_of(tmp_path / name) for name in "abc")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["transformer.proj_out.weight"], other["transformer.proj_out.weight"])
    assert not torch.equal(first["vae.encoder.conv_in.weight"], other["vae.encoder.conv_in.weight"])


def test_building_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    build_tiny_flux(tmp_path / "model", seed=0, recipe=SHORT)
    assert torch.equal(before, torch.get_rng_state())


def test_progress_counts_every_step_of_both_stages(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build_tiny_flux(tmp_path / "model", recipe=SHORT, progress=lambda *step: seen.append(step))
    assert seen == [("autoencoder", 1, 2), ("autoencoder", 2, 2), ("transformer", 1, 2), ("transformer", 2, 2)]


def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "transformer":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_tiny_flux(tmp_path / "model", recipe=SHORT, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_model_is_never_overwritten(tmp_path: Path) -> None:
    build_random_tiny_flux(tmp_path / "model", seed=0)
    with pytest.raises(FileExistsError):
        build_tiny_flux(tmp_path / "model", recipe=SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_in_the_cache_is_not_built_again(tmp_path: Path) -> None:
    cached = tmp_path / f"tiny-flux-{fingerprint()}-seed-3"
    build_random_tiny_flux(cached, seed=3)

    def refuse(stage: str, done: int, total: int) -> None:
        raise AssertionError("built again")

    assert ensure_tiny_flux(tmp_path, seed=3, progress=refuse) == cached


def test_the_fingerprint_follows_the_recipe() -> None:
    assert fingerprint() == fingerprint(Recipe())
    assert fingerprint() != fingerprint(Recipe(flow_steps=1))
