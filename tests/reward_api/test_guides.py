"""Rubric sets with a guide over HTTP: their exemplars are shown, and what stands in the way is said."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared_schemas.problems import Problem
from shared_schemas.reward import RewardResponse, Status
from shared_schemas.rubrics import Criterion, Exemplar, Mode, RubricContent, Task

GROUP = {"id": "g", "prompt": "p", "candidates": ["a", "b"]}


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def exemplars(png: Callable[..., bytes]) -> dict[str, bytes]:
    return {"good": png(0.9, size=(100, 100)), "bad": png(0.2)}


@pytest.fixture
def guided(exemplars: dict[str, bytes]) -> RubricContent:
    """A rubric set with one exemplar."""
    good, bad = (digest_of(exemplars[name]) for name in ("good", "bad"))
    exemplar = Exemplar(prompt="an example", preferred=good, dispreferred=bad, rationale="it is bright")
    return RubricContent(task=Task.T2I, criteria=(Criterion(id="c", theme="Light"),), guide=(exemplar,))


@pytest.fixture
async def informed(service: httpx.AsyncClient, exemplars: dict[str, bytes]) -> httpx.AsyncClient:
    """The service, which has the exemplars' images from a dataset."""
    await upload(service, exemplars)
    return service


async def upload(service: httpx.AsyncClient, exemplars: dict[str, bytes]) -> None:
    rows = b'{"prompt": "an example", "images": ["good", "bad"], "rank": [1, 2]}'
    files = [("pairs", ("pairs.jsonl", rows)), *((name, (name, data)) for name, data in exemplars.items())]
    answer = await service.post("/datasets", files=files)
    assert answer.status_code == 201, answer.text


def scored(answer: httpx.Response) -> RewardResponse:
    assert answer.status_code == 200, answer.text
    response = RewardResponse.model_validate_json(answer.content)
    assert [result.status for result in response.results] == [Status.SCORED]
    return response


def refused(answer: httpx.Response, status: int, slug: str) -> Problem:
    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.slug) == (status, slug)
    return problem


async def test_the_exemplars_of_a_published_rubric_set_are_shown(informed, guided, judge, ask, png) -> None:
    published = await informed.post(
        "/rubrics/guided/versions", json={"content": guided.model_dump(mode="json"), "provenance": {}}
    )
    assert published.status_code == 201, published.text
    response = scored(await ask(informed, [GROUP], {"a": png(1.0), "b": png(0.0)}, rubric="guided"))
    assert response.rubric.digest == guided.digest
    assert response.results[0].rewards == (1.0, -0.1)
    assert judge.most_images == 4
    assert judge.largest_image_pixels == 100 * 100


async def test_a_rubric_set_in_the_request_may_have_a_guide_too(informed, guided, judge, ask, png) -> None:
    inline = guided.model_dump(mode="json")
    scored(await ask(informed, [GROUP], {"a": png(1.0), "b": png(0.0)}, rubric=inline))
    assert judge.most_images == 4
    plain = guided.model_copy(update={"guide": ()}).model_dump(mode="json")
    before = judge.num_calls
    scored(await ask(informed, [GROUP], {"a": png(1.0), "b": png(0.0)}, rubric=plain))
    assert judge.num_calls == before + 2, "what was judged with a guide is no answer to what is judged without"


async def test_images_of_exemplars_are_scaled_down_like_any_others(running, exemplars, guided, judge, ask, png) -> None:
    async with running(judge_max_pixels=9216) as service:
        await upload(service, exemplars)
        inline = guided.model_dump(mode="json")
        scored(await ask(service, [GROUP], {"a": png(1.0), "b": png(0.0)}, rubric=inline))
    assert judge.largest_image_pixels == 96 * 96


async def test_one_image_alone_is_judged_without_the_guide(service, guided, judge, ask, png) -> None:
    """Nothing is loaded for it: no dataset has brought these images."""
    judge.most_images = 0
    inline = guided.model_dump(mode="json")
    scored(await ask(service, [GROUP], {"a": png(1.0), "b": png(0.0)}, rubric=inline, mode=Mode.POINTWISE))
    assert judge.most_images == 1


async def test_an_exemplar_whose_image_nobody_brought_refuses_the_request(service, guided, judge, ask, png) -> None:
    inline = guided.model_dump(mode="json")
    answer = await ask(service, [GROUP], {"a": png(1.0), "b": png(0.0)}, rubric=inline)
    problem = refused(answer, 422, "unknown-image")
    assert [error.where for error in problem.errors] == ["meta.rubric.guide.0.preferred"]
    assert guided.guide[0].preferred in problem.detail
    assert judge.most_images < 4


async def test_a_file_that_is_no_image_any_more_refuses_the_request(informed, guided, ask, png, tmp_path: Path) -> None:
    [damaged] = (tmp_path / "blobs").rglob(f"{guided.guide[0].dispreferred.removeprefix('sha256:')}.image")
    damaged.write_bytes(b"no image")
    inline = guided.model_dump(mode="json")
    problem = refused(await ask(informed, [GROUP], {"a": png(1.0), "b": png(0.0)}, rubric=inline), 422, "invalid-image")
    assert [error.where for error in problem.errors] == ["meta.rubric.guide.0.dispreferred"]


async def test_a_blob_store_that_is_away_is_to_be_waited_for(informed, guided, ask, png, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "blobs")
    (tmp_path / "blobs").write_bytes(b"in the way")
    answer = await ask(informed, [GROUP], {"a": png(1.0), "b": png(0.0)}, rubric=guided.model_dump(mode="json"))
    refused(answer, 503, "unavailable")
    assert "Retry-After" in answer.headers


async def test_a_guide_is_loaded_once_while_it_is_remembered(
    informed, running, guided, ask: Any, png, tmp_path: Path
) -> None:
    inline = guided.model_dump(mode="json")
    images = {"a": png(1.0), "b": png(0.0)}
    scored(await ask(informed, [GROUP], images, rubric=inline))
    shutil.rmtree(tmp_path / "blobs")
    scored(await ask(informed, [GROUP], images, rubric=inline, cache="off"))
    async with running() as another:
        refused(await ask(another, [GROUP], images, rubric=inline), 422, "unknown-image")
