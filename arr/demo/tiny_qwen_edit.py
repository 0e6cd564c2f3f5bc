"""Real, tiny pipelines of Qwen-Image-Edit and Qwen-Image-Edit-2509 on disk, loaded with `from_pretrained`.

Owns where they are written; the architecture is `tiny_qwen_edit_parts`. They are not trained to draw anything: they are
for tests and benchmarks of code that trains or samples.
"""

from pathlib import Path

from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline

from arr.demo.model_cache import written_whole
from arr.demo.tiny_qwen_edit_parts import DOWNSAMPLINGS, RESOLUTION, random_qwen_edit_pipeline

__all__ = ["RESOLUTION", "build_random_tiny_qwen_edit", "build_random_tiny_qwen_edit_plus"]


def build_random_tiny_qwen_edit(directory: Path, *, seed: int = 0, downsamplings: int = DOWNSAMPLINGS) -> None:
    """Save a `QwenImageEditPipeline` with random weights, in a second; 3 `downsamplings` are those of the real model.

    Raises `FileExistsError` if `directory` exists.
    """
    with written_whole(directory) as unfinished:
        pipeline = random_qwen_edit_pipeline(QwenImageEditPipeline, seed, downsamplings=downsamplings)
        pipeline.save_pretrained(unfinished)


def build_random_tiny_qwen_edit_plus(directory: Path, *, seed: int = 0) -> None:
    """Save a `QwenImageEditPlusPipeline` with the same weights. Raises `FileExistsError` if `directory` exists."""
    with written_whole(directory) as unfinished:
        random_qwen_edit_pipeline(QwenImageEditPlusPipeline, seed).save_pretrained(unfinished)
