"""A real, tiny FluxPipeline on disk: built once, loaded with `FluxPipeline.from_pretrained` like any other.

Owns which recipe it is; the architecture is `tiny_flux_parts`, the training `pretrain`, the cache `model_cache`.
"""

from pathlib import Path

from arr.demo.feeding import FLUX_GUIDANCE_SCALE as GUIDANCE_SCALE
from arr.demo.feeding import FluxFeed
from arr.demo.model_cache import recipe_fingerprint, written_whole
from arr.demo.pretrain import Recipe, pretrain
from arr.demo.shapes import RESOLUTION
from arr.demo.stages import Progress, silent
from arr.demo.tiny_flux_parts import random_pipeline
from arr.demo.tiny_parts import MAX_SEQUENCE_LENGTH

__all__ = [
    "GUIDANCE_SCALE",
    "MAX_SEQUENCE_LENGTH",
    "NUM_INFERENCE_STEPS",
    "RESOLUTION",
    "build_random_tiny_flux",
    "build_tiny_flux",
    "ensure_tiny_flux",
    "fingerprint",
]

NUM_INFERENCE_STEPS = 8
"""Euler steps of every image in the demo."""

_VERSION = 1
"""Raise when the architecture or the training change in a way that `Recipe` does not show."""

_DEFAULT_RECIPE = Recipe()


def build_tiny_flux(
    directory: Path, *, seed: int = 0, progress: Progress = silent, recipe: Recipe = _DEFAULT_RECIPE
) -> None:
    """Pre-train the tiny FLUX and save it to `directory`.

    `progress(stage, done, total)` is called as the stages advance; what it raises ends the build and leaves nothing.
    Equal seeds give equal weights on one machine and number of threads. Raises `FileExistsError` if `directory` exists.
    """
    with written_whole(directory) as unfinished:
        pipeline = random_pipeline(seed)
        pretrain(pipeline, FluxFeed(pipeline), recipe=recipe, seed=seed, progress=progress)
        pipeline.save_pretrained(unfinished)


def build_random_tiny_flux(directory: Path, *, seed: int = 0) -> None:
    """Save the same architecture with random weights, in under a second: for tests of code that trains or samples.

    Raises `FileExistsError` if `directory` exists.
    """
    with written_whole(directory) as unfinished:
        random_pipeline(seed).save_pretrained(unfinished)


def ensure_tiny_flux(cache_dir: Path, *, seed: int = 0, progress: Progress = silent) -> Path:
    """Directory of the pre-trained tiny FLUX of this recipe and seed, built if the cache does not hold it."""
    directory = cache_dir / f"tiny-flux-{fingerprint()}-seed-{seed}"
    if not directory.exists():
        build_tiny_flux(directory, seed=seed, progress=progress)
    return directory


def fingerprint(recipe: Recipe = _DEFAULT_RECIPE) -> str:
    """Twelve hexadecimal digits that change when the recipe or the drawings do."""
    return recipe_fingerprint(recipe, version=_VERSION)
