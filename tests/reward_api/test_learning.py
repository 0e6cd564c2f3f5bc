"""Asking for rubric sets to be learned and measured, over HTTP. No worker runs: jobs stay as they were asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.reward_api.api_keys import KeyFile
from shared_schemas.access import Scope
from shared_schemas.evaluations import EvaluationRequest
from shared_schemas.jobs import Job, JobAccepted
from shared_schemas.learning import LearnRequest

Png = Callable[..., bytes]


async def upload(service: httpx.AsyncClient, png: Png, *, prompt: str = "a lamp", source: bool = False) -> int:
    row: dict[str, Any] = {"prompt": prompt, "images": ["a.png", "b.png"], "rank": [1, 2]}
    images = {"a.png": png(1.0), "b.png": png(0.0)}
    if source:
        row["source"] = "s.png"
        images["s.png"] = png(0.5)
    files = [("pairs", ("pairs.jsonl", json.dumps(row), "application/jsonl"))]
    files += [(name, (name, data, "image/png")) for name, data in images.items()]  # type: ignore[misc]
    answer = await service.post("/datasets", files=files)
    assert answer.status_code in {200, 201}, answer.text
    return int(answer.json()["id"])


def accepted(answer: httpx.Response) -> Job:
    assert answer.status_code == 202, answer.text
    job = JobAccepted.model_validate_json(answer.content).job
    assert answer.headers["Location"] == f"/jobs/{job.id}"
    return job


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def test_learning_is_queued_with_everything_that_was_asked_for(service, png) -> None:
    dataset = await upload(service, png)
    body = {"dataset": dataset, "parameters": {"max_themes": 3}, "seed": 7, "alias": "production"}
    job = accepted(await service.post("/rubrics/lamps/learn", json=body))
    assert (job.kind, job.seed, job.state) == ("learn", 7, "queued")
    parameters = dict(job.parameters)
    assert parameters.pop("name") == "lamps"
    assert "seed" not in parameters
    assert LearnRequest.model_validate({**parameters, "seed": job.seed}) == LearnRequest.model_validate(body)
    assert (await service.get(f"/jobs/{job.id}")).json()["id"] == job.id


async def test_evaluating_is_queued_with_the_versions_that_are_named_now(service, png) -> None:
    dataset = await upload(service, png)
    await service.put("/rubrics/t2i/aliases/production", json={"version": 1})
    references = ["t2i@production", "t2i@none", "t2i", "t2i@v1"]
    body = {"dataset": dataset, "rubrics": references, "split": "test", "seed": 3, "max_pairs": 10}
    job = accepted(await service.post("/evaluations", json=body))
    assert (job.kind, job.seed, job.state) == ("evaluate", 3, "queued")
    assert job.parameters["rubrics"] == ["t2i@1", "t2i@none"]
    expected = EvaluationRequest.model_validate({**body, "rubrics": ["t2i@1", "t2i@none"]})
    assert EvaluationRequest.model_validate({**job.parameters, "seed": job.seed}) == expected


async def test_asking_again_for_what_is_under_way_gives_the_same_job(service, png) -> None:
    dataset = await upload(service, png)
    learn = {"dataset": dataset}
    first = accepted(await service.post("/rubrics/lamps/learn", json=learn))
    assert accepted(await service.post("/rubrics/lamps/learn", json=learn)) == first
    for path, body in (
        ("/rubrics/lamps/learn", {**learn, "seed": 1}),
        ("/rubrics/lamps/learn", {**learn, "parameters": {"max_themes": 2}}),
        ("/rubrics/others/learn", learn),
    ):
        assert accepted(await service.post(path, json=body)).id != first.id
    evaluation = {"dataset": dataset, "rubrics": ["t2i@1"]}
    other = accepted(await service.post("/evaluations", json=evaluation))
    assert accepted(await service.post("/evaluations", json={**evaluation, "rubrics": ["t2i"]})) == other


@pytest.mark.parametrize(
    ("path", "body"), [("/rubrics/lamps/learn", {}), ("/evaluations", {"rubrics": ["t2i"]})], ids=["learn", "evaluate"]
)
async def test_a_dataset_that_is_not_there_is_told_at_once(service, path: str, body: dict[str, Any]) -> None:
    answer = await service.post(path, json={"dataset": 99, **body})
    assert refusal(answer) == (404, "unknown-dataset")
    assert (await service.get("/jobs")).json()["items"] == []


async def test_a_task_that_is_not_the_datasets_is_told_at_once(service, png) -> None:
    edits = await upload(service, png, source=True)
    learn = await service.post("/rubrics/lamps/learn", json={"dataset": edits, "task": "t2i"})
    assert refusal(learn) == (422, "task-mismatch")
    assert learn.json()["errors"][0]["where"] == "body.task"
    evaluation = await service.post("/evaluations", json={"dataset": edits, "rubrics": ["t2i@none", "t2i@1"]})
    assert refusal(evaluation) == (422, "task-mismatch")
    assert evaluation.json()["errors"][0]["where"] == "body.rubrics.1"
    accepted(await service.post("/rubrics/lamps/learn", json={"dataset": edits, "task": "edit"}))
    accepted(await service.post("/evaluations", json={"dataset": edits, "rubrics": ["nothing@none"]}))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("nowhere", (404, "unknown-rubric")),
        ("t2i@2", (404, "unknown-rubric")),
        ("t2i@production", (404, "unknown-rubric")),
        ("T2I", (422, "invalid-request")),
    ],
)
async def test_a_reference_that_names_nothing_is_told_at_once(service, png, reference: str, expected: Any) -> None:
    dataset = await upload(service, png)
    answer = await service.post("/evaluations", json={"dataset": dataset, "rubrics": ["t2i@1", reference]})
    assert refusal(answer) == expected
    assert (await service.get("/jobs")).json()["items"] == []


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/rubrics/lamps/learn", {"dataset": 1, "typo": 1}, "body.typo"),
        ("/rubrics/lamps/learn", {"dataset": 1, "method": "guessing"}, "body.method"),
        ("/rubrics/lamps/learn", {"dataset": 1, "alias": "latest"}, "body.alias"),
        ("/rubrics/lamps/learn", {"dataset": 1, "parameters": {"max_themes": 0}}, "body.parameters.max_themes"),
        ("/rubrics/Lamps/learn", {"dataset": 1}, "path.name"),
        ("/rubrics/lamps/learn", {"dataset": 2**63}, "body.dataset"),
        ("/evaluations", {"dataset": 2**63, "rubrics": ["t2i"]}, "body.dataset"),
        ("/evaluations", {"dataset": 1, "rubrics": []}, "body.rubrics"),
        ("/evaluations", {"dataset": 1, "rubrics": ["t2i"], "split": "half"}, "body.split"),
    ],
)
async def test_what_cannot_be_asked_for_is_explained(service, path: str, body: dict[str, Any], where: str) -> None:
    answer = await service.post(path, json=body)
    assert refusal(answer) == (422, "invalid-request")
    assert where in [error["where"] for error in answer.json()["errors"]]


async def test_each_tenant_learns_from_what_it_can_see_and_the_job_is_the_datasets_tenants(
    running, png, tmp_path: Path
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    owner, other = (file.add(name, tenant=name, scopes=[Scope.RUBRICS])[1] for name in ("lab-a", "lab-b"))
    admin = file.add("root", tenant="ops", scopes=[Scope.ADMIN])[1]
    trainer = file.add("trainer", tenant="lab-a", scopes=[Scope.REWARD])[1]
    async with running(api_keys=file.path) as service:
        service.headers["Authorization"] = f"Bearer {owner}"
        dataset = await upload(service, png)
        asks = [
            ("/rubrics/lamps/learn", {"dataset": dataset}),
            ("/evaluations", {"dataset": dataset, "rubrics": ["x@none"]}),
        ]
        for path, body in asks:
            service.headers["Authorization"] = f"Bearer {owner}"
            assert accepted(await service.post(path, json=body)).tenant == "lab-a"
            service.headers["Authorization"] = f"Bearer {other}"
            assert refusal(await service.post(path, json=body)) == (404, "unknown-dataset")
            service.headers["Authorization"] = f"Bearer {admin}"
            assert accepted(await service.post(path, json=body)).tenant == "lab-a"
            service.headers["Authorization"] = f"Bearer {trainer}"
            assert refusal(await service.post(path, json=body)) == (403, "forbidden")
