"""A service with a published rubric set, and recipes that train a tiny FLUX on its rewards."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from arr.demo.tiny_flux import build_random_tiny_flux
from arr.service_process import ServiceProcess, running_service
from reward_client import RewardClient
from shared_schemas.rubrics import Criterion, RubricContent
from trainer.config import TrainConfig

PROMPTS = ("a red circle", "a blue square", "a green triangle")


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a real FluxPipeline of a few hundred thousand random parameters."""
    directory = tmp_path_factory.mktemp("models") / "tiny-flux"
    build_random_tiny_flux(directory, seed=0)
    return directory


@pytest.fixture
def make_service(tmp_path: Path) -> Callable[[], AbstractContextManager[ServiceProcess]]:
    """`with make_service() as service`: a service of the test's own, that it may stop."""
    return lambda: running_service(tmp_path / "service", log=tmp_path / "service.log")


@pytest.fixture(scope="session")
def rubric(service_url: str) -> str:
    """Reference of a rubric set that the service holds."""
    colour = Criterion(id="colour", theme="Colour", tips=("The object has the colour that the prompt names.",))
    contrast = Criterion(id="contrast", theme="Contrast", tips=("The image has strong contrast.",))
    with RewardClient(service_url) as client:
        version = client.publish_rubric("shapes", RubricContent(task="t2i", criteria=(colour, contrast)))
        client.set_alias("shapes", "production", version.version)
    return "shapes@production"


@pytest.fixture
def make_values(tiny_flux: Path, tmp_path: Path, service_url: str, rubric: str) -> Callable[..., dict[str, Any]]:
    """`make_values(steps=2, reward={…})`: the values of a recipe, sections merged with what is given."""

    def make(**changes: Any) -> dict[str, Any]:
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
        values: dict[str, Any] = {
            "output_dir": str(tmp_path / "run"),
            "steps": 2,
            "num_threads": 1,
            "model": {"path": str(tiny_flux), "dtype": "float32", "resolution": 32, "max_sequence_length": 12},
            "lora": {"rank": 4, "alpha": 8},
            "data": {"prompts": str(prompts)},
            "rollout": {"prompts_per_step": 8, "micro_batches": 4},
            "reward": {"url": service_url, "rubric": rubric, "allow_pixel_judge": True, "tie_margin": 0.0},
            "optimizer": {"learning_rate": 1e-3},
            "checkpoint": {"every": 1},
            "evaluation": {"prompts": str(prompts), "every": 2, "images_per_prompt": 2},
        }
        for name, value in changes.items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
        return values

    return make


@pytest.fixture
def make_config(make_values: Callable[..., dict[str, Any]]) -> Callable[..., TrainConfig]:
    """The same as a `TrainConfig`."""
    return lambda **changes: TrainConfig.model_validate(make_values(**changes))
