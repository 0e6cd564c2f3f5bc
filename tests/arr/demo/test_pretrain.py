from collections import Counter

import numpy as np
import pytest
import torch

from arr.demo.pretrain import (
    Recipe,
    as_model_input,
    corrupted,
    normalised_latents,
    train_transformer,
    train_vae,
)
from arr.demo.shapes import DRAWINGS, Colour, Drawing, Shape, render
from arr.demo.stages import silent
from arr.demo.tiny_flux_parts import random_pipeline


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


def test_latents_are_packed_with_mean_zero_and_deviation_one(images: torch.Tensor) -> None:
    pipeline = random_pipeline(0)
    latents = normalised_latents(pipeline, images)
    assert latents.shape == (15, 4, 64)
    assert latents.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert latents.std().item() == pytest.approx(1.0, abs=1e-3)


def test_a_few_steps_teach_the_autoencoder_something(images: torch.Tensor) -> None:
    recipe = Recipe(vae_steps=30, vae_batch=8)
    losses = train_vae(random_pipeline(0).vae, images, recipe=recipe, rng=np.random.default_rng(0), progress=silent)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_a_few_steps_teach_the_transformer_something(images: torch.Tensor) -> None:
    pipeline = random_pipeline(0)
    latents = normalised_latents(pipeline, images)
    recipe = Recipe(flow_steps=60, flow_batch=32)
    losses = train_transformer(
        pipeline, latents, DRAWINGS, recipe=recipe, rng=np.random.default_rng(0), progress=silent
    )
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert not pipeline.transformer.training
