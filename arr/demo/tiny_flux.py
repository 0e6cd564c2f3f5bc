"""A real, tiny FluxPipeline on disk: built once, loaded with `FluxPipeline.from_pretrained` like any other.

Owns the recipe and the cache; the architecture is `tiny_flux_parts`, the training `pretrain`.

The one rule: a directory that exists is complete. Everything is written beside it first and renamed at the end.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from arr.demo.pretrain import GUIDANCE_SCALE, Recipe, pretrain
from arr.demo.shapes import DRAWINGS, RESOLUTION, render
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
    with _written_whole(directory) as unfinished:
        pipeline = random_pipeline(seed)
        pretrain(pipeline, recipe=recipe, seed=seed, progress=progress)
        pipeline.save_pretrained(unfinished)


def build_random_tiny_flux(directory: Path, *, seed: int = 0) -> None:
    """Save the same architecture with random weights, in under a second: for tests of code that trains or samples.

    Raises `FileExistsError` if `directory` exists.
    """
    with _written_whole(directory) as unfinished:
        random_pipeline(seed).save_pretrained(unfinished)


def ensure_tiny_flux(cache_dir: Path, *, seed: int = 0, progress: Progress = silent) -> Path:
    """Directory of the pre-trained tiny FLUX of this recipe and seed, built if the cache does not hold it."""
    directory = cache_dir / f"tiny-flux-{fingerprint()}-seed-{seed}"
    if not directory.exists():
        build_tiny_flux(directory, seed=seed, progress=progress)
    return directory


def fingerprint(recipe: Recipe = _DEFAULT_RECIPE) -> str:
    """Twelve hexadecimal digits that change when the recipe or the drawings do."""
    digest = hashlib.sha256(json.dumps({"version": _VERSION, **asdict(recipe)}, sort_keys=True).encode())
    rng = np.random.default_rng(0)
    for drawing in DRAWINGS:
        digest.update(render(drawing, rng).tobytes())
    return digest.hexdigest()[:12]


@contextmanager
def _written_whole(directory: Path) -> Iterator[Path]:
    """Yield a directory to fill; it takes its final name only if the block succeeds, and vanishes otherwise."""
    if directory.exists():
        raise FileExistsError(f"{directory} exists; remove it to build anew")
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        yield unfinished
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
