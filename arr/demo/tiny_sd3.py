"""A real, tiny StableDiffusion3Pipeline on disk: built once, loaded with `from_pretrained` like any other.

Owns which recipe it is; the architecture is `tiny_sd3_parts`, the training `pretrain`, the cache `model_cache`.
"""

from pathlib import Path

from arr.demo.feeding import Sd3Feed
from arr.demo.model_cache import recipe_fingerprint, written_whole
from arr.demo.pretrain import Recipe, pretrain
from arr.demo.stages import Progress, silent
from arr.demo.tiny_sd3_parts import random_sd3_pipeline

_VERSION = 1
"""Raise when the architecture or the training change in a way that `Recipe` does not show."""

DEFAULT_RECIPE = Recipe(
    flow_steps=1600, flow_learning_rate=4e-3, wrong_colour=0.5, wrong_shape=0.35, prompt_dropout=0.1
)


def build_tiny_sd3(
    directory: Path, *, seed: int = 0, progress: Progress = silent, recipe: Recipe = DEFAULT_RECIPE
) -> None:
    """Pre-train the tiny SD3 and save it to `directory`.

    `progress(stage, done, total)` is called as the stages advance; what it raises ends the build and leaves nothing.
    Equal seeds give equal weights on one machine and number of threads. Raises `FileExistsError` if `directory` exists.
    """
    with written_whole(directory) as unfinished:
        pipeline = random_sd3_pipeline(seed)
        pretrain(pipeline, Sd3Feed(pipeline), recipe=recipe, seed=seed, progress=progress)
        pipeline.save_pretrained(unfinished)


def build_random_tiny_sd3(directory: Path, *, seed: int = 0) -> None:
    """Save the same architecture with random weights, in a second: for tests of code that trains or samples.

    Raises `FileExistsError` if `directory` exists.
    """
    with written_whole(directory) as unfinished:
        random_sd3_pipeline(seed).save_pretrained(unfinished)


def ensure_tiny_sd3(cache_dir: Path, *, seed: int = 0, progress: Progress = silent) -> Path:
    """Directory of the pre-trained tiny SD3 of this recipe and seed, built if the cache does not hold it."""
    directory = cached_tiny_sd3(cache_dir, seed=seed)
    if not directory.exists():
        build_tiny_sd3(directory, seed=seed, progress=progress)
    return directory


def cached_tiny_sd3(cache_dir: Path, *, seed: int = 0) -> Path:
    """Where the cache holds it, or would."""
    return cache_dir / f"tiny-sd3-{recipe_fingerprint(DEFAULT_RECIPE, version=_VERSION)}-seed-{seed}"
