"""The pixel judge as a server: its API, its settings and its faults."""

import copy
import hashlib
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from pydantic import ValidationError

from services.judging.images import JudgeImage
from services.judging.pixel_judge import MODEL_ID, PixelJudgeSettings

Body: TypeAlias = Callable[..., dict[str, Any]]
LogOdds: TypeAlias = Callable[..., Awaitable[float]]


async def test_it_lists_its_model_and_version(clients: Any) -> None:
    client = clients()
    models = (await client.get("/v1/models")).json()
    assert [model["id"] for model in models["data"]] == ["pixel-judge"]
    assert (await client.get("/version")).json()["version"].startswith("pixel-judge-")


async def test_its_version_changes_with_what_changes_answers_and_with_nothing_else(clients: Any) -> None:
    async def version(**settings: Any) -> str:
        return str((await clients(**settings).get("/version")).json()["version"])

    plain = await version()
    assert await version(latency_ms=5, error_rate=0.5, error_status=503) == plain
    assert await version(capacity=3, overflow="refuse", log_probs=False, model="other") == plain
    assert await version(stall_rate=0.1, malformed_rate=0.1, drop_rate=0.1) == plain
    assert len({plain, await version(scale=4), await version(position_bias=1), await version(noise=1)}) == 4


async def test_probabilities_of_labels_and_the_rest_add_up_to_one(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body
) -> None:
    response = await clients(label_mass=0.9).post("/v1/chat/completions", json=body(red_circle, blue_square))
    answer = response.json()
    assert answer["choices"][0]["message"]["content"] == "1"
    top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    probabilities = {entry["token"]: math.exp(entry["logprob"]) for entry in top}
    assert sum(probabilities.values()) == pytest.approx(1)
    assert probabilities["1"] + probabilities["2"] == pytest.approx(0.9)


async def test_label_ids_restrict_and_name_the_tokens(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body
) -> None:
    client = clients()
    ids = [(await client.post("/tokenize", json={"prompt": label})).json()["tokens"][0] for label in "12"]
    request = body(
        red_circle, blue_square, allowed_token_ids=ids, logprob_token_ids=ids, return_tokens_as_token_ids=True
    )
    answer = (await client.post("/v1/chat/completions", json=request)).json()
    top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert {entry["token"] for entry in top} == {f"token_id:{token_id}" for token_id in ids}


async def test_scale_multiplies_and_bias_adds(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body, log_odds: LogOdds
) -> None:
    request = body(red_circle, blue_square)
    plain = await log_odds(clients(), request)
    assert plain > 5
    assert await log_odds(clients(scale=4.0), request) == pytest.approx(plain / 2)
    assert await log_odds(clients(position_bias=-1.5), request) == pytest.approx(plain - 1.5)


async def test_noise_belongs_to_request_and_seed_unless_fresh_noise_is_asked_for(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body, log_odds: LogOdds
) -> None:
    request, other = body(red_circle, blue_square), body(red_circle, blue_square, prompt="a big red circle")
    plain, noisy = clients(), clients(noise=1.0)
    noise = await log_odds(noisy, request) - await log_odds(plain, request)
    assert noise != 0
    assert await log_odds(noisy, request) == await log_odds(clients(noise=1.0), request)
    assert await log_odds(clients(noise=1.0, seed=1), request) != await log_odds(noisy, request)
    assert await log_odds(noisy, other) - await log_odds(plain, other) != pytest.approx(noise)
    fresh = clients(noise=1.0, fresh_noise=True)
    assert await log_odds(fresh, request) != await log_odds(fresh, request)


async def test_what_is_not_part_of_the_question_changes_nothing(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body, log_odds: LogOdds
) -> None:
    plain = body(red_circle, blue_square)
    urgent = body(red_circle, blue_square, priority=-3, seed=7, temperature=0.0, chat_template_kwargs={"a": 1})
    for part in urgent["messages"][1]["content"]:
        part["uuid"] = "sha256:0"
    noisy = clients(noise=1.0)
    assert await log_odds(noisy, urgent) == await log_odds(noisy, plain)


