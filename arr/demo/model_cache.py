"""Pre-trained tiny models on disk: named by everything that decides their weights, and never seen half-written.

Owns directories and fingerprints. The one rule: a directory that exists is complete; everything is written beside it
first and renamed at the end.
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

from arr.demo.pretrain import Recipe
from arr.demo.shapes import DRAWINGS, render


def recipe_fingerprint(recipe: Recipe, *, version: int) -> str:
    """Twelve hexadecimal digits that change when the recipe or the drawings do; what a recipe leaves out has no say."""
    values = asdict(recipe)
    if not recipe.prompt_dropout:
        del values["prompt_dropout"]
    digest = hashlib.sha256(json.dumps({"version": version, **values}, sort_keys=True).encode())
    rng = np.random.default_rng(0)
    for drawing in DRAWINGS:
        digest.update(render(drawing, rng).tobytes())
    return digest.hexdigest()[:12]


@contextmanager
def written_whole(directory: Path) -> Iterator[Path]:
    """Yield a directory to fill; it takes its final name only if the block succeeds, and vanishes otherwise.

    Raises `FileExistsError` if `directory` exists.
    """
    if directory.exists():
        raise FileExistsError(f"{directory} exists; remove it to build anew")
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        yield unfinished
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
