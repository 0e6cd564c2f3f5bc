"""Pictures and judges for the tests of this folder."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from starlette.responses import Response

from services.judging.answering import AskLimits
from services.judging.backend import OpenAIBackend
from services.judging.cache import MemoryVerdictCache, VerdictCache
from services.judging.images import JudgeImage, read_png
from services.judging.judge import Judge, JudgeLimits
from shared_schemas.rubrics import Criterion, RubricContent, Task
from tests.judging.scripted_endpoint import BackendOf, Endpoint

PAPER = (240, 240, 240)
SUPERSAMPLING = 8


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _draw(
    shape: str, fill: tuple[int, int, int], *, side: int = 32, paper: tuple[int, int, int] = PAPER, noise: float = 3.0
) -> Image.Image:
    """One filled shape in the middle, averaged down from eight times the size, with a little Gaussian noise."""
    size = side * SUPERSAMPLING
    canvas = Image.new("RGB", (size, size), paper)
    pen, low, high = ImageDraw.Draw(canvas), size * 0.22, size * 0.78
    match shape:
        case "circle":
            pen.ellipse((low, low, high, high), fill=fill)
        case "square":
            pen.rectangle((low, low, high, high), fill=fill)
        case "triangle":
            pen.polygon([(size / 2, low), (high, high), (low, high)], fill=fill)
        case "concave triangle":
            dent = size * 0.56
            pen.polygon([(size / 2, low), (size * 0.58, dent), (high, high), (size / 2, size * 0.66), (low, high),
                         (size * 0.42, dent)], fill=fill)  # fmt: skip
        case _:
            pytest.fail(f"{shape} cannot be drawn")
    pixels = np.asarray(canvas.resize((side, side), Image.Resampling.BOX), dtype=np.float64)
    pixels = pixels + np.random.default_rng(0).normal(0, noise, pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def encode() -> Callable[[Image.Image], bytes]:
    """PNG bytes of a Pillow image."""
    return _encode


@pytest.fixture(scope="session")
def draw() -> Callable[..., Image.Image]:
    """`draw(shape, fill, side=32, paper=…, noise=3.0)` as a Pillow image."""
    return _draw


@pytest.fixture(scope="session")
def judge_image() -> Callable[[Image.Image], JudgeImage]:
    """A Pillow image as the judge gets it."""
    return lambda image: read_png(_encode(image))


@pytest.fixture(scope="session")
def red_circle() -> JudgeImage:
    return read_png(_encode(_draw("circle", (220, 40, 40))))


@pytest.fixture(scope="session")
def blue_square() -> JudgeImage:
    return read_png(_encode(_draw("square", (40, 90, 220))))


@pytest.fixture(scope="session")
def rubric() -> RubricContent:
    """Colour, shape and cleanliness, as a user of the demo writes them."""
    return RubricContent(
        task=Task.T2I,
        criteria=(
            Criterion(id="colour", theme="Colour", tips=("the object has the colour named in the prompt",)),
            Criterion(id="shape", theme="Shape", tips=("the outline is the named shape",)),
            Criterion(
                id="clean",
                theme="Clean drawing",
                tips=("the fill is even, without spots, gradients or a second colour", "the background is plain"),
            ),
        ),
    )


@pytest.fixture
async def start_judge() -> AsyncIterator[Callable[..., Awaitable[Judge]]]:
    """`await start_judge(app, …, cache=…, limits=…)`: a started judge in front of ASGI apps, closed after the test."""
    judges: list[Judge] = []

    async def start(*apps: Any, cache: VerdictCache | None = None, limits: JudgeLimits | None = None) -> Judge:
        ask = AskLimits(attempts=1, first_backoff=timedelta(milliseconds=1), call_timeout=timedelta(seconds=20))
        judge = Judge(
            [OpenAIBackend.in_process(app) for app in apps],
            cache=MemoryVerdictCache() if cache is None else cache,
            limits=limits or JudgeLimits(ask=ask),
        )
        judges.append(judge)
        await judge.start()
        return judge

    yield start
    for judge in judges:
        await judge.aclose()


@pytest.fixture
def stall() -> Callable[[dict[str, Any]], Awaitable[Response]]:
    """A request handler that never answers; it ends when its caller gives up."""

    async def answer(_: dict[str, Any]) -> Response:
        await asyncio.Event().wait()
        return Response()

    return answer


@pytest.fixture
async def backend_of() -> AsyncIterator[BackendOf]:
    """`backend_of(endpoint)`: a backend in front of a scripted endpoint, closed after the test."""
    opened: list[OpenAIBackend] = []

    def backend(endpoint: Endpoint) -> OpenAIBackend:
        opened.append(OpenAIBackend.in_process(endpoint.app))
        return opened[-1]

    yield backend
    for one in opened:
        await one.aclose()
