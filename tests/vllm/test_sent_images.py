"""A real vLLM is sent an image once: further questions name it, and where it is lost it is sent again."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from services.judging.answers import Answer, LabelAnswer
from services.judging.asking import Delivery, ask
from services.judging.backend import OpenAIBackend
from services.judging.connection import JudgeConnection
from services.judging.images import JudgeImage
from services.judging.probing import find_way
from services.judging.prompts import criterion_prompt
from services.judging.sent_images import SentImages
from services.judging.served_model import ModelDirectory
from shared_schemas.rubrics import RubricContent

SOON = timedelta(seconds=60)


class Weighing(httpx2.AsyncHTTPTransport):
    """Notes how many images went out with their bytes, request by request."""

    def __init__(self) -> None:
        super().__init__()
        self.num_sent: list[int] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/chat/completions"):
            self.num_sent.append((await request.aread()).count(b"data:image/png;base64,"))
        return await super().handle_async_request(request)


def log_odds(answer: Answer) -> float:
    assert isinstance(answer, LabelAnswer)
    return answer.log_odds


@pytest.fixture
async def transport() -> Weighing:
    return Weighing()


@pytest.fixture
async def connection(vllm_url: str, transport: Weighing) -> AsyncIterator[JudgeConnection]:
    connection = JudgeConnection(url=vllm_url, api_key=None, transport=transport)
    yield connection
    await connection.aclose()


async def test_each_image_is_transferred_once_however_many_criteria_ask_about_it(
    connection: JudgeConnection,
    transport: Weighing,
    backend: OpenAIBackend,
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
    nearly: Callable[[Any], Any],
) -> None:
    watched, image = OpenAIBackend(connection, model=None), picture(401)
    await watched.probe(within=SOON)
    transport.num_sent.clear()
    for criterion in rubric.criteria:
        prompt = criterion_prompt("a cat", image, source=None, criterion=criterion, rubric=rubric)
        named = await watched.ask(prompt, within=SOON)
        assert log_odds(named) == nearly(log_odds(await backend.ask(prompt, within=SOON)))
    assert transport.num_sent == [1, 0]


async def test_an_image_that_the_server_has_not_is_sent_after_all(
    connection: JudgeConnection,
    transport: Weighing,
    backend: OpenAIBackend,
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
    nearly: Callable[[Any], Any],
) -> None:
    image = picture(402)
    directory = ModelDirectory(connection, wanted=None)
    served = await directory.look_up(within=SOON)
    way = await find_way(connection, directory, model=served.model, within=SOON)
    sent = SentImages()
    sent.answered([image.digest])  # as after a restart that went unnoticed
    prompt = criterion_prompt("a cat", image, source=None, criterion=rubric.criteria[0], rubric=rubric)
    transport.num_sent.clear()
    answer = await ask(connection, way, prompt, delivery=Delivery(within=SOON, sent_images=sent))
    assert transport.num_sent == [0, 1]
    assert log_odds(answer) == nearly(log_odds(await backend.ask(prompt, within=SOON)))
