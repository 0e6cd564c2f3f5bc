"""Longer calls to a real vLLM: answers written as JSON, how busy the server says it is, and giving up half-way."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Literal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from services.judging.backend import BackendError, ChatMessage, OpenAIBackend, Role, ServerLoad
from services.judging.images import JudgeImage
from shared_schemas.problems import FailureType

SOON = timedelta(seconds=60)

IDLE = ServerLoad(running=0, waiting=0)


class Opinion(BaseModel):
    """Few words, so that a random model comes to an end."""

    better: Literal["the first", "the second"]
    sure: bool


class Essay(BaseModel):
    """A text without an end, as a random model writes it."""

    text: str


@pytest.fixture
def conversation(picture: Callable[..., JudgeImage]) -> tuple[ChatMessage, ...]:
    return (
        ChatMessage(role=Role.SYSTEM, parts=("You compare images.",)),
        ChatMessage(role=Role.USER, parts=("Image 1:", picture(1), "Image 2:", picture(2), "Which one is better?")),
    )


@pytest.fixture
def num_finished(vllm_url: str) -> Callable[[], float]:
    """Requests that the server has brought to an end of their own."""

    def read() -> float:
        metrics = httpx.get(f"{vllm_url}/metrics", trust_env=False).text
        samples = [sample for family in text_string_to_metric_families(metrics) for sample in family.samples]
        ends = [sample for sample in samples if sample.name == "vllm:request_success_total"]
        assert ends
        return math.fsum(end.value for end in ends if end.labels["finished_reason"] != "abort")

    return read


async def until(backend: OpenAIBackend, is_reached: Callable[[ServerLoad | None], bool]) -> None:
    """Return when the server's own account of its load fits; the test's time limit ends it otherwise.

    While it writes on all cores it may not even take a connection: then it is asked again.
    """
    while True:
        with suppress(BackendError):
            if is_reached(await backend.load(within=SOON)):
                return
        await asyncio.sleep(0.05)


async def test_json_answers_have_the_shape_that_was_asked_for(
    backend: OpenAIBackend, conversation: tuple[ChatMessage, ...]
) -> None:
    said = await backend.complete_json(conversation, schema=Opinion, within=SOON, max_tokens=100)
    assert said.value.better in {"the first", "the second"}
    assert said.prompt_tokens > said.completion_tokens > 1
    again = await backend.complete_json(conversation, schema=Opinion, within=SOON, max_tokens=100)
    assert again == said


async def test_json_that_does_not_come_to_an_end_is_malformed(
    backend: OpenAIBackend, conversation: tuple[ChatMessage, ...]
) -> None:
    with pytest.raises(BackendError, match="cut off") as failure:
        await backend.complete_json(conversation, schema=Essay, within=SOON, max_tokens=30)
    assert failure.value.type is FailureType.JUDGE_MALFORMED


async def test_an_idle_server_says_so(backend: OpenAIBackend) -> None:
    await until(backend, lambda load: load == IDLE)


async def test_a_cancelled_call_is_aborted_and_frees_its_slot(
    backend: OpenAIBackend, conversation: tuple[ChatMessage, ...], num_finished: Callable[[], float]
) -> None:
    finished_before = num_finished()
    call = asyncio.create_task(backend.complete_json(conversation, schema=Essay, within=SOON, max_tokens=3000))
    await until(backend, lambda load: load is not None and load.running == 1)
    call.cancel()
    await until(backend, lambda load: load == IDLE)
    assert call.cancelled()
    assert num_finished() == finished_before, "it did not just run to its end"


async def test_a_call_that_takes_too_long_is_aborted_too(
    backend: OpenAIBackend, conversation: tuple[ChatMessage, ...], num_finished: Callable[[], float]
) -> None:
    finished_before = num_finished()
    with pytest.raises(BackendError) as failure:
        await backend.complete_json(conversation, schema=Essay, within=timedelta(seconds=1), max_tokens=3000)
    assert failure.value.type is FailureType.JUDGE_TIMEOUT
    await until(backend, lambda load: load == IDLE)
    assert num_finished() == finished_before
