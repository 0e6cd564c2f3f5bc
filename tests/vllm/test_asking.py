"""Single questions to a real vLLM: how it is found, and that its log-probabilities are read for what they are."""

import math
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from pydantic_core import from_json, to_json

from services.judging.answers import LabelAnswer
from services.judging.backend import BackendError, Capability, OpenAIBackend
from services.judging.chat_messages import encode_request, messages_of
from services.judging.images import JudgeImage
from services.judging.prompts import JudgePrompt, criterion_prompt, pair_prompt
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent

SOON = timedelta(seconds=60)


@pytest.fixture
def probability(vllm_url: str) -> Callable[..., float]:
    """`probability(prompt, "1", " 1")`: of these tokens together, read off the whole unrestricted distribution."""

    def post(route: str, body: bytes) -> Any:
        json = {"Content-Type": "application/json"}
        answer = httpx.post(f"{vllm_url}/{route}", content=body, timeout=60, headers=json, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(word: str) -> str:
        [number] = post("tokenize", to_json({"prompt": word, "add_special_tokens": False}))["tokens"]
        return f"token_id:{number}"

    def look(prompt: JudgePrompt, *words: str) -> float:
        all_tokens = {"logprobs": True, "top_logprobs": -1, "return_tokens_as_token_ids": True}
        sampling = {"model": "tiny-qwen3vl", "max_tokens": 1, "temperature": 0, **all_tokens}
        said = post("v1/chat/completions", encode_request(sampling, messages_of(prompt), with_uuids=False))
        top = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        p = {entry["token"]: math.exp(entry["logprob"]) for entry in top}
        assert math.fsum(p.values()) == pytest.approx(1.0, abs=1e-4)
        return math.fsum(p[token(word)] for word in words)

    return look


async def test_the_probe_finds_the_raw_log_probs_of_labels_and_who_serves(vllm_url: str) -> None:
    backend = OpenAIBackend.over_url(vllm_url)
    try:
        found = await backend.probe(within=SOON)
    finally:
        await backend.aclose()
    assert backend.capability is Capability.LABEL_LOG_PROBS
    assert backend.takes_priority
    assert (found.model, found.server_version, found.style) == ("tiny-qwen3vl", "0.32.0", "logprob_token_ids")
    assert from_json(found.revision)["max_model_len"] == 4096


async def test_a_model_that_is_not_served_is_refused_at_the_start(vllm_url: str) -> None:
    backend = OpenAIBackend.over_url(vllm_url, model="another")
    with pytest.raises(BackendError, match="tiny-qwen3vl") as refusal:
        await backend.probe(within=SOON)
    await backend.aclose()
    assert refusal.value.type is FailureType.JUDGE_REFUSED


async def test_a_verdict_is_one_token_with_the_log_probs_the_model_really_has(
    backend: OpenAIBackend,
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
    probability: Callable[..., float],
    nearly: Callable[[Any], Any],
) -> None:
    prompt = pair_prompt("a red cube", picture(1), picture(2), source=None, rubric=rubric)
    answer = await backend.ask(prompt, within=SOON)
    assert isinstance(answer, LabelAnswer)
    first, second = probability(prompt, "1", " 1"), probability(prompt, "2", " 2")
    assert answer.log_p_first == nearly(math.log(first))
    assert answer.log_p_second == nearly(math.log(second))
    assert answer.label_mass == nearly(first + second)
    assert 0 < answer.label_mass < 0.5, "restricted to labels, the mass would be 1"
    assert answer.completion_tokens == 1


async def test_a_criterion_is_answered_with_every_spelling_of_yes_and_no(
    backend: OpenAIBackend,
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
    probability: Callable[..., float],
    nearly: Callable[[Any], Any],
) -> None:
    prompt = criterion_prompt("a red cube", picture(1), source=None, criterion=rubric.criteria[0], rubric=rubric)
    answer = await backend.ask(prompt, within=SOON)
    assert isinstance(answer, LabelAnswer)
    assert answer.log_p_first == nearly(math.log(probability(prompt, "yes", " yes", "Yes", " Yes")))
    assert answer.log_p_second == nearly(math.log(probability(prompt, "no", " no", "No", " No")))


async def test_the_answer_depends_on_the_order_the_pixels_and_the_rubric(
    backend: OpenAIBackend, picture: Callable[..., JudgeImage], rubric: RubricContent
) -> None:
    a, b, c = picture(1), picture(2), picture(3)
    plain = RubricContent(task=rubric.task)
    prompts = [
        pair_prompt("a red cube", a, b, source=None, rubric=rubric),
        pair_prompt("a red cube", b, a, source=None, rubric=rubric),
        pair_prompt("a red cube", a, c, source=None, rubric=rubric),
        pair_prompt("a red cube", a, b, source=None, rubric=plain),
        pair_prompt("a blue cube", a, b, source=None, rubric=rubric),
    ]
    answers = [await backend.ask(prompt, within=SOON) for prompt in prompts]
    log_odds = sorted(answer.log_odds for answer in answers if isinstance(answer, LabelAnswer))
    assert len(log_odds) == len(prompts)
    assert min(high - low for low, high in pairwise(log_odds)) > 1e-3


async def test_an_edit_shows_its_source_too(
    backend: OpenAIBackend, picture: Callable[..., JudgeImage], edit_rubric: RubricContent
) -> None:
    asked = [
        pair_prompt("make it red", picture(1), picture(2), source=picture(source), rubric=edit_rubric)
        for source in (3, 4)
    ]
    one, other = [await backend.ask(prompt, within=SOON) for prompt in asked]
    assert isinstance(one, LabelAnswer)
    assert isinstance(other, LabelAnswer)
    assert one.prompt_tokens == other.prompt_tokens
    assert abs(one.log_odds - other.log_odds) > 1e-3


async def test_what_does_not_fit_into_the_context_is_refused_and_named(
    backend: OpenAIBackend, picture: Callable[..., JudgeImage], rubric: RubricContent
) -> None:
    prompt = pair_prompt("x " * 4096, picture(1), picture(2), source=None, rubric=rubric)
    with pytest.raises(BackendError, match="HTTP 400: input_tokens") as refusal:
        await backend.ask(prompt, within=SOON)
    assert refusal.value.type is FailureType.JUDGE_REFUSED


async def test_a_picture_that_the_model_cannot_take_is_refused_and_hurts_nobody_else(
    backend: OpenAIBackend, picture: Callable[..., JudgeImage], rubric: RubricContent
) -> None:
    ribbon = picture(1, width=2048, height=8)  # Qwen takes no sides in a proportion above 200
    with pytest.raises(BackendError, match="HTTP 400") as refusal:
        await backend.ask(pair_prompt("x", ribbon, picture(2), source=None, rubric=rubric), within=SOON)
    assert refusal.value.type is FailureType.JUDGE_REFUSED
    answer = await backend.ask(pair_prompt("x", picture(1), picture(2), source=None, rubric=rubric), within=SOON)
    assert isinstance(answer, LabelAnswer)
