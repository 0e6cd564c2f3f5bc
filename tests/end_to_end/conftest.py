"""A service with a published rubric set, and recipes that train on its rewards."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from arr.service_process import ServiceProcess, running_service
from reward_client import RewardClient
from shared_schemas.rubrics import Criterion, RubricContent


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
def make_values(
    make_values: Callable[..., dict[str, Any]], service_url: str, rubric: str
) -> Callable[..., dict[str, Any]]:
    """The recipe of all tests, on this service and rubric set unless another is given."""

    def make(*, reward: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        return make_values(reward={"url": service_url, "rubric": rubric} | (reward or {}), **changes)

    return make
