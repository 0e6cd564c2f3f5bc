"""What the tests of deploy/ read: the repository root, the compose file, the addresses that the servers answer."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.routing import Route

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from tests.deploy.interpolation import interpolated

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return ROOT


@pytest.fixture(scope="session")
def compose_text() -> str:
    """docker-compose.yml as it is written."""
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="session")
def compose(compose_text: str) -> dict[str, Any]:
    """docker-compose.yml with a password and no other variable set."""
    document: dict[str, Any] = yaml.safe_load(interpolated(compose_text, {"POSTGRES_PASSWORD": "a-password"}))
    return document


@pytest.fixture(scope="session")
def answered_paths() -> dict[int, set[str]]:
    """What can be asked of whom: paths by the port that the process listens on unless told otherwise."""
    service = create_app(Settings())
    judge = create_pixel_judge_app(PixelJudgeSettings())
    judge_port = 8000  # the default of `arr pixel-judge` and of vLLM
    return {
        Settings.model_fields["port"].default: set(service.openapi()["paths"]),
        judge_port: {route.path for route in judge.routes if isinstance(route, Route)},
    }


@pytest.fixture(scope="session")
def everything() -> list[dict[str, Any]]:
    """The chart with all that can be switched on, and vLLM."""
    from tests.deploy.rendering import EVERYTHING, render

    return render(EVERYTHING)


@pytest.fixture(scope="session")
def otherwise() -> list[dict[str, Any]]:
    """The chart with all that can be switched off, and the pixel judge."""
    from tests.deploy.rendering import OTHERWISE, render

    return render(OTHERWISE)
