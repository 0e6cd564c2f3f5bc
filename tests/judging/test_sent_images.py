"""One transfer per image: a vLLM that has seen an image is told its name the next time."""

from datetime import timedelta
from typing import Any

import pytest

from services.judging.backend import BackendError, OpenAIBackend
from services.judging.images import JudgeImage
from services.judging.prompts import JudgePrompt, criterion_prompt
from services.judging.sent_images import SentImages
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent
from tests.judging.scripted_vllm import Vllm, backend_for

SOON = timedelta(seconds=20)


@pytest.fixture
async def backend(vllm: Vllm) -> OpenAIBackend:
    backend = backend_for(vllm)
    await backend.probe(within=SOON)
    vllm.bodies.clear()
    return backend


@pytest.fixture
def vllm() -> Vllm:
    return Vllm()


@pytest.fixture
def question(red_circle: JudgeImage, rubric: RubricContent) -> JudgePrompt:
    return criterion_prompt("a red circle", red_circle, source=None, criterion=rubric.criteria[0], rubric=rubric)


def images(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in body["messages"][-1]["content"] if part["type"] == "image_url"]


def num_sent(vllm: Vllm) -> list[int]:
    """How many images of each request came with their bytes."""
    return [sum(image["image_url"] is not None for image in images(body)) for body in vllm.bodies]


async def test_an_image_is_sent_once_and_named_from_then_on(
    backend: OpenAIBackend, vllm: Vllm, question: JudgePrompt, red_circle: JudgeImage
) -> None:
    answers = [await backend.ask(question, within=SOON) for _ in range(3)]
    assert num_sent(vllm) == [1, 0, 0]
    assert {image["uuid"] for body in vllm.bodies for image in images(body)} == {red_circle.digest}
    assert len(set(map(repr, answers))) == 1


async def test_an_image_that_was_lost_is_sent_again_within_the_same_call(
    backend: OpenAIBackend, vllm: Vllm, question: JudgePrompt
) -> None:
    first = await backend.ask(question, within=SOON)
    vllm.lose_images()
    assert await backend.ask(question, within=SOON) == first
    await backend.ask(question, within=SOON)
    assert num_sent(vllm) == [1, 0, 1, 0]


async def test_a_server_that_never_keeps_images_is_sent_bytes_after_a_few_misses(
    backend: OpenAIBackend, vllm: Vllm, question: JudgePrompt
) -> None:
    vllm.keeps_images = False
    for _ in range(12):
        await backend.ask(question, within=SOON)
    assert num_sent(vllm) == [1, *[0, 1] * 8, 1, 1, 1]


async def test_a_server_that_is_probed_again_is_taken_for_a_new_one(
    backend: OpenAIBackend, vllm: Vllm, question: JudgePrompt
) -> None:
    await backend.ask(question, within=SOON)
    await backend.probe(within=SOON)
    vllm.bodies.clear()
    await backend.ask(question, within=SOON)
    assert num_sent(vllm) == [1]


async def test_what_is_refused_with_its_bytes_too_is_refused(
    backend: OpenAIBackend, vllm: Vllm, question: JudgePrompt
) -> None:
    await backend.ask(question, within=SOON)
    vllm.broken = {"/v1/chat/completions": 400}
    with pytest.raises(BackendError) as failure:
        await backend.ask(question, within=SOON)
    assert failure.value.type is FailureType.JUDGE_REFUSED
    vllm.broken = {}
    await backend.ask(question, within=SOON)
    assert num_sent(vllm) == [1, 0], "it still counts as seen"


async def test_a_server_that_is_busy_is_not_asked_twice(
    backend: OpenAIBackend, vllm: Vllm, question: JudgePrompt
) -> None:
    await backend.ask(question, within=SOON)
    asked = len(vllm.authorizations)
    vllm.broken = {"/v1/chat/completions": 429}
    with pytest.raises(BackendError):
        await backend.ask(question, within=SOON)
    assert len(vllm.authorizations) == asked + 1


def test_the_images_used_last_are_remembered() -> None:
    sent = SentImages(capacity=2)
    sent.answered(["a", "b"])
    sent.answered(["a"])
    sent.answered(["c"])
    assert sent.known(["a", "b", "c"]) == {"a", "c"}