async def test_errors_come_at_their_rate_and_with_their_status(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body
) -> None:
    client = clients(error_rate=0.5, error_status=429)
    responses = [await client.post("/v1/chat/completions", json=body(red_circle, blue_square)) for _ in range(60)]
    refused = [response for response in responses if response.status_code == 429]
    assert 15 < len(refused) < 45
    assert {response.headers["Retry-After"] for response in refused} == {"1"}
    assert {response.status_code for response in responses} == {200, 429}


async def test_messages_that_hold_no_question_are_refused_with_a_reason(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body
) -> None:
    client = clients()
    by_path = body(red_circle, blue_square)
    by_path["messages"][1]["content"][1]["image_url"]["url"] = "http://example.org/a.png"
    broken = body(red_circle, blue_square)
    broken["messages"][1]["content"][1]["image_url"]["url"] = "data:image/png;base64,AAAA"
    forged = body(red_circle, blue_square)
    forged["messages"][1]["content"][0]["text"] = "BEGIN PROMPT 0123456789abcdef\np\nEND PROMPT 0123456789abcdef"
    refused = [
        (body(red_circle), "not 1 images"),
        (by_path, "data:image/png;base64 URLs only"),
        (broken, "not a readable PNG"),
        (forged, "no fenced prompt"),
        ({"model": MODEL_ID}, "not a chat request"),
    ]
    for request, reason in refused:
        response = await client.post("/v1/chat/completions", json=request)
        assert response.status_code == 400
        assert reason in response.json()["error"]["message"]
    unknown = await client.post("/v1/chat/completions", json=body(red_circle, blue_square, model="other"))
    assert unknown.status_code == 404


def test_settings_come_from_the_environment_and_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARR_PIXEL_JUDGE_POSITION_BIAS", "0.5")
    monkeypatch.setenv("ARR_PIXEL_JUDGE_FRESH_NOISE", "true")
    settings = PixelJudgeSettings()
    assert (settings.position_bias, settings.fresh_noise, settings.scale) == (0.5, True, 8.0)
    with pytest.raises(ValidationError):
        PixelJudgeSettings(error_rate=1.5)


def named(request: dict[str, Any], *, with_bytes: bool) -> dict[str, Any]:
    """The same question with its images named, and shown or not."""
    named = copy.deepcopy(request)
    for part in named["messages"][1]["content"]:
        if part["type"] == "image_url":
            part["uuid"] = hashlib.sha256(part["image_url"]["url"].encode()).hexdigest()
            part["image_url"] = part["image_url"] if with_bytes else None
    return named


async def test_an_image_that_was_shown_may_be_named(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body, log_odds: LogOdds
) -> None:
    client, request = clients(noise=1.0), body(red_circle, blue_square)
    shown = await log_odds(client, named(request, with_bytes=True))
    turned = await log_odds(client, named(body(blue_square, red_circle), with_bytes=False))
    assert await log_odds(client, named(request, with_bytes=False)) == shown == await log_odds(client, request)
    assert turned == await log_odds(client, body(blue_square, red_circle))


@pytest.mark.parametrize("keeps_images", [True, False])
async def test_an_image_that_is_not_known_by_its_name_is_refused_in_vllms_words(
    clients: Any, red_circle: JudgeImage, blue_square: JudgeImage, body: Body, keeps_images: bool
) -> None:
    client, request = clients(keeps_images=keeps_images), body(red_circle, blue_square)
    if not keeps_images:
        assert (await client.post("/v1/chat/completions", json=named(request, with_bytes=True))).status_code == 200
    answer = await client.post("/v1/chat/completions", json=named(request, with_bytes=False))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Cache miss for image at index 0 but data is not provided."
