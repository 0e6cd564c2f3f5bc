"""The JSON form of a reward request: the same as multipart, for those who have no multipart at hand."""

import base64
import json
from typing import Any

import httpx
import pytest

from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem
from shared_schemas.reward import RewardResponse

PAIR = {"id": "g", "prompt": "a lamp", "candidates": ["a", "b"]}


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def refused(answer: httpx.Response, status: int, slug: str) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert problem.slug == slug
    return problem


@pytest.fixture
def body(png) -> dict[str, Any]:
    images = {"a": text(png(1.0)), "b": text(png(0.0))}
    return {"rubric": "t2i", "groups": [PAIR], "images": images}


async def post(service: httpx.AsyncClient, content: str | bytes) -> httpx.Response:
    return await service.post("/reward", content=content, headers={"Content-Type": "application/json"})


async def test_a_json_body_is_judged_like_a_multipart_one(service, ask, png, body) -> None:
    by_json = RewardResponse.model_validate_json((await service.post("/reward", json=body)).content)
    assert by_json.results[0].rewards == (1.0, -0.1)
    by_parts = await ask(service, [PAIR], {"a": png(1.0), "b": png(0.0)})
    assert RewardResponse.model_validate_json(by_parts.content).usage.judge_calls == 0  # the same judgement


async def test_line_breaks_in_base64_are_skipped(service, png, body) -> None:
    body["images"]["a"] = base64.encodebytes(png(1.0)).decode()
    assert "\n" in body["images"]["a"]
    assert (await service.post("/reward", json=body)).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        "no base64!",
        "AAA",
        "AA==AA",
        "data:image/png;base64,AAAA",
        "_-8=",
        "ÄÖÜ=",
        "\u0661\u0662",
        7,
        None,
        ["AAAA"],
        {},
    ],
)
async def test_text_that_is_no_base64_is_named(service, body, judge, wrong) -> None:
    calls = judge.num_calls
    body["images"]["b"] = wrong
    problem = refused(await service.post("/reward", json=body), 422, "invalid-image")
    assert (problem.part, judge.num_calls) == ("b", calls)


async def test_base64_of_something_else_is_an_invalid_image(service, body) -> None:
    body["images"]["b"] = text(b"GIF89a")
    assert refused(await service.post("/reward", json=body), 422, "invalid-image").part == "b"


async def test_images_are_matched_with_the_groups(service, body, png) -> None:
    spare = body | {"images": body["images"] | {"spare": text(png())}}
    assert refused(await service.post("/reward", json=spare), 422, "unused-image").part == "spare"
    lacking = body | {"images": {"a": body["images"]["a"]}}
    assert refused(await service.post("/reward", json=lacking), 422, "unknown-image").part == "b"


@pytest.mark.parametrize("images", [None, [], "AAAA", 3])
async def test_images_must_be_an_object(service, body, images) -> None:
    problem = refused(await service.post("/reward", json=body | {"images": images}), 422, "invalid-request")
    assert [error.where for error in problem.errors] == ["images"]


async def test_a_body_without_images_says_so(service, body) -> None:
    del body["images"]
    problem = refused(await service.post("/reward", json=body), 422, "invalid-request")
    assert [error.where for error in problem.errors] == ["images"]


async def test_a_field_that_does_not_validate_is_named_as_in_meta(service, body) -> None:
    problem = refused(await service.post("/reward", json=body | {"typo": 1}), 422, "invalid-request")
    assert [error.where for error in problem.errors] == ["meta.typo"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"images": ' + b"9" * 10_000 + b"}"],
)
async def test_what_is_no_json_object_is_refused(service, content) -> None:
    refused(await post(service, content), 422, "invalid-request")


async def test_a_name_that_occurs_twice_is_refused(service, body) -> None:
    image = body["images"]["a"]
    once = json.dumps(body["images"])
    twice = json.dumps(body).replace(once, f'{{"a": "{image}", "b": "{image}", "a": "{image}"}}')
    assert "'a' occurs twice" in refused(await post(service, twice), 422, "invalid-request").detail
    rubric_twice = json.dumps(body).replace('{"rubric"', '{"rubric": "other", "rubric"', 1)
    assert "'rubric' occurs twice" in refused(await post(service, rubric_twice), 422, "invalid-request").detail


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
async def test_numbers_that_are_not_finite_are_refused(service, body, number) -> None:
    content = json.dumps(body | {"tie_margin": 0}).replace('"tie_margin": 0', f'"tie_margin": {number}')
    problem = refused(await post(service, content), 422, "invalid-request")
    assert [error.where for error in problem.errors] == ["meta.tie_margin"]


async def test_lone_surrogates_are_refused(service, body) -> None:
    content = json.dumps(body).replace("a lamp", "\\ud800")
    refused(await post(service, content), 422, "invalid-request")


async def test_a_json_body_beyond_the_limit_is_refused(running, body) -> None:
    async with running(max_body_mb=1) as service:
        body["images"]["b"] = "A" * 2 * 1024 * 1024
        refused(await service.post("/reward", json=body), 413, "body-too-large")


async def test_json_that_would_take_long_to_parse_is_sent_to_multipart(service, body) -> None:
    body["images"]["b"] = "A" * 16 * 1024 * 1024
    problem = refused(await service.post("/reward", json=body), 413, "body-too-large")
    assert "multipart/form-data" in problem.detail


async def test_a_flood_of_images_is_refused(service, body) -> None:
    body["images"] = {f"i{number}": "" for number in range(9 * 1024 + 1)}
    assert "9216 images" in refused(await service.post("/reward", json=body), 422, "invalid-request").detail
