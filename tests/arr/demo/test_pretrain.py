from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from arr.demo.feeding import NO_PROMPT, Feed, FluxFeed, Sd3Feed
from arr.demo.pretrain import (
    Recipe,
    as_model_input,
    caption,
    corrupted,
    normalised_latents,
    train_transformer,
    train_vae,
)
from arr.demo.shapes import DRAWINGS, Colour, Drawing, Shape, render
from arr.demo.stages import silent
from arr.demo.tiny_flux_parts import random_pipeline
from arr.demo.tiny_sd3_parts import random_sd3_pipeline


@pytest.fixture
def images() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return as_model_input(np.stack([render(drawing, rng) for drawing in DRAWINGS]))


def test_captions_are_wrong_as_often_as_the_recipe_says() -> None:
    # Redrawing from n words picks the right one again 1/n of the time: 0.35 · 4/5 = 0.28 and 0.25 · 2/3 = 0.167 wrong.
    rng, drawing = np.random.default_rng(0), Drawing(colour=Colour.BLUE, shape=Shape.SQUARE)
    captions = [corrupted(drawing, rng, recipe=Recipe(wrong_colour=0.35, wrong_shape=0.25)) for _ in range(20_000)]
    colours = Counter(caption.colour for caption in captions)
    shapes = Counter(caption.shape for caption in captions)
    assert colours[Colour.BLUE] / 20_000 == pytest.approx(0.72, abs=0.015)
    assert shapes[Shape.SQUARE] / 20_000 == pytest.approx(0.833, abs=0.015)
    assert colours[Colour.RED] / 20_000 == pytest.approx(0.07, abs=0.01)


def test_a_recipe_without_mistakes_keeps_every_caption() -> None:
    rng = np.random.default_rng(0)
    recipe = Recipe(wrong_colour=0.0, wrong_shape=0.0)
    assert [corrupted(drawing, rng, recipe=recipe) for drawing in DRAWINGS] == list(DRAWINGS)


def test_a_share_of_the_captions_is_left_out() -> None:
    rng, drawing = np.random.default_rng(0), Drawing(colour=Colour.BLUE, shape=Shape.SQUARE)
    recipe = Recipe(wrong_colour=0.0, wrong_shape=0.0, prompt_dropout=0.1)
    told = Counter(caption(drawing, rng, recipe=recipe) for _ in range(20_000))
    assert set(told) == {"a blue square", NO_PROMPT}
    assert told[NO_PROMPT] / 20_000 == pytest.approx(0.1, abs=0.01)


def test_without_dropout_no_randomness_is_spent_on_it() -> None:
    drawing = Drawing(colour=Colour.BLUE, shape=Shape.SQUARE)
    first, again = np.random.default_rng(0), np.random.default_rng(0)
    assert caption(drawing, first, recipe=Recipe()) == corrupted(drawing, again, recipe=Recipe()).prompt
    assert first.random() == again.random()


def test_latents_have_mean_zero_and_deviation_one(images: torch.Tensor) -> None:
    pipeline = random_pipeline(0)
    latents = normalised_latents(pipeline.vae, images)
    assert latents.shape == (15, 16, 4, 4)
    assert latents.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert latents.std().item() == pytest.approx(1.0, abs=1e-3)
    assert FluxFeed(pipeline).arranged(latents).shape == (15, 4, 64)


def test_a_few_steps_teach_the_autoencoder_something(images: torch.Tensor) -> None:
    recipe = Recipe(vae_steps=30, vae_batch=8)
    losses = train_vae(random_pipeline(0).vae, images, recipe=recipe, rng=np.random.default_rng(0), progress=silent)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize(("make", "feeding"), [(random_pipeline, FluxFeed), (random_sd3_pipeline, Sd3Feed)])
def test_a_few_steps_teach_the_transformer_something(
    images: torch.Tensor, make: Callable[[int], Any], feeding: Callable[[Any], Feed]
) -> None:
    pipeline = make(0)
    feed = feeding(pipeline)
    latents = feed.arranged(normalised_latents(pipeline.vae, images))
    recipe = Recipe(flow_steps=60, flow_batch=32)
    losses = train_transformer(
        pipeline, feed, latents, DRAWINGS, recipe=recipe, rng=np.random.default_rng(0), progress=silent
    )
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert not pipeline.transformer.training


def test_sd3_is_fed_what_its_pipeline_feeds_it() -> None:
    pipeline = random_sd3_pipeline(0)
    pipeline.set_progress_bar_config(disable=True)
    fed: list[dict[str, torch.Tensor]] = []
    pipeline.transformer.register_forward_pre_hook(lambda module, args, kwargs: fed.append(kwargs), with_kwargs=True)
    latents = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    sizes = {"height": 32, "width": 32, "num_inference_steps": 1, "max_sequence_length": 12}
    pipeline("a red circle", latents=latents, guidance_scale=2.0, output_type="latent", **sizes)
    feed = Sd3Feed(pipeline)
    with torch.no_grad():
        feed.velocity(latents.repeat(2, 1, 1, 1), torch.ones(2), [NO_PROMPT, "a red circle"])
    theirs, ours = fed
    for name in ("hidden_states", "timestep", "encoder_hidden_states", "pooled_projections"):
        torch.testing.assert_close(ours[name], theirs[name].float(), atol=1e-5, rtol=0)
