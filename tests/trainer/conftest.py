"""A tiny real FLUX pipeline with random weights, and recipes that train it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arr.demo.tiny_flux import build_random_tiny_flux
from trainer.config import TrainConfig

PROMPTS = ("a red circle", "a blue square", "a green triangle")


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a real FluxPipeline of a few hundred thousand random parameters."""
    directory = tmp_path_factory.mktemp("models") / "tiny-flux"
    build_random_tiny_flux(directory, seed=0)
    return directory


@pytest.fixture
def make_config(tiny_flux: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """`make_config(steps=2, reward={"url": …})`: a small recipe, sections merged with what is given."""

    def make(**changes: Any) -> TrainConfig:
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
        values: dict[str, Any] = {
            "output_dir": tmp_path / "run",
            "steps": 2,
            "num_threads": 1,
            "model": {"path": str(tiny_flux), "dtype": "float32", "resolution": 32, "max_sequence_length": 12},
            "lora": {"rank": 4, "alpha": 8},
            "data": {"prompts": prompts},
            "rollout": {"prompts_per_step": 8, "micro_batches": 4},
            "reward": {"rubric": "shapes", "allow_pixel_judge": True, "tie_margin": 0.0},
            "optimizer": {"learning_rate": 1e-3},
            "checkpoint": {"every": 1},
            "evaluation": {"prompts": prompts, "every": 2, "images_per_prompt": 2},
        }
        for name, value in changes.items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
        return TrainConfig.model_validate(values)

    return make
