"""The command line as tests call it, and pictures to judge."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from arr.main import app
from arr.worker import beside_the_service
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from tests.arr.made_up_kinds import kinds


@pytest.fixture
def arr() -> Callable[..., Result]:
    """`arr("judge", …)` runs the command in this process and returns its exit code and output."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="arr")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception  # a traceback is never the answer, whatever the mistake
        return result

    return run


@pytest.fixture
def rubric_file(tmp_path: Path) -> Path:
    """A rubric set about colour and shape."""
    path = tmp_path / "shapes.json"
    criteria = [
        {"id": "colour", "theme": "Colour", "tips": ["The object has the colour that the prompt names."]},
        {"id": "shape", "theme": "Shape", "tips": ["The object has the shape that the prompt names."]},
    ]
    path.write_text(json.dumps({"task": "t2i", "criteria": criteria}))
    return path


@pytest.fixture
def red_circle(tmp_path: Path) -> Path:
    path = tmp_path / "red_circle.png"
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill=(220, 30, 30))
    image.save(path)
    return path


@pytest.fixture
def blue_square(tmp_path: Path) -> Path:
    path = tmp_path / "blue_square.png"
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).rectangle((14, 14, 50, 50), fill=(30, 60, 220))
    image.save(path)
    return path


@pytest.fixture
def labelled_pairs(tmp_path: Path, red_circle: Path, blue_square: Path) -> Path:
    """Rows of your own: one pair, of which the circle is the better picture."""
    path = tmp_path / "labelled.jsonl"
    row = {"prompt": "a red circle", "images": [red_circle.name, blue_square.name], "rank": [1, 2]}
    path.write_text(json.dumps(row) + "\n")
    return path


@pytest.fixture
def job_service(serve: Callable[..., str], tmp_path: Path) -> str:
    """URL of a service that learns and evaluates as `made_up_kinds` says: at once, and without a judge."""
    settings = Settings(data_dir=tmp_path / "service", canary_seconds=0.0)
    return serve(create_app(settings, companion=beside_the_service(kinds)))
